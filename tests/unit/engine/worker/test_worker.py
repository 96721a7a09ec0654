"""The worker with real children: what a task does to its process is its own affair, and every end has its name."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard import Retry, Unrecoverable, current_job
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Status
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.messages import CancelAsked, GetOutput, OutputNow
from jobyard.engine.wire.queue_messages import WatcherGone
from jobyard.engine.world import World
from tests.support.builders import a_job
from tests.support.claims import WATCHER
from tests.support.memory_store import MemoryStore
from tests.support.network import FakePeer
from tests.support.shop import Shop, cancel

KIB = 1 << 10


def leave_at_once(payload: int) -> None:
    os._exit(payload)


def leave_an_orphan(payload: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path(payload).write_text(str(child.pid))
    os._exit(1)


def die_by(payload: int) -> None:
    os.kill(os.getpid(), payload)


def ignore_everything(payload: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"])
    Path(payload).write_text(str(child.pid))
    while True:
        try:
            time.sleep(60)
        except BaseException:  # noqa: BLE001
            continue


def host_lease(payload: str) -> str:
    Path(payload + ".begun").touch()
    while not Path(payload).exists():
        time.sleep(0.005)
    return "let go"


def spoil(payload: None) -> None:
    os.chdir("/")
    os.umask(0)
    os.environ["SPOILED"] = "1"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def look(payload: None) -> list[object]:
    mask = os.umask(0o077)
    os.umask(mask)
    return [os.getcwd(), mask, os.environ.get("SPOILED"), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL]


def raise_it(payload: str) -> None:
    errors = {
        "ValueError": ValueError("no"), "SystemExit": SystemExit(3), "KeyboardInterrupt": KeyboardInterrupt(),
        "RecursionError": RecursionError("deep"), "MemoryError": MemoryError(), "Unrecoverable": Unrecoverable("never"),
        "Retry": Retry(delay_s=5), "BadRetry": Retry(delay_s=-1),
    }  # fmt: skip
    raise errors[payload]


def tell_about_itself(payload: None) -> list[object]:
    job = current_job()
    job.progress(0.5, "half way")
    job.progress(0.75, "nearly")
    return [job.job_id, job.attempt, job.epoch, job.retry_count, job.deadline.tzinfo is not None]


async def wait_a_little(payload: object) -> object:
    await asyncio.sleep(0)
    return payload


def print_much(payload: int) -> str:
    print("first line")
    sys.stdout.write("x" * payload)
    return "printed"


def say(payload: list[object]) -> object:
    """[what, how it ends]"""
    words, end = payload
    print(words)
    if end == "fork":
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'from its child')"], check=True)
    elif end == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif end == "wait":
        time.sleep(60)
    return words


def close_everything(payload: None) -> None:
    os.closerange(0, 1000)
    time.sleep(60)


def eat(payload: int) -> None:
    eaten = bytearray(payload)
    while eaten:
        time.sleep(0.01)


TASKS = {
    "echo": lambda payload: payload, "leave": leave_at_once, "orphan": leave_an_orphan, "die": die_by, "hold": host_lease,
    "ignore": ignore_everything,
    "spoil": spoil, "look": look, "raise": raise_it, "about": tell_about_itself, "async": wait_a_little, "print": print_much,
    "eat": eat, "say": say, "close": close_everything,
    "give": lambda payload: {None: object(), 1: "x" * (1 << 20), 2: float("nan"), 3: {1, 2}}[payload],
}  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, TASKS)
    yield shop
    shop.close()


def ended(shop: Shop, job: Job) -> tuple[Status, ExecutionStatus]:
    return job.status, shop.execution(job).status


def test_a_result_is_kept_as_it_is(shop: Shop) -> None:
    job = shop.run("echo", b'{"a": [1, 2.5, "\xc3\xa9", null]}')

    assert (job.status, job.result) == (Status.COMPLETED, '{"a":[1,2.5,"é",null]}'.encode())
    assert shop.execution(job).finished_at is not None
    assert shop.acked() == [job.job_id]


def test_an_exception_is_tried_again_at_its_time_with_the_words_kept(shop: Shop) -> None:
    job = shop.run("raise", b'"ValueError"', max_retries=1)

    assert (job.status, job.retry_count, job.error) == (Status.PENDING, 1, "ValueError: no")
    assert "raise errors[payload]" in (shop.execution(job).traceback or "")


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "RecursionError", "MemoryError", "BadRetry"])
def test_whatever_a_task_raises_is_its_failure_and_its_process_lives_on(shop: Shop, name: str) -> None:
    pids = shop.pids()

    job = shop.run("raise", f'"{name}"'.encode(), max_retries=0)

    assert ended(shop, job) == (Status.FAILED, ExecutionStatus.FAILED)
    assert set(pids) <= set(shop.pids())


def test_unrecoverable_goes_straight_to_failed(shop: Shop) -> None:
    job = shop.run("raise", b'"Unrecoverable"', max_retries=9)

    assert (job.status, job.error) == (Status.FAILED, "Unrecoverable: never")


def test_retry_chooses_its_own_delay_and_counts(shop: Shop) -> None:
    job = shop.run("raise", b'"Retry"', max_retries=1)

    assert (job.status, job.retry_count) == (Status.PENDING, 1)
    assert (job.scheduled_at - job.updated_at).total_seconds() == 5


@pytest.mark.parametrize("payload", [b"null", b"1", b"2", b"3"])
def test_a_result_that_is_no_json_or_too_large_fails(shop: Shop, payload: bytes) -> None:
    job = shop.run("give", payload, max_retries=0)

    assert job.status is Status.FAILED and job.result is None and "its result is" in (job.error or "")


@pytest.mark.parametrize(
    ("task", "payload", "words"),
    [("leave", b"0", "with status 0"), ("leave", b"7", "with status 7"), ("die", b"11", "SIGSEGV"), ("die", b"9", "SIGKILL")],
)
def test_a_child_that_ends_crashes_its_own_job_only(shop: Shop, task: str, payload: bytes, words: str) -> None:
    job = shop.run(task, payload, max_retries=0)

    assert ended(shop, job) == (Status.FAILED, ExecutionStatus.CRASHED)
    assert words in (job.error or "")
    assert shop.run("echo").status is Status.COMPLETED
    shop.until(lambda: shop.pids() and all(shop.pids()))


def test_what_a_crashed_executor_started_is_gone_before_its_attempt_ends(shop: Shop, tmp_path: Path) -> None:
    job = shop.run("orphan", json.dumps(str(tmp_path / "pid")).encode(), max_retries=0)

    assert ended(shop, job) == (Status.FAILED, ExecutionStatus.CRASHED)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


def test_a_task_that_closes_every_descriptor_and_goes_on_is_ended(shop: Shop) -> None:
    job = shop.run("close", max_retries=0)

    assert ended(shop, job) == (Status.FAILED, ExecutionStatus.CRASHED)
    assert "closed the line" in (job.error or "")


def test_a_timeout_ends_a_task_that_ignores_everything_and_what_it_started(shop: Shop, tmp_path: Path) -> None:
    note = tmp_path / "grandchild"

    job = shop.run("ignore", f'"{note}"'.encode(), timeout_s=2, max_retries=0)

    assert ended(shop, job) == (Status.FAILED, ExecutionStatus.TIMEOUT)
    assert job.error == "timed out after 2 s"
    shop.until(lambda: not is_alive(int(note.read_text())))


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_timeout_is_an_exception_in_a_task_that_lets_it_pass_and_its_child_is_replaced(shop: Shop, tmp_path: Path) -> None:
    pids = shop.pids()

    job = shop.run("hold", f'"{tmp_path / "never"}"'.encode(), timeout_s=0.1, max_retries=0)

    assert ended(shop, job) == (Status.FAILED, ExecutionStatus.TIMEOUT)
    shop.until(lambda: not set(pids) & set(shop.pids()) and all(shop.pids()))


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "found by itself"])
def test_a_running_job_is_cancelled(tmp_path: Path, is_told: bool) -> None:
    shop = Shop(tmp_path, TASKS, POLL_S="0.1")
    (job_id,) = shop.offer(a_job(task="hold", payload=f'"{tmp_path / "never"}"'.encode(), max_retries=5))
    shop.until((tmp_path / "never.begun").exists)

    cancel(shop, job_id)
    if is_told:
        shop.worker.tick([Envelope(None, CancelAsked(job_id=job_id, epoch=2))])
    shop.until(lambda: shop.job(job_id).status is not Status.RUNNING)

    assert ended(shop, shop.job(job_id)) == (Status.CANCELLED, ExecutionStatus.CANCELLED)
    shop.close()




def test_an_async_task_is_awaited(shop: Shop) -> None:
    assert shop.run("async", b'"done"').result == b'"done"'


def test_a_task_knows_its_job(shop: Shop) -> None:
    job = shop.run("about")

    assert job.result == f'["{job.job_id}",1,2,0,true]'.encode()
    shop.until(lambda: "job_progressed" in shop.log_text())


def test_what_a_task_prints_is_logged_with_its_job_and_cut(shop: Shop) -> None:
    job = shop.run("print", str(200 * KIB).encode())

    text = shop.log_text()
    assert f"task_output job_id={job.job_id} attempt=1 text=\"first line\"" in text
    assert "task_output_cut" in text and len(text) < 100 * KIB


def test_the_last_words_are_kept_however_an_attempt_ends(shop: Shop) -> None:
    silent = shop.run("echo")
    ends = ("", "fork", "die", "wait")
    said = {end: shop.run("say", json.dumps(["words", end]).encode(), max_retries=0, timeout_s=1) for end in ends}

    kept = {end: [output.text for output in shop.store.outputs(job.job_id)] for end, job in said.items()}

    assert kept == {"": ["words\n"], "fork": ["words\nfrom its child"], "die": ["words\n"], "wait": ["words\n"]}
    assert shop.store.outputs(silent.job_id) == []


def test_short_jobs_that_one_child_runs_one_after_another_keep_each_their_own(tmp_path: Path) -> None:
    shop = Shop(tmp_path, TASKS, CONCURRENCY="1")
    shop.run("say", b'["first", ""]')  # now the task is known to be short

    ids = shop.offer(*(a_job(task="say", payload=json.dumps([f"job {number}", ""]).encode()) for number in range(50)))
    shop.until(lambda: all(shop.job(job_id).status is Status.COMPLETED for job_id in ids))

    assert [shop.store.outputs(job_id)[0].text for job_id in ids] == [f"job {number}\n" for number in range(50)]
    shop.close()


def test_the_last_that_a_task_told_of_its_progress_is_kept(shop: Shop) -> None:
    job = shop.run("about")

    (output,) = shop.store.outputs(job.job_id)
    assert output.progress is not None
    assert (output.text, output.progress.fraction, output.progress.note) == ("", 0.75, "nearly")


def test_whoever_asks_gets_the_output_of_what_runs_so_far_and_of_what_waits_to_be_written(shop: Shop) -> None:
    (job_id,) = shop.offer(a_job(task="say", payload=b'["so far", "wait"]'))
    shop.until(lambda: output_now(shop, job_id) == "so far\n")
    shop.store.is_down = True
    cancelled_child = shop.worker._executors.slots

    for slot in cancelled_child:
        slot.handle.kill()
    shop.until(lambda: shop.worker._executors.output_of(job_id, 1) is None)

    assert output_now(shop, job_id) == "so far\n"
    assert output_now(shop, "f" * 24) is None
    shop.store.is_down = False


def test_what_a_worker_measures_is_what_its_executions_say(shop: Shop) -> None:
    asked = [("echo", b"1"), ("echo", b"2"), ("raise", b'"ValueError"'), ("leave", b"3")]
    jobs = [shop.run(task, payload, max_retries=0) for task, payload in asked]

    told = shop.worker.counters()

    assert told.attempts == {"echo": {"success": 2}, "raise": {"failed": 1}, "leave": {"crashed": 1}}
    executions = [shop.execution(job) for job in jobs]
    assert (told.histograms["run"].count, told.histograms["lag"].count) == (4, 4)
    assert round(1000 * told.histograms["run"].sum_s) == sum(row.duration_ms or 0 for row in executions)
    late_s = sum((row.started_at - job.scheduled_at).total_seconds() for row, job in zip(executions, jobs, strict=True))
    assert round(told.histograms["lag"].sum_s, 3) == round(late_s, 3)


def output_now(shop: Shop, job_id: str) -> str | None:
    """What the worker answers whoever asks."""
    peer = FakePeer()
    shop.worker.tick([peer.says(GetOutput(job_id=job_id, attempt=1)), *shop.hub.poll(0)])
    (answer,) = peer.received
    assert isinstance(answer, OutputNow)
    return None if answer.output is None else answer.output.text


def test_a_large_payload_reaches_the_task(shop: Shop) -> None:
    payload = b'"' + b"x" * ((1 << 20) - 10) + b'"'

    assert shop.run("echo", payload).result == payload


def test_what_a_task_spoils_is_set_back_for_the_next(tmp_path: Path) -> None:
    shop = Shop(tmp_path, TASKS, CONCURRENCY="1")
    before = shop.run("look").result
    shop.run("spoil")

    after = shop.run("look").result

    assert after == before
    shop.close()


def test_a_child_is_replaced_after_so_many_jobs(tmp_path: Path) -> None:
    shop = Shop(tmp_path, TASKS, CONCURRENCY="1", MAX_JOBS_PER_CHILD="2")
    (first,) = shop.pids()
    shop.run("echo")
    shop.run("echo")

    shop.until(lambda: shop.pids() not in ([], [first]))

    assert shop.run("echo").status is Status.COMPLETED
    shop.close()


def test_a_child_that_holds_too_much_memory_is_killed_and_told_why(tmp_path: Path) -> None:
    limit_mb = (World().memory_of(os.getpid()) >> 20) + 100  # its child begins with what this process has
    shop = Shop(tmp_path, TASKS, CHILD_MEMORY_MB=str(limit_mb))

    job = shop.run("eat", str(300 << 20).encode(), max_retries=0)

    assert ended(shop, job) == (Status.FAILED, ExecutionStatus.CRASHED)
    assert (job.error or "").startswith("out of memory")
    shop.close()


def test_a_stop_hands_back_what_still_runs_free_of_charge(tmp_path: Path) -> None:
    shop = Shop(tmp_path, TASKS, DRAIN_S="0.1")
    (job_id,) = shop.offer(a_job(task="hold", payload=f'"{tmp_path / "never"}"'.encode()))
    shop.until((tmp_path / "never.begun").exists)

    shop.worker.drain()
    shop.until(lambda: shop.worker.drained)

    job = shop.job(job_id)
    assert (job.status, job.retry_count, job.lost_count, job.attempt) == (Status.PENDING, 0, 0, 1)
    assert shop.execution(job).status is ExecutionStatus.RELEASED
    shop.close()


def test_an_outcome_waits_for_the_store_to_come_back(shop: Shop, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    (job_id,) = shop.offer(a_job(task="hold", payload=f'"{gate}"'.encode()))
    shop.until(Path(f"{gate}.begun").exists)
    shop.store.is_down = True
    gate.touch()
    shop.until(lambda: "database_unreachable" in shop.log_text())

    shop.store.is_down = False
    shop.until(lambda: shop.job(job_id).status is Status.COMPLETED)

    assert shop.job(job_id).result == b'"let go"'


def test_what_may_be_long_and_finds_no_slot_is_given_back_at_once_and_nothing_more_is_wanted(shop: Shop, tmp_path: Path) -> None:
    for _ in range(20):
        shop.run("echo")
    shop.until(lambda: shop.room() == 2)
    gate = tmp_path / "gate"

    job_ids = shop.offer(*(a_job(task="hold", payload=f'"{gate}"'.encode()) for _ in range(6)))
    shop.until(shop.released)

    assert set(shop.released()) == set(job_ids[2:])
    shop.until(lambda: shop.room() == 0)
    gate.touch()
    shop.until(lambda: all(shop.job(job_id).status is Status.COMPLETED for job_id in job_ids[:2]))


def test_short_jobs_do_not_wait_behind_a_long_one(shop: Shop, tmp_path: Path) -> None:
    for _ in range(20):
        shop.run("echo")
    shop.until(lambda: shop.room() == 2)
    gate = tmp_path / "gate"
    job_ids = shop.offer(a_job(task="hold", payload=f'"{gate}"'.encode()), *(a_job(task="echo") for _ in range(40)))

    shop.until(lambda: all(shop.job(job_id).status is Status.COMPLETED or job_id in shop.released() for job_id in job_ids[1:]))

    assert shop.job(job_ids[0]).status is Status.RUNNING
    gate.touch()
    shop.until(lambda: shop.job(job_ids[0]).status is Status.COMPLETED)


def test_no_more_run_at_once_than_it_may(shop: Shop, tmp_path: Path) -> None:
    gates = [tmp_path / f"gate{number}" for number in range(4)]
    job_ids = shop.offer(*(a_job(task="hold", payload=f'"{gate}"'.encode()) for gate in gates))
    shop.until(lambda: sum(Path(f"{gate}.begun").exists() for gate in gates) == 2)

    shop.until(lambda: len(shop.released()) == 2)

    assert sum(shop.job(job_id).status is Status.RUNNING for job_id in job_ids) == 2
    for gate in gates:
        gate.touch()


# ---- its host's sign of life


@pytest.fixture
def hosts() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def shared_shop(tmp_path: Path, hosts: MemoryStore) -> Iterator[Shop]:
    """One whose host is not alone, with a short lease."""
    shop = Shop(tmp_path, TASKS, hosts=hosts, LEASE_S="1")
    yield shop
    shop.close()


def test_a_worker_gives_signs_of_life_as_long_as_it_works(shared_shop: Shop, hosts: MemoryStore, tmp_path: Path) -> None:
    (job_id,) = shared_shop.offer(a_job(task="hold", payload=f'"{tmp_path / "gate"}"'.encode()))

    shared_shop.until(lambda: hosts.hosts() and hosts.hosts()[0].renewal > 15)  # for longer than the lease

    assert shared_shop.job(job_id).status is Status.RUNNING
    (tmp_path / "gate").touch()
    shared_shop.until(lambda: shared_shop.job(job_id).status is Status.COMPLETED)


def test_a_worker_that_cannot_give_a_sign_ends_what_runs_free_of_charge(
    shared_shop: Shop, hosts: MemoryStore, tmp_path: Path
) -> None:
    (job_id,) = shared_shop.offer(a_job(task="hold", payload=f'"{tmp_path / "never"}"'.encode(), max_retries=0))
    shared_shop.until(lambda: shared_shop.job(job_id).status is Status.RUNNING)

    hosts.is_down = True
    shared_shop.until(lambda: shared_shop.job(job_id).status is Status.PENDING)

    job = shared_shop.job(job_id)
    assert shared_shop.execution(job).status is ExecutionStatus.RELEASED
    assert "out of reach" in (shared_shop.execution(job).error_message or "")
    assert (job.retry_count, job.lost_count) == (0, 0)


def test_a_worker_that_lost_its_hold_begins_nothing_until_it_has_given_a_sign(shared_shop: Shop, hosts: MemoryStore) -> None:
    hosts.is_down = True
    shared_shop.until(lambda: shared_shop.worker._host_lease.is_lost)

    (job_id,) = shared_shop.offer(a_job(task="echo"))
    shared_shop.until(lambda: job_id in shared_shop.released())
    before = shared_shop.job(job_id).status
    hosts.is_down = False
    shared_shop.until(lambda: not shared_shop.worker._host_lease.is_lost)

    assert before is Status.PENDING
    assert shop_has_no_attempt(shared_shop, job_id)
    assert shared_shop.run("echo").status is Status.COMPLETED


def test_what_runs_in_its_name_and_not_in_its_hands_is_given_back(shared_shop: Shop) -> None:
    """A claim whose reply was lost, that was taken for not written, and that came to be after all."""
    (ghost,) = shared_shop.begin(a_job(task="echo"))

    shared_shop.until(lambda: shared_shop.job(ghost.job_id).status is Status.PENDING)

    job = shared_shop.job(ghost.job_id)
    assert shop_has_no_attempt(shared_shop, job.job_id)
    assert (job.retry_count, job.lost_count) == (0, 0)


def test_what_was_begun_here_after_every_look_for_it_is_found_in_the_end(tmp_path: Path) -> None:
    """A watcher that did not know yet that the queue was replaced, and that died before it could push."""
    shop = Shop(tmp_path, TASKS, LEASE_S="1")
    shop.until(lambda: shop.peer is not None)
    (ghost,) = shop.begin(a_job(task="echo"))

    shop.until(lambda: shop.job(ghost.job_id).status is Status.PENDING)

    assert shop_has_no_attempt(shop, ghost.job_id)
    shop.close()


# ---- what arrives twice, late or never


def shop_has_no_attempt(shop: Shop, job_id: str) -> bool:
    return shop.job(job_id).attempt == 0 and not shop.store.executions(job_id)


def test_what_is_pushed_again_while_it_runs_runs_once(shop: Shop, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    (job_id,) = shop.offer(a_job(task="hold", payload=f'"{gate}"'.encode()))
    shop.until(Path(f"{gate}.begun").exists)

    shop.send(shop.job(job_id), is_again=True)
    gate.touch()
    shop.until(lambda: shop.acked() or shop.job(job_id).status is Status.COMPLETED)

    assert [row.status for row in shop.store.executions(job_id)] == [ExecutionStatus.SUCCESS]


def test_what_is_pushed_again_and_never_arrived_runs(shop: Shop) -> None:
    shop.until(lambda: shop.peer is not None)
    (begun,) = shop.begin(a_job(task="echo", payload=b"5"))

    shop.send(begun, is_again=True)
    shop.until(lambda: shop.acked())

    assert (shop.job(begun.job_id).result, shop.job(begun.job_id).attempt) == (b"5", 1)


def test_what_is_pushed_again_and_belongs_to_somebody_else_by_now_does_not_run(shop: Shop) -> None:
    shop.until(lambda: shop.peer is not None)
    (begun,) = shop.begin(a_job(task="echo"))
    shop.store.apply([lifecycle.return_unstarted(begun, now=shop.world.now())])
    cancel(shop, begun.job_id)

    shop.send(begun, is_again=True)
    other = shop.run("echo")

    assert shop.acked() == [other.job_id]
    assert shop_has_no_attempt(shop, begun.job_id)


def test_what_a_watcher_had_begun_here_when_it_died_is_returned(shop: Shop) -> None:
    shop.until(lambda: shop.peer is not None)
    (begun,) = shop.begin(a_job(task="echo"))
    assert shop.peer is not None

    shop.peer.send(WatcherGone(owner=WATCHER))
    shop.until(lambda: shop.job(begun.job_id).status is Status.PENDING)

    assert shop_has_no_attempt(shop, begun.job_id)


def test_what_another_watcher_has_begun_here_is_still_on_its_way(shop: Shop) -> None:
    shop.until(lambda: shop.peer is not None)
    (begun,) = shop.begin(a_job(task="echo"))
    assert shop.peer is not None

    shop.peer.send(WatcherGone(owner="box:b00t:watcher-9002:1"))
    shop.send(begun)
    shop.until(lambda: shop.acked())

    assert shop.acked() == [begun.job_id]


def test_a_drain_returns_what_arrives_unstarted(shop: Shop, tmp_path: Path) -> None:
    shop.until(lambda: shop.peer is not None)
    shop.worker.drain()

    (job_id,) = shop.offer(a_job(task="echo"))
    shop.until(lambda: shop.worker.drained)

    assert shop.job(job_id).status is Status.PENDING
    assert shop_has_no_attempt(shop, job_id)


def test_a_drain_returns_what_has_not_arrived(shop: Shop) -> None:
    shop.until(lambda: shop.peer is not None)
    (begun,) = shop.begin(a_job(task="echo"))

    shop.worker.drain()
    shop.until(lambda: shop.worker.drained)

    assert shop_has_no_attempt(shop, begun.job_id)


def test_a_drain_ends_when_the_queue_sends_nothing_more(shop: Shop) -> None:
    """Otherwise a job that was on its way would be lost with the worker, and count a loss."""
    shop.until(lambda: shop.peer is not None)
    shop.confirms_closing = False
    shop.worker.drain()
    shop.until(lambda: not shop.pids())
    shop.turn()
    has_drained_before = shop.worker.drained

    begun = shop.begin(a_job(task="echo"))
    shop.send(*begun)
    shop.confirm_closing()
    shop.until(lambda: shop.worker.drained)

    assert not has_drained_before
    assert shop_has_no_attempt(shop, begun[0].job_id)


def test_a_job_that_was_cancelled_before_it_arrived_does_not_go_on(tmp_path: Path) -> None:
    shop = Shop(tmp_path, TASKS, POLL_S="0.1")
    shop.until(lambda: shop.peer is not None)
    (begun,) = shop.begin(a_job(task="hold", payload=f'"{tmp_path / "never"}"'.encode()))
    cancel(shop, begun.job_id)
    shop.worker.tick([Envelope(None, CancelAsked(job_id=begun.job_id, epoch=begun.epoch))])

    shop.send(begun)
    shop.until(lambda: shop.job(begun.job_id).status is not Status.RUNNING)

    assert shop.job(begun.job_id).status is Status.CANCELLED
    shop.close()
