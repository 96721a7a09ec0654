"""Control between processes, over a multiprocessing manager: roster, counters and commands of one data folder.

    supervisor ── roster.write ──▶ ┌─────────┐ ◀── overview.read ── /stats, /metrics, /api/history, why, doctor
    supervisor ◀─ commands.take ── │ control │ ◀── commands.give ── jobyard restart, drain, log-level, reload
    component ─ counters.publish ▶ └─────────┘ ◀── roster(), counters() ── local programs of the same user

Jobs never pass through here: when control is away nothing but the age of what is shown changes. Whoever has an event loop
never waits for it (`channel`, `publisher`); whoever may wait does so with a deadline (`client`). `server` alone imports
`multiprocessing.managers`.
"""
