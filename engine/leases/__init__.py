"""Workers in any language: what they ask for over HTTP, and what that means for a job.

    lease ──▶ running ── extend ──▶ running        (job_id, epoch) is the token of a lease; any other changes nothing
                 ├── complete · fail · release     a scheduler's guarded change
                 └── the lease ends                a watcher recovers the job: its end is the only proof of a death

An HTTP worker's lease is claim, enqueue and begin in one commit (`Store.claim_due`), as for any worker; its owner's name is
`http/NAME`. `requests` reads bodies, `rules` decides, `declared_tasks` are the tasks that such workers run.
"""
