"""Several hosts on one MongoDB: they share the work, take over from dead and isolated hosts, and survive database outages."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobyard.engine.jobs.owners import parse_owner
from tests.support.mongo import MongoProcess, a_database
from tests.support.notes import Notes, wait_gone
from tests.support.proxy import Proxy
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

SMALL = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1}
TASKS = "system_tasks"
LEASE_S = 3

Start = Callable[..., Jobyard]

pytestmark = pytest.mark.skipif("MONGO_TEST_URI" in os.environ, reason="these stop and cut off a server of their own")


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[MongoProcess]:
    with MongoProcess(tmp_path / "mongo") as server:
        yield server


@pytest.fixture
def start(mongo: MongoProcess, tmp_path: Path) -> Iterator[Start]:
    """Starts another host; all are stopped in the end and leave nothing behind."""
    with a_database(mongo.uri) as database, ExitStack() as hosts:

        def start_one(name: str, *, uri: str = mongo.uri, **settings: object) -> Jobyard:
            folder = tmp_path / name
            folder.mkdir()
            asked = {"MONGO_URI": uri, "MONGO_DB": database, "TASKS": TASKS, "LEASE_S": LEASE_S, "POLL_S": 0.5, "DRAIN_S": 1}
            return hosts.enter_context(Jobyard(folder, **(asked | SMALL | settings)))

        yield start_one


def boots_of(jobyard: Jobyard, job_ids: list[str], status: str = "success") -> list[str]:
    """The hosts on which the attempts at these jobs ended with this status."""
    executions = [execution for job_id in job_ids for execution in jobyard.executions(job_id)]
    return [parse_owner(execution["worker_id"]).boot for execution in executions if execution["status"] == status]


def wait_completed(jobyard: Jobyard, count: int, *, within_s: float = 300) -> None:
    wait_for(lambda: jobyard.stats()["jobs"]["completed"] == count, within_s=within_s, told=f"{count} completed jobs")


def submit_many(jobyard: Jobyard, count: int, **fields: object) -> list[str]:
    answer = jobyard.ask("POST", "/api/jobs/batch", {"jobs": [fields] * count})
    assert answer.status == 201, answer
    return list(answer.json["job_ids"])


def succeeded_once(jobyard: Jobyard, job_ids: list[str]) -> bool:
    return all([e["status"] for e in jobyard.executions(job_id)].count("success") == 1 for job_id in job_ids)


def test_two_hosts_share_the_jobs_of_one(start: Start, notes: Notes) -> None:
    one, _ = start("one"), start("two")

    job_ids = submit_many(one, 80, task="run", payload=notes.payload(for_s=0.2))
    wait_completed(one, 80)

    boots = boots_of(one, job_ids)
    assert len(boots) == 80
    assert min(boots.count(boot) for boot in set(boots)) >= 20
    assert len(set(boots)) == 2


def test_the_jobs_of_a_killed_host_run_elsewhere_after_its_lease(start: Start, notes: Notes, tmp_path: Path) -> None:
    one, two = start("one"), start("two", QUEUES="none")
    until = tmp_path / "until"
    job_ids = submit_many(one, 5, task="hold", payload=notes.payload(until=str(until)))
    for job_id in job_ids:
        notes.wait(job_id)
    three = start("three")

    one.kill_whole()
    for job_id in job_ids:
        notes.wait(job_id, count=2)
    until.touch()
    wait_completed(two, 5)

    statuses = [[execution["status"] for execution in three.executions(job_id)] for job_id in job_ids]
    assert statuses == [["lost", "success"]] * 5
    assert {job["lost_count"] for job in two.get("/jobs").json} == {1}


def test_an_isolated_host_ends_its_executors_and_its_late_results_change_nothing(
    mongo: MongoProcess, start: Start, notes: Notes, tmp_path: Path
) -> None:
    until = tmp_path / "until"
    with Proxy(mongo.port) as proxy:
        cut = start("cut", uri=f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true")
        job_ids = submit_many(cut, 5, task="hold", payload=notes.payload(until=str(until)))
        first = [notes.wait(job_id).pid for job_id in job_ids]
        whole = start("whole")

        proxy.freeze()
        wait_gone(*first)
        begun_elsewhere = [notes.wait(job_id, count=2) for job_id in job_ids]
        proxy.thaw()
        until.touch()
        wait_completed(whole, 5)

        assert succeeded_once(whole, job_ids)
        assert {note.worker_pid for note in begun_elsewhere} == {whole.pid("worker-7001")}
        wait_for(lambda: cut.get("/health").status == 200, told="a healthy state of the isolated host")
        again = cut.submit(notes.payload(), task="run")
        assert cut.wait_for_job(again)["attempt"] == 1


def test_the_database_can_go_away_under_load_and_come_back(mongo: MongoProcess, start: Start, notes: Notes) -> None:
    one = start("one", LEASE_S=30)
    running = submit_many(one, 5, task="run", payload=notes.payload(for_s=1.5))
    waiting = submit_many(one, 30, task="echo")
    for job_id in running:
        notes.wait(job_id)

    mongo.stop()
    refused = [one.ask("POST", "/api/jobs", {"payload": number}) for number in range(5)]
    health = one.get("/health")
    for job_id in running:
        notes.wait(job_id, what="end")
    mongo.start()
    wait_for(lambda: one.get("/health").status == 200, told="good health")
    wait_completed(one, 35)

    assert {(answer.status, answer.json["error"]["code"]) for answer in refused} == {(503, "database_unavailable")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert (health.status, "scheduler" in health.json["error"]["message"]) == (503, True)
    assert succeeded_once(one, running + waiting)
    assert [len(one.executions(job_id)) for job_id in running] == [1] * 5
    assert one.output().count("database_unreachable") <= 6


@pytest.mark.parametrize(
    ("count", "away_s"), [pytest.param(150, 2, id="short"), pytest.param(2000, 20, id="long", marks=pytest.mark.long)]
)
def test_no_job_is_lost_or_ends_twice_whatever_happens_to_three_hosts(
    mongo: MongoProcess, start: Start, notes: Notes, count: int, away_s: float
) -> None:
    with Proxy(mongo.port) as proxy:
        whole, killed = start("whole"), start("killed")
        cut = start("cut", uri=f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true")
        job_ids = submit_many(whole, count, task="run", payload=notes.payload(for_s=0.1), max_retries=0)
        wait_for(lambda: len({note.worker_pid for note in notes.read()}) == 3, told="work on every host")

        killed.kill_whole()
        proxy.freeze()
        wait_for(lambda: whole.stats()["jobs"]["completed"] >= count // 4, within_s=240, told="a quarter done")
        mongo.stop()
        threading.Event().wait(away_s)  # the outage itself
        mongo.start()
        proxy.thaw()
        wait_completed(whole, count, within_s=400)

        executions = [whole.executions(job_id) for job_id in job_ids]
        assert all([e["status"] for e in attempts].count("success") == 1 for attempts in executions)
        assert {e["status"] for attempts in executions for e in attempts} <= {"success", "lost", "released"}
        wait_for(lambda: cut.get("/health").status == 200, told="a healthy state of the isolated host")
        wait_for(lambda: whole.stats()["jobs"]["running"] == 0, told="counts that add up")


@pytest.fixture
def far_host() -> Iterator[tuple[str, str, str]]:
    """A network namespace: its name, our end of the link to it, and our address on that link."""
    number = os.getpid() % 200
    name, ours, net = f"jobyard{os.getpid()}", f"jy{os.getpid()}"[:14], f"10.199.{number}"
    steps = [
        f"netns add {name}", f"link add {ours} type veth peer name far0 netns {name}", f"addr add {net}.1/24 dev {ours}",
        f"link set {ours} up", f"-n {name} addr add {net}.2/24 dev far0", f"-n {name} link set far0 up",
        f"-n {name} link set lo up",
    ]  # fmt: skip
    try:
        for step in steps:
            subprocess.run(["ip", *step.split()], check=True, capture_output=True)
        yield name, ours, f"{net}.1"
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces cannot be made here")
    finally:
        for step in (f"link del {ours}", f"netns del {name}"):
            with contextlib.suppress(OSError):
                subprocess.run(["ip", *step.split()], check=False, capture_output=True)


def test_a_host_without_network_releases_its_jobs_and_another_takes_over(
    far_host: tuple[str, str, str], tmp_path: Path, notes: Notes
) -> None:
    name, wire, address = far_host
    until = tmp_path / "until"
    for folder in ("near", "far"):
        (tmp_path / folder).mkdir()
    with MongoProcess(tmp_path / "mongo", host="0.0.0.0") as mongo, a_database(mongo.uri) as database:
        shared = {"MONGO_DB": database, "TASKS": TASKS, "LEASE_S": LEASE_S, "POLL_S": 0.5, "DRAIN_S": 1, **SMALL}
        far_uri = f"mongodb://{address}:{mongo.port}/?directConnection=true"
        far = Jobyard(tmp_path / "far", prefix=("ip", "netns", "exec", name), MONGO_URI=far_uri, QUEUES="far", **shared)
        with Jobyard(tmp_path / "near", MONGO_URI=mongo.uri, QUEUES="near", **shared) as near, far:
            job_ids = submit_many(near, 5, task="hold", queue="far", payload=notes.payload(until=str(until)))
            begun = [notes.wait(job_id).pid for job_id in job_ids]
            later = Jobyard(tmp_path / "near", MONGO_URI=mongo.uri, **shared)
            near.stop()

            with later:
                subprocess.run(["ip", "link", "set", wire, "down"], check=True)
                wait_gone(*begun)
                for job_id in job_ids:
                    notes.wait(job_id, count=2)
                subprocess.run(["ip", "link", "set", wire, "up"], check=True)
                until.touch()
                wait_completed(later, 5)

                assert succeeded_once(later, job_ids)


def test_a_host_runs_only_the_tasks_and_queues_that_it_serves(start: Start, notes: Notes) -> None:
    mail, plain = start("mail", QUEUES="mail"), start("plain", TASKS="", QUEUES="default,mail")

    wait_for(lambda: plain.ask("POST", "/api/jobs", {"task": "run", "payload": notes.payload()}).status == 201, told="a known task")
    other_hosts = plain.submit(notes.payload(), task="run", queue="mail")
    echoed = mail.submit("here")
    plain.wait_for_job(other_hosts)
    mail.wait_for_job(echoed)

    (mails,) = set(boots_of(plain, [other_hosts]))
    (plains,) = set(boots_of(plain, [echoed]))
    assert mails != plains
    assert plain.stats()["jobs"]["pending"] >= 1


def test_a_job_accepted_elsewhere_wakes_a_host_before_its_poll(start: Start) -> None:
    one, _ = start("one", QUEUES="none", POLL_S=60), start("two", POLL_S=60)
    one.wait_for_job(one.submit("the first may come before the change stream"))

    assert one.wait_for_job(one.submit("now"))["attempt"] == 1


def test_an_unreachable_database_at_start_is_reported_with_status_2(mongo: MongoProcess, tmp_path: Path) -> None:
    jobyard = Jobyard(tmp_path, MONGO_URI=f"mongodb://someone:s3cret@127.0.0.1:{mongo.port + 1}/", **SMALL).start(wait_ready=False)

    status = jobyard.wait_end()
    jobyard.release_ports()

    assert status == 2
    assert "no server answers" in jobyard.output()
    assert "s3cret" not in jobyard.output()
    jobyard.check_nothing_is_left()


def test_no_output_contains_the_password(mongo: MongoProcess, start: Start) -> None:
    one = start("one", uri=f"mongodb://127.0.0.1:{mongo.port}/?appName=s3cret", LOG_LEVEL="debug")
    one.wait_for_job(one.submit("x"))
    mongo.stop()
    one.ask("POST", "/api/jobs", {})

    shown = one.output() + one.get("/stats").body.decode() + one.get("/health").body.decode()
    titles = [" ".join(process.cmdline()) for process in one.look_at_processes()]
    mongo.start()

    assert "s3cret" not in shown + " ".join(titles)
