-- The embedded database. Times are milliseconds since 1970, UTC. `seq` is the order of insertion.
-- From `unique_key` to `extra`, few jobs have any value; `extra` holds the fields that no statement asks for, as JSON.
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
    unique_key TEXT,
    held_key TEXT,
    held_until INTEGER,
    group_name TEXT,
    is_awaited INTEGER,
    to_resolve INTEGER,
    schedule TEXT,
    fire_at INTEGER,
    lane TEXT,
    expires_at INTEGER,
    lapses_at INTEGER,
    cancelled_because TEXT,
    tags TEXT,
    error_kind TEXT,
    extra TEXT,
    request_digest BLOB,
    idempotency_key TEXT,
    error TEXT,
    result BLOB,
    payload BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX jobs_by_id ON jobs (job_id);
CREATE INDEX jobs_due ON jobs (task, priority, scheduled_at, seq, queue) WHERE status = 'pending' AND lane IS NULL;
CREATE UNIQUE INDEX jobs_by_key ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_finished ON jobs (status, finished_at) WHERE finished_at IS NOT NULL AND held_key IS NULL;
CREATE INDEX jobs_finished_with_key ON jobs (held_until) WHERE finished_at IS NOT NULL AND held_key IS NOT NULL;
CREATE INDEX jobs_newest ON jobs (created_at);
CREATE INDEX jobs_by_status ON jobs (status, created_at);
CREATE INDEX jobs_by_task ON jobs (task, created_at);
CREATE INDEX jobs_by_queue ON jobs (queue, created_at);
CREATE UNIQUE INDEX jobs_by_held_key ON jobs (held_key) WHERE held_key IS NOT NULL;
CREATE INDEX jobs_by_unique_key ON jobs (unique_key, created_at) WHERE unique_key IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_fire ON jobs (schedule, fire_at) WHERE fire_at IS NOT NULL;
CREATE INDEX jobs_by_schedule ON jobs (schedule, created_at) WHERE schedule IS NOT NULL;
CREATE INDEX jobs_living_fires ON jobs (schedule) WHERE fire_at IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_in_lanes ON jobs (lane, priority, scheduled_at, seq) WHERE status = 'pending' AND lane IS NOT NULL;
CREATE INDEX jobs_lapsing ON jobs (lapses_at) WHERE lapses_at IS NOT NULL;
CREATE INDEX jobs_by_group ON jobs (group_name, created_at) WHERE group_name IS NOT NULL;
CREATE INDEX jobs_in_groups ON jobs (group_name, status, finished_at) WHERE group_name IS NOT NULL;
CREATE INDEX jobs_living_members ON jobs (group_name, created_at) WHERE group_name IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_awaited ON jobs (finished_at) WHERE is_awaited = 1 AND finished_at IS NOT NULL;
CREATE INDEX jobs_to_resolve ON jobs (seq) WHERE to_resolve = 1;
CREATE INDEX jobs_failed ON jobs (finished_at, task, error_kind) WHERE status = 'failed';
CREATE INDEX jobs_by_error_kind ON jobs (error_kind, created_at) WHERE error_kind IS NOT NULL;

-- `tags` of jobs, to find those with a tag, newest first. Few jobs have any; the triggers follow changes and removals, and inserts
-- of such jobs write here by themselves, because a trigger on every insert would cost each job half as much again.
CREATE TABLE job_tags (
    tag TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    job_seq INTEGER NOT NULL,
    PRIMARY KEY (tag, made_at, job_seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER job_tags_changed AFTER UPDATE OF tags ON jobs BEGIN
    DELETE FROM job_tags WHERE (tag, made_at, job_seq) IN (SELECT value, OLD.created_at, OLD.seq FROM json_each(OLD.tags));
    INSERT INTO job_tags SELECT value, NEW.created_at, NEW.seq FROM json_each(NEW.tags);
END;
CREATE TRIGGER job_tags_removed AFTER DELETE ON jobs WHEN OLD.tags IS NOT NULL BEGIN
    DELETE FROM job_tags WHERE (tag, made_at, job_seq) IN (SELECT value, OLD.created_at, OLD.seq FROM json_each(OLD.tags));
END;

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

-- Idempotency keys of requests that were answered with another job, by its unique key; kept as long as that job.
CREATE TABLE remembered_keys (
    idempotency_key TEXT PRIMARY KEY,
    job_id BLOB NOT NULL,
    request_digest BLOB,
    is_replaced INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX remembered_keys_by_job ON remembered_keys (job_id);

-- Who waits for whom: `dependency` is the id of a job, or `group:` and a name. Of living and of ended jobs, as long as `job_id` is stored.
CREATE TABLE edges (job_id BLOB NOT NULL, dependency TEXT NOT NULL, PRIMARY KEY (job_id, dependency)) STRICT, WITHOUT ROWID;
CREATE INDEX edges_by_dependency ON edges (dependency, job_id);

-- `body` is the whole schedule as JSON; `version` rises with every change.
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    next_fire_at INTEGER,
    version INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (next_fire_at) WHERE next_fire_at IS NOT NULL;

CREATE TABLE hooks (name TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- Tasks that HTTP workers run. `body` is JSON; `version` rises with every change.
CREATE TABLE http_tasks (name TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
-- `body` is the whole limit as JSON; `version` rises with every change. `limit_state` has one row: `version` rises with every change of
-- any limit; while pending jobs get their lanes anew, (`lanes_at`, `lanes_seq`) is the creation time and `seq` of the last one done.
-- `freed_at`: when a slot became free last.
CREATE TABLE limits (name TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE limit_state (version INTEGER NOT NULL, lanes_at INTEGER, lanes_seq INTEGER, freed_at INTEGER NOT NULL) STRICT;
INSERT INTO limit_state VALUES (0, NULL, NULL, 0);

-- What each part of a limit has in use: the jobs that run, and for rates `tat`, in microseconds. See `limits/rules.py`.
CREATE TABLE slots (part TEXT NOT NULL, job_id BLOB NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (part, job_id)) STRICT, WITHOUT ROWID;
CREATE INDEX slots_by_job ON slots (job_id);
CREATE TABLE parts (part TEXT PRIMARY KEY, tat INTEGER NOT NULL, hold_until INTEGER) STRICT, WITHOUT ROWID;

-- The lanes that may have pending jobs, by priority. `ready_at`: when one may begin, NULL while only an event can change that;
-- `blocked_on`: the part, or `=` and the limit, that stands against it.
CREATE TABLE lanes (
    lane TEXT NOT NULL,
    priority INTEGER NOT NULL,
    ready_at INTEGER,
    blocked_on TEXT,
    blocked_at INTEGER,
    PRIMARY KEY (lane, priority)
) STRICT;
CREATE INDEX lanes_ready ON lanes (priority, ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX lanes_blocked ON lanes (blocked_on, priority DESC, blocked_at) WHERE blocked_on IS NOT NULL;
CREATE TABLE lane_parts (part TEXT NOT NULL, lane TEXT NOT NULL, PRIMARY KEY (part, lane)) STRICT, WITHOUT ROWID;

CREATE TABLE counts (status TEXT PRIMARY KEY, jobs INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counts VALUES ('blocked', 0), ('pending', 0), ('claimed', 0), ('queued', 0), ('running', 0), ('completed', 0), ('failed', 0), ('cancelled', 0);
