-- From schema 1 to 2: outputs are stored, lists are ordered by time, a running attempt is described by its job's row.

DROP INDEX jobs_held;
DROP INDEX jobs_by_status;
DROP INDEX jobs_by_task;
DROP INDEX jobs_by_queue;
CREATE INDEX jobs_newest ON jobs (created_at);
CREATE INDEX jobs_by_status ON jobs (status, created_at);
CREATE INDEX jobs_by_task ON jobs (task, created_at);
CREATE INDEX jobs_by_queue ON jobs (queue, created_at);

DELETE FROM job_executions WHERE status = 'running';

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
