"""The template: a process that imports the user's modules once, under the user's own Python, and forks executors from that state.

    supervisor ──exec──▶ template ◀── Spawn, with descriptors ── worker
                            │ fork                                 ▲ pidfd; later the exit status
                            ▼                                      │
                        executor, executor, … ◀── jobs and outcomes, directly

Standard library only, like `executor`. `launch` is the supervisor's side of the exec; `messages` defines the protocol of all three.
"""
