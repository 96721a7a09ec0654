"""The whole system in one process, on a simulated clock: the real roles, everything around them played.

    agenda     time and chance, the order of events, the trace      process    a role's turns, sleep, drain and death
    network    connections, hints                                   store      one store for all, and what can befall a call
    children   played executors and tasks                           clients    submissions, cancellations, retries
    host       a host with its supervisor; roles are built here     faults     what goes wrong, drawn from the seed
    judge      what must hold at every change and every start       peace      what must hold when the trouble is over
    run        one seed from the first boot to the last check       __main__   `make simulate`, and the trace of a seed

What is not here: sockets, signals, SQLite and MongoDB themselves, HTTP. Turns that overlap do so as nested calls do (`agenda`).
"""
