"""The whole system in one process, on a simulated clock: the real roles, with everything around them simulated.

    event_queue  time, randomness, order of events, the trace    process    a role's ticks, sleep, drain and death
    network      connections, hints                              store      one store for all, and its faults
    children     simulated executors and tasks                   clients    submissions, cancellations, retries
    host         a host with its supervisor; builds the roles    faults     fault injection, drawn from the seed
    checker      invariants at every change and every start      aftermath  invariants once the faults are over
    runner       one seed from first boot to last check          __main__   `make simulate`, and the trace of a seed

Not simulated: sockets, signals, SQLite and MongoDB themselves, HTTP. Ticks overlap only as nested calls do (`event_queue`).
"""
