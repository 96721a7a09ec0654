"""The template: one process a host that imports the user's modules once, by the user's own Python, and forks executors.

    supervisor ──exec──▶ template ◀── Spawn, with descriptors ── worker
                            │ fork                                 ▲ pidfd, and at the end: how it ended
                            ▼                                      │
                        executor, executor, … ◀── jobs and outcomes, directly

Standard library only, as `executor` is. `launch` is the supervisor's side of the exec, `messages` what all three say.
"""
