"""Every reason why a job is not running, and which comes first."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.why.facts import Facts, HostSeen, ProcessReport, WorkerSeen
from jobyard.engine.why.reason import Code, Reason
from jobyard.engine.why.rules import RULES, explain, in_words, to_json
from tests.support.builders import a_job
from tests.support.world import START

HERE, THERE = "box:b00t:worker-7001:1", "other:f00t:worker-7001:1"
IDLE = ProcessReport(watchers=3, queues=1, workers=(WorkerSeen(name="worker-7001", slots=5, busy=0),))
BUSY = (WorkerSeen(name="worker-7001", slots=5, busy=5, longest_s=480), WorkerSeen(name="worker-7002", slots=10, busy=10))
ME = HostSeen(host="box", boot="b00t", tasks=("echo", "http"))


def later(seconds: float) -> Any:
    return START + timedelta(seconds=seconds)


def facts(job: Job | None, **more: Any) -> Facts:
    """At START, on an idle host that has what the job needs."""
    known = {"job_id": "f" * 24, "now": START, "boot": "b00t", "report": IDLE, "hosts": (ME,), "job": job}
    return Facts(**(known | more))


def reason(job: Job | None, code: Code, **more: Any) -> Reason:
    """The one with this code."""
    found = [reason for reason in explain(facts(job, **more)) if reason.code is code]
    assert len(found) == 1, explain(facts(job, **more))
    return found[0]


def codes(job: Job | None, **more: Any) -> list[Code]:
    return [reason.code for reason in explain(facts(job, **more))]


def test_nothing_is_in_the_way_of_a_due_job_on_an_idle_host() -> None:
    for status in (Status.PENDING, Status.QUEUED):
        assert codes(a_job(status=status)) == [Code.ABOUT_TO_START]


def test_a_database_that_is_away_is_the_first_reason_and_processes_that_are_missing_come_after() -> None:
    assert codes(None, fault="no MongoDB server is known") == [Code.DATABASE_UNAVAILABLE]
    assert "no MongoDB server is known" in reason(None, Code.DATABASE_UNAVAILABLE, fault="no MongoDB server is known").message
    assert codes(None, fault="x", report=ProcessReport()) == [
        Code.DATABASE_UNAVAILABLE, Code.NO_WATCHER, Code.NO_QUEUE, Code.NO_WORKER,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "more", "words"),
    [
        (Status.COMPLETED, {}, "it completed 2 min ago, in attempt 3"), (Status.FAILED, {"error": "boom"}, "in attempt 3: boom"),
        (Status.CANCELLED, {}, "it was cancelled 2 min ago, in attempt 3"),
        (Status.CANCELLED, {"attempt": 0}, "before it ever began"),
    ],
)  # fmt: skip
def test_an_end_is_the_only_reason(status: Status, more: dict[str, Any], words: str) -> None:
    job = a_job(status=status, **({"finished_at": later(-120), "attempt": 3} | more))

    (only,) = explain(facts(job, report=ProcessReport(), hosts=()))

    assert only.code.value == status.value and words in only.message
    assert only.facts["finished_at"] == "2026-01-04T02:02:20.123Z"


def test_a_job_that_runs_says_where_and_since_when() -> None:
    told = reason(a_job(status=Status.RUNNING, last_run_at=later(-40), timeout_s=3600), Code.RUNNING)

    assert "running for 40 s on worker-7001 of host box, in attempt 1; an attempt may take 60 min" in told.message
    assert told.facts == {"since": "2026-01-04T02:03:40.123Z", "worker": "worker-7001", "host": "box", "attempt": 1}


def test_a_cancellation_that_is_asked_for_comes_before_that_it_runs() -> None:
    job = a_job(status=Status.RUNNING, cancel_requested_at=later(-3))

    assert codes(job) == [Code.CANCEL_REQUESTED, Code.RUNNING]
    assert "cancellation was requested 3 s ago" in reason(job, Code.CANCEL_REQUESTED).message


def test_a_host_that_went_silent_with_the_job_is_named() -> None:
    silent = HostSeen(host="other", boot="f00t", silent_s=50, lease_s=30)
    job = a_job(status=Status.RUNNING, locked_by=THERE)

    assert codes(job, hosts=(ME, silent)) == [Code.RUNNING, Code.HOST_SILENT]
    assert codes(job, hosts=(ME, HostSeen(host="other", boot="f00t", silent_s=5))) == [Code.RUNNING]


def test_a_job_whose_time_has_not_come_says_when_it_does() -> None:
    told = reason(a_job(scheduled_at=later(3 * 3600)), Code.SCHEDULED)

    assert "in 3 h" in told.message
    assert told.facts == {"until": "2026-01-04T05:04:20.123Z", "in_s": 10800}


def test_a_retry_says_which_of_how_many_and_what_went_wrong() -> None:
    job = a_job(scheduled_at=later(40), next_run_at=later(40), retry_count=2, max_retries=5, attempt=2, error="Connection refused")

    told = reason(job, Code.RETRY_WAIT)

    assert told.message == "it waits 40 s for retry 2 of 5; the last error was: Connection refused"
    assert told.facts == {
        "until": "2026-01-04T02:05:00.123Z", "in_s": 40, "retry": 2, "max_retries": 5, "error": "Connection refused",
    }  # fmt: skip


def test_an_error_of_any_length_is_told_in_short() -> None:
    job = a_job(scheduled_at=later(40), next_run_at=later(40), retry_count=1, error="x" * 100_000)

    assert len(to_json(facts(job))) < 2000


def test_a_job_that_is_not_due_is_told_what_will_be_missing_but_not_what_is_busy_now() -> None:
    job = a_job(task="gone", scheduled_at=later(60))
    busy = ProcessReport(queues=1, workers=BUSY)

    assert codes(job, report=busy, ahead=7) == [Code.SCHEDULED, Code.TASK_NOT_SERVED, Code.NO_WATCHER]


def test_a_task_that_nobody_serves_is_told_with_what_is_served() -> None:
    others = HostSeen(host="gpu", boot="f00t", tasks=("render",), silent_s=1)

    told = reason(a_job(task="resize"), Code.TASK_NOT_SERVED, hosts=(ME, others))

    assert told.message == "no worker serves the task 'resize': box serves echo, http; gpu serves render"
    assert told.facts["hosts"][1] == {"host": "gpu", "tasks": ["render"], "queues": None, "is_alive": True}  # type: ignore[index]


def test_a_host_that_is_silent_serves_nothing() -> None:
    silent = HostSeen(host="gpu", boot="f00t", tasks=("resize",), silent_s=99)

    assert codes(a_job(task="resize"), hosts=(ME, silent))[0] is Code.TASK_NOT_SERVED


def test_a_queue_that_nobody_takes_is_told_with_what_is_taken() -> None:
    picky = HostSeen(host="box", boot="b00t", tasks=("echo",), queues=("mail", "slow"))

    told = reason(a_job(queue="urgent"), Code.QUEUE_NOT_SERVED, hosts=(picky,))

    assert "takes jobs of the queue 'urgent': box takes mail, slow" in told.message
    assert codes(a_job(queue="urgent"), hosts=(picky, HostSeen(host="b", boot="x", silent_s=0))) == [Code.ABOUT_TO_START]


def test_very_many_hosts_and_tasks_are_told_in_part() -> None:
    hosts = tuple(
        HostSeen(host=f"h{n}", boot=f"b{n}", tasks=tuple(f"t{m}" for m in range(500)), silent_s=0) for n in range(500)
    )

    assert len(to_json(facts(a_job(task="none"), hosts=hosts))) < 20_000


def test_processes_that_do_not_answer_are_named() -> None:
    assert codes(a_job(), report=ProcessReport()) == [Code.NO_WATCHER, Code.NO_QUEUE, Code.NO_WORKER]
    assert codes(a_job(status=Status.QUEUED), report=ProcessReport()) == [Code.NO_QUEUE, Code.NO_WORKER]


def test_components_that_an_operator_has_drained_are_told_with_the_command_that_starts_them() -> None:
    drained = ProcessReport(watchers=1, queues=1, drained=("worker-7001", "worker-7002", "watcher-9001"))

    told = reason(a_job(), Code.NO_WORKER, report=drained)

    assert told.message.endswith("; worker-7001, worker-7002 were drained: bin/jobyard restart worker-7001 starts it again")
    assert told.facts == {"drained": ["worker-7001", "worker-7002"]}
    assert "drained" not in reason(a_job(), Code.NO_WORKER, report=ProcessReport(watchers=1, queues=1)).message


def test_another_host_can_do_without_ours() -> None:
    other = HostSeen(host="other", boot="f00t", tasks=("echo",), silent_s=1)

    assert codes(a_job(), report=ProcessReport(), hosts=(ME, other)) == [Code.ABOUT_TO_START]


def test_a_job_that_may_kill_its_worker_is_told_that_it_waits_for_a_worker_of_its_own() -> None:
    told = reason(a_job(lost_count=4), Code.LAST_CHANCE)

    assert "lost its worker 4 of at most 5 times" in told.message


def test_the_jobs_ahead_are_counted() -> None:
    told = reason(a_job(priority=5), Code.JOBS_AHEAD, ahead=812)

    assert told.message.startswith("812 jobs come first")
    assert told.facts == {"ahead": 812, "is_exact": True}
    assert reason(a_job(), Code.JOBS_AHEAD, ahead=1).message.startswith("1 job comes first")


def test_more_jobs_ahead_than_anybody_counts_are_told_so() -> None:
    told = reason(a_job(), Code.JOBS_AHEAD, ahead=10_000, is_exact=False)

    assert told.message.startswith("more than 10,000 jobs come first")


def test_slots_that_are_all_busy_are_told_with_the_longest() -> None:
    told = reason(a_job(), Code.SLOTS_BUSY, report=ProcessReport(watchers=1, queues=1, workers=BUSY))

    assert told.message == "all 15 slots of this host are busy, the longest for 8 min"
    assert told.facts == {"slots": 15, "longest_s": 480}


def test_what_is_busy_here_is_nothing_to_a_job_that_only_others_serve() -> None:
    other = HostSeen(host="gpu", boot="f00t", tasks=("render",), silent_s=1)
    busy = ProcessReport(watchers=1, queues=1, workers=BUSY)

    assert codes(a_job(task="render"), report=busy, hosts=(ME, other)) == [Code.ABOUT_TO_START]


def test_the_order_is_from_what_decides_to_what_delays() -> None:
    worst = ProcessReport(workers=BUSY)

    assert codes(a_job(lost_count=4), report=worst, ahead=3) == [
        Code.NO_WATCHER, Code.NO_QUEUE, Code.LAST_CHANCE, Code.JOBS_AHEAD, Code.SLOTS_BUSY,
    ]  # fmt: skip
    assert codes(a_job(task="gone", lost_count=4), report=worst)[:2] == [Code.TASK_NOT_SERVED, Code.NO_WATCHER]


def test_every_status_has_a_reason_whatever_is_known() -> None:
    for status in Status:
        for report in (IDLE, ProcessReport(), ProcessReport(watchers=1, queues=1, workers=BUSY)):
            assert codes(a_job(status=status), report=report)
            assert codes(a_job(status=status, scheduled_at=later(1e9)), report=report, hosts=())


def test_clients_see_one_object_a_reason() -> None:
    shown = json.loads(to_json(facts(a_job(scheduled_at=later(60)))))

    assert (shown["job_id"], shown["status"]) == ("f" * 24, "pending")
    assert shown["reasons"] == [
        {
            "code": "scheduled", "message": "it is scheduled for 2026-01-04T02:05:20.123Z, in 60 s",
            "until": "2026-01-04T02:05:20.123Z", "in_s": 60.0,
        }
    ]  # fmt: skip
    assert json.loads(to_json(facts(None, fault="x")))["status"] is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (40, "40 s"), (99, "99 s"), (100, "2 min"), (480, "8 min"), (10_800, "3 h"), (172_800, "2 days"),
        (3e8, "3,472 days"),
    ],
)  # fmt: skip
def test_times_are_told_in_words_that_fit(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_no_rule_is_there_twice() -> None:
    assert len(set(RULES)) == len(RULES)
