-- From schema 2 to 3: unique keys, schedules, limits, workflows and tags; the status `blocked`.
-- Adding a column takes the same time whatever the number of jobs. Of the new indexes, `jobs_due`, which begins with the task from
-- now on, `jobs_finished` and those of failed jobs contain jobs that exist. `kind_of` is `jobs.error_kind.kind_of`.

ALTER TABLE jobs ADD COLUMN unique_key TEXT;
ALTER TABLE jobs ADD COLUMN held_key TEXT;
ALTER TABLE jobs ADD COLUMN held_until INTEGER;
ALTER TABLE jobs ADD COLUMN group_name TEXT;
ALTER TABLE jobs ADD COLUMN is_awaited INTEGER;
ALTER TABLE jobs ADD COLUMN to_resolve INTEGER;
ALTER TABLE jobs ADD COLUMN schedule TEXT;
ALTER TABLE jobs ADD COLUMN fire_at INTEGER;
ALTER TABLE jobs ADD COLUMN lane TEXT;
ALTER TABLE jobs ADD COLUMN expires_at INTEGER;
ALTER TABLE jobs ADD COLUMN lapses_at INTEGER;
ALTER TABLE jobs ADD COLUMN cancelled_because TEXT;
ALTER TABLE jobs ADD COLUMN tags TEXT;
ALTER TABLE jobs ADD COLUMN error_kind TEXT;
ALTER TABLE jobs ADD COLUMN extra TEXT;

DROP INDEX jobs_finished;
CREATE INDEX jobs_finished ON jobs (status, finished_at) WHERE finished_at IS NOT NULL AND held_key IS NULL;
CREATE INDEX jobs_finished_with_key ON jobs (held_until) WHERE finished_at IS NOT NULL AND held_key IS NOT NULL;
DROP INDEX jobs_due;
CREATE INDEX jobs_due ON jobs (task, priority, scheduled_at, seq, queue) WHERE status = 'pending' AND lane IS NULL;
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
UPDATE jobs SET error_kind = kind_of(error) WHERE error IS NOT NULL;
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

INSERT INTO counts VALUES ('blocked', 0);
