"""The control plane of one data folder, a multiprocessing manager: roster, counters and commands.

    supervisor ── roster.write ──▶ ┌─────────┐ ◀── overview.read ── /stats, /metrics, /api/history, why, doctor
    supervisor ◀─ commands.take ── │ control │ ◀── commands.give ── jobyard restart, drain, log-level, reload
    component ─ counters.publish ▶ └─────────┘ ◀── roster(), counters() ── local programs of the same user

Jobs never pass through here: while control is down, only the displayed numbers age. Event loops never wait for it (`channel`,
`publisher`); other callers wait with a deadline (`client`). Only `server` imports `multiprocessing.managers`.
"""
