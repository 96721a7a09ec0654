-- The embedded database. Times are milliseconds since 1970, UTC. `seq` is the order of insertion.
-- Potentially large columns come last in `jobs`: reading a column walks through all pages of those before it.

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    job_id BLOB NOT NULL,
    task TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    status TEXT NOT NULL,
    scheduled_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    claimed_by TEXT,
    claimed_at INTEGER,
    queued_at INTEGER,
    locked_by TEXT,
    locked_until INTEGER,
    last_run_at INTEGER,
    next_run_at INTEGER,
    finished_at INTEGER,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    lost_count INTEGER NOT NULL,
    retry_count INTEGER NOT NULL,
    max_retries INTEGER NOT NULL,
    timeout_s REAL NOT NULL,
    cancel_requested_at INTEGER,
    request_digest BLOB,
    idempotency_key TEXT,
    error TEXT,
    result BLOB,
    payload BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX jobs_by_id ON jobs (job_id);
CREATE INDEX jobs_due ON jobs (priority, scheduled_at, seq, task, queue) WHERE status = 'pending';
CREATE UNIQUE INDEX jobs_by_key ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_newest ON jobs (created_at);
CREATE INDEX jobs_by_status ON jobs (status, created_at);
CREATE INDEX jobs_by_task ON jobs (task, created_at);
CREATE INDEX jobs_by_queue ON jobs (queue, created_at);

-- Attempts that have ended. A running attempt is described by its job's row: `attempt`, `locked_by`, `last_run_at`.
CREATE TABLE job_executions (
    job_id BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    worker_id TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    duration_ms INTEGER,
    error_message TEXT,
    traceback TEXT,
    PRIMARY KEY (job_id, attempt)
) STRICT, WITHOUT ROWID;

-- The tail of what attempts printed; only for attempts that printed anything or reported progress.
CREATE TABLE job_outputs (
    job_id BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    is_cut INTEGER NOT NULL,
    fraction REAL,
    note TEXT,
    told_at INTEGER,
    output BLOB NOT NULL,
    PRIMARY KEY (job_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE counts (status TEXT PRIMARY KEY, jobs INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counts VALUES ('pending', 0), ('claimed', 0), ('queued', 0), ('running', 0), ('completed', 0), ('failed', 0), ('cancelled', 0);
