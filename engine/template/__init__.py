"""The template: one process per host that imports the user's modules once, on the user's own Python, and forks executors.

    supervisor ──exec──▶ template ◀── Spawn, with descriptors ── worker
                            │ fork                                 ▲ pidfd, and at the end: its exit status
                            ▼                                      │
                        executor, executor, … ◀── jobs and outcomes, directly

Standard library only, like `executor`. `launch` is the supervisor's side of the exec; `messages` defines what all three exchange.
"""
