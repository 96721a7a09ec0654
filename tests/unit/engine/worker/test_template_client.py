"""A worker and the process that its executors are forked from: what becomes of jobs when that one ends, hangs or is replaced."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.executor.packets import receive_packet, send_packet
from jobyard.engine.jobs.job import ExecutionStatus, Status
from jobyard.engine.template.messages import EndWorker, Retire, WorkerEnded, decode, encode
from tests.support.builders import a_job
from tests.support.shop import WORKER, Shop
from tests.support.waiting import wait_for

LIVES = Path("/proc")


def wait_for_file(payload: list[str]) -> int:
    """Touches the first, waits for the second."""
    Path(payload[0]).write_text(str(os.getpid()))
    while not Path(payload[1]).exists():
        time.sleep(0.005)
    return os.getpid()


def wait_beside_a_daemon(payload: list[str]) -> int:
    """Like `wait_for_file`, with a process in a session of its own, whose pid is written to the third."""
    Path(payload[2]).write_text(str(subprocess.Popen(["sleep", "600"], start_new_session=True).pid))
    return wait_for_file(payload)


TASKS = {
    "pid": lambda payload: os.getpid(), "wait": wait_for_file, "parent": lambda payload: os.getppid(),
    "daemon": wait_beside_a_daemon,
}  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, TASKS)
    yield shop
    shop.template.send_signal(signal.SIGCONT)
    shop.close()


def begin_to_wait(shop: Shop, name: str = "one") -> tuple[str, Path, Path]:
    begun, go_on = shop.folder / f"{name}.begun", shop.folder / f"{name}.go"
    (job_id,) = shop.offer(a_job(task="wait", payload=f'["{begun}", "{go_on}"]'.encode(), max_retries=0))
    shop.until(lambda: begun.exists() and begun.read_text())
    return job_id, begun, go_on


def lives(pid: str | int) -> bool:
    try:
        return (LIVES / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_executors_are_the_templates_children_and_one_of_them_is_warm(shop: Shop) -> None:
    shop.until(lambda: shop.pids())
    warm = shop.pids()

    job = shop.run("parent")

    assert len(warm) == 1
    assert job.result == str(shop.template.pid).encode()


def test_as_many_are_forked_as_jobs_run_at_once(shop: Shop) -> None:
    begin_to_wait(shop, "one")
    begin_to_wait(shop, "two")

    assert len(set(shop.pids())) == 2


def test_a_template_that_dies_takes_its_executors_along_and_their_jobs_are_lost_and_not_failed(shop: Shop) -> None:
    job_id, begun, _ = begin_to_wait(shop)

    shop.replace_template()
    shop.until(lambda: shop.job(job_id).status is Status.PENDING)

    job = shop.job(job_id)
    assert not lives(begun.read_text())
    assert (job.lost_count, job.retry_count) == (1, 0)
    assert shop.execution(job).status is ExecutionStatus.LOST
    assert "lost: the template process" in (job.error or "")
    shop.until(lambda: shop.pids() and all(shop.pids()))
    assert shop.run("parent").result == str(shop.template.pid).encode()


def test_where_no_template_lives_no_jobs_are_taken(shop: Shop) -> None:
    shop.template.send_signal(signal.SIGKILL)

    shop.until(lambda: shop.room() == 0)

    health = shop.worker._health()
    assert "no template process" in getattr(health, "message", "")
    shop.replace_template()
    shop.until(lambda: shop.room() > 0)


def test_one_that_was_replaced_lets_what_runs_end_and_no_new_job_begins_there(shop: Shop) -> None:
    old, old_pid = shop.template, shop.pids()[0]
    job_id, begun, go_on = begin_to_wait(shop)

    shop.switch_template()
    shop.until(lambda: shop.world.children(shop.template.pid))
    assert shop.run("parent").result == str(shop.template.pid).encode()
    go_on.touch()
    shop.until(lambda: shop.job(job_id).status is Status.COMPLETED)

    assert shop.job(job_id).result == begun.read_text().encode()
    shop.until(lambda: not lives(old_pid) and not lives(old.pid))
    assert shop.world.wait(old.pid) == 0
    old.line.close()


def test_a_template_that_hangs_begins_nothing_and_what_it_has_ends(shop: Shop) -> None:
    job_id, _, go_on = begin_to_wait(shop)
    shop.until(lambda: len(shop.pids()) == 2 and all(shop.pids()))
    shop.template.send_signal(signal.SIGSTOP)

    (second, third) = shop.offer(*(a_job(task="wait", payload=f'["{go_on}.b", "{go_on}"]'.encode()) for _ in range(2)))
    go_on.touch()

    shop.until(lambda: all(shop.job(one).status is Status.COMPLETED for one in (job_id, second)))
    shop.template.send_signal(signal.SIGCONT)
    shop.until(lambda: shop.job(third).status is Status.COMPLETED or third in shop.released())


def test_the_executors_of_a_dead_worker_are_ended_before_the_supervisor_hears_so(shop: Shop) -> None:
    _, begun, _ = begin_to_wait(shop)

    send_packet(shop.template.line, encode(EndWorker(owner=WORKER)))
    answer = decode(receive_packet(shop.template.line) or b"")

    assert answer == WorkerEnded(owner=WORKER)
    assert not lives(begun.read_text())


def test_nothing_that_a_task_started_is_left_when_the_supervisor_hears_of_a_workers_end(shop: Shop) -> None:
    begun, pid = shop.folder / "begun", shop.folder / "pid"
    shop.offer(a_job(task="daemon", payload=f'["{begun}", "/never", "{pid}"]'.encode()))
    shop.until(lambda: begun.exists() and begun.read_text())

    send_packet(shop.template.line, encode(EndWorker(owner=WORKER)))
    answer = decode(receive_packet(shop.template.line) or b"")

    assert answer == WorkerEnded(owner=WORKER)
    assert not lives(pid.read_text())


@pytest.mark.parametrize("spare", [0, 2, 4])
def test_a_template_without_free_descriptors_forks_later_and_ends_nothing(shop: Shop, spare: int) -> None:
    job_id, _, go_on = begin_to_wait(shop)
    shop.until(lambda: len(shop.pids()) == 2 and all(shop.pids()))
    before = set(shop.pids())
    limits = resource.prlimit(shop.template.pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{shop.template.pid}/fd"))
    for pid in before - {int((shop.folder / "one.begun").read_text())}:
        resource.prlimit(shop.template.pid, resource.RLIMIT_NOFILE, (used - 1 + spare, limits[1]))
        os.kill(pid, signal.SIGKILL)
    shop.until(lambda: "executor_not_started" in shop.log_text() or any(pid for pid in shop.pids() if pid not in before))

    resource.prlimit(shop.template.pid, resource.RLIMIT_NOFILE, limits)
    go_on.touch()

    shop.until(lambda: shop.job(job_id).status is Status.COMPLETED)
    assert shop.job(job_id).attempt == 1 and shop.job(job_id).lost_count == 0
    assert shop.run("pid").status is Status.COMPLETED


def test_a_dead_worker_gets_no_executor_however_late_its_word_is_read(tmp_path: Path) -> None:
    shop = Shop(tmp_path, TASKS)
    before = set(shop.pids())
    shop.template.send_signal(signal.SIGSTOP)
    begun = tmp_path / "begun"
    shop.offer(*(a_job(task="wait", payload=f'["{begun}", "/never"]'.encode()) for _ in range(2)))
    shop.until(lambda: len(shop.pids()) == 2)

    send_packet(shop.template.line, encode(EndWorker(owner=WORKER)))
    shop.template.send_signal(signal.SIGCONT)
    answer = decode(receive_packet(shop.template.line) or b"")

    assert answer == WorkerEnded(owner=WORKER)
    assert shop.world.children(shop.template.pid) == []
    assert not any(lives(pid) for pid in before)
    shop.close()


def test_a_template_leaves_when_it_is_told_to_and_no_worker_is_connected(shop: Shop) -> None:
    shop.worker.drain()
    shop.until(lambda: shop.worker.drained)
    shop.worker._templates.close()

    send_packet(shop.template.line, encode(Retire()))

    assert wait_for(lambda: not lives(shop.template.pid))
