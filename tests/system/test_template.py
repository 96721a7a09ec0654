"""Users' code in a process of its own: what modules open at import works in every job, what they do reaches nobody else, and the
process may die, hang or be replaced. Whole systems, real processes.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import threading
import venv
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.notes import is_alive
from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S, wait_for

ONE_OF_EACH = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 2}
CANNOT_START = 2
ECHO = "from jobyard import task\n@task('mine')\ndef mine(payload):\n    return payload\n"


def run(jobyard: Jobyard, task: str, payload: object = None) -> object:
    return jobyard.wait_for_job(jobyard.submit(payload, task=task))["result"]


# ---- what modules open at import

OPENERS = """
import json, logging, os, socket, sqlite3
from jobyard import task

handler = logging.FileHandler("handler.log")
log = logging.getLogger("mine")
log.addHandler(handler)
log.setLevel("INFO")
file = open("file.txt", "a")
file.write("header, not flushed\\n")
database = sqlite3.connect("mine.sqlite", timeout=60, isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE IF NOT EXISTS seen (number INTEGER)")
datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
datagrams.connect("listener")

@task("use")
def use(number):
    log.info("line %d", number)
    file.write(f"line {number}\\n")
    file.flush()
    datagrams.send(b"%d" % number)
    return os.getpid()
"""


def test_files_handlers_datagram_sockets_of_modules_work_in_every_job(tmp_path: Path) -> None:
    (tmp_path / "openers.py").write_text(OPENERS)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "listener"))
    listener.settimeout(60)
    numbers = range(40)
    with listener, Jobyard(tmp_path, TASKS="openers", **ONE_OF_EACH) as jobyard:
        ids = [jobyard.submit(number, task="use") for number in numbers]
        told = {int(listener.recv(100)) for _ in numbers}
        for job_id in ids:
            jobyard.wait_for_job(job_id)

    assert told == set(numbers)
    assert sorted((tmp_path / "handler.log").read_text().split("\n")) == sorted(["", *(f"line {number}" for number in numbers)])
    assert sorted((tmp_path / "file.txt").read_text().split("\n")) == sorted(
        ["", "header, not flushed", *(f"line {number}" for number in numbers)]
    )


class Answerer(http.server.BaseHTTPRequestHandler):
    """Tells who asked: the number in the path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *told: object) -> None:
        return


@contextlib.contextmanager
def answering() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answerer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(LIMIT_S)
        server.server_close()


KEPT_ALIVE = """
import http.client
from jobyard import task
connection = http.client.HTTPConnection("127.0.0.1", {port})

def get(path):
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except (ConnectionError, http.client.HTTPException):
        connection.close()
        connection.request("GET", path)
        return connection.getresponse().read().decode()

get("/at-import")

@task("get")
def get_it(number):
    return get(f"/{{number}}")
"""


def test_a_kept_alive_connection_of_a_module_gives_no_job_anothers_answer(tmp_path: Path) -> None:
    with answering() as port:
        (tmp_path / "kept.py").write_text(KEPT_ALIVE.format(port=port))
        with Jobyard(tmp_path, TASKS="kept", **ONE_OF_EACH) as jobyard:
            ids = [jobyard.submit(number, task="get") for number in range(60)]
            answers = [jobyard.wait_for_job(job_id)["result"] for job_id in ids]
            output = jobyard.output()

    assert answers == [f"/{number}" for number in range(60)]
    assert output.count(f"is connected to 127.0.0.1:{port}") == 1 and "@on_child_start" in output


# ---- what modules do at import

RUDE = """
import locale, logging, os, signal, socket, sys, threading, time
from jobyard import task
print("printed at import")
logging.getLogger("mine").warning("logged at import")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGALRM, lambda *told: os._exit(3))
signal.setitimer(signal.ITIMER_REAL, 0.3)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
socket.setdefaulttimeout(0.001)
os.umask(0)
sys.path.insert(0, "/nowhere")
threading.Thread(target=lambda: time.sleep(600), daemon=True).start()
sys.stdout.close()

@task("rude")
def rude(payload):
    return os.getppid()
"""


def test_nothing_that_a_module_does_at_import_reaches_a_process_of_ours(tmp_path: Path) -> None:
    (tmp_path / "rude.py").write_text(RUDE)

    with Jobyard(tmp_path, TASKS="rude", **ONE_OF_EACH) as jobyard:
        results = {run(jobyard, "rude") for _ in range(5)}
        template = jobyard.pid("template")
        wait_for(lambda: "logged at import" in jobyard.output())

        assert results == {template}
        assert jobyard.get("/health").status == 200
        output = jobyard.output()
        assert "printed at import" in output and "started 1 threads" in output
        assert "executor_died" not in output


def test_a_module_without_tasks_is_warned_about(tmp_path: Path) -> None:
    with Jobyard(tmp_path, TASKS="email", **ONE_OF_EACH) as jobyard:
        assert "email is a module of Python's standard library" in jobyard.output()


HOOKED = """
import atexit, os
from jobyard import around_job, current_job, on_child_start, on_child_stop, task

def note(what):
    with open("notes", "a") as notes:
        notes.write(f"{what}\\n")

@on_child_start
def first(): note("start 1")
@on_child_start
def second(): note("start 2")
@on_child_stop
def stop_first(): note("stop 1")
@on_child_stop
def stop_second(): note("stop 2")
atexit.register(note, "exit")

@around_job
def outer():
    note(f"outer {current_job().attempt}")
    try:
        yield
    except ValueError as wrong:
        note(f"outer saw {wrong}")
    note("outer left")

@around_job
def inner():
    note("inner")
    yield
    note("inner left")

@task("hooked")
def hooked(payload):
    note("job")
    if payload:
        raise ValueError(payload)
    return os.getpid()
"""


def test_hooks_run_around_each_job_and_each_child(tmp_path: Path) -> None:
    (tmp_path / "hooked.py").write_text(HOOKED)
    with Jobyard(tmp_path, TASKS="hooked", **ONE_OF_EACH | {"CONCURRENCY": 1}) as jobyard:
        run(jobyard, "hooked")
        failed = jobyard.wait_for_job(jobyard.submit("no", task="hooked", max_retries=0), status="failed")

    assert failed["error"] == "ValueError: no"
    assert (tmp_path / "notes").read_text().split("\n") == [
        "start 1", "start 2",
        "outer 1", "inner", "job", "inner left", "outer left",
        "outer 1", "inner", "job", "outer saw no", "outer left",
        "stop 2", "stop 1", "exit", "",
    ]  # fmt: skip


# ---- which Python, which modules


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment without any package but one of its own."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    (next(folder.glob("lib/python3*/site-packages")) / "theirs.py").write_text("VALUE = 42\n")
    return folder / "bin" / "python"


MINE = (
    "import sys, theirs\nfrom jobyard import task\n"
    "@task('mine')\ndef mine(payload):\n    return [theirs.VALUE, sys.executable, 'msgspec' in sys.modules]\n"
)


@pytest.mark.parametrize("how", ["TASK_PYTHON", "VIRTUAL_ENV"])
def test_tasks_run_with_the_projects_own_python_and_packages(tmp_path: Path, bare_python: Path, how: str) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    asked = {how: bare_python if how == "TASK_PYTHON" else bare_python.parents[1]}

    with Jobyard(tmp_path, TASKS="mine", **ONE_OF_EACH, **asked) as jobyard:
        assert run(jobyard, "mine") == [42, str(bare_python), False]


def test_a_python_that_cannot_be_run_is_one_line_and_status_2(tmp_path: Path) -> None:
    jobyard = Jobyard(tmp_path, TASK_PYTHON="/no/such/python", **ONE_OF_EACH)
    jobyard.start(wait_ready=False)

    assert jobyard.wait_end() == CANNOT_START
    jobyard.check_nothing_is_left()
    (line,) = jobyard.output().splitlines()
    assert "TASK_PYTHON /no/such/python cannot be run" in line


def test_a_project_may_call_its_packages_as_it_likes(tmp_path: Path) -> None:
    names = ("api", "app", "engine", "queue", "tests")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"OURS = {name!r}\n")
    (tmp_path / "app" / "tasks.py").write_text(
        f"import {', '.join(names)}\nfrom jobyard import task\n"
        f"@task('names')\ndef names(payload):\n    return [{', '.join(f'{name}.OURS' for name in names)}]\n"
    )

    isolated = ("-I", "-m", "jobyard")  # as bin/start-all does it: else their `queue` would be our own processes' too
    with Jobyard(tmp_path, program=isolated, TASKS="app.tasks", **ONE_OF_EACH) as jobyard:
        assert run(jobyard, "names") == list(names)


def test_a_module_that_cannot_be_imported_ends_the_start_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def deep():\n    return 1 / 0\n\ndeep()\n")
    jobyard = Jobyard(tmp_path, TASKS="broken", **ONE_OF_EACH)
    jobyard.start(wait_ready=False)

    assert jobyard.wait_end() == CANNOT_START
    jobyard.check_nothing_is_left()
    output = jobyard.output()
    assert "TASKS: module broken cannot be imported: ZeroDivisionError: division by zero" in output
    assert 'broken.py", line 4, in <module>' in output and "broken.py, line 2)" in output
    assert output.count("ZeroDivisionError: division by zero (") == 1


# ---- reload, death, hanging


def test_a_reload_brings_the_code_as_it_is_now_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    def write(value: str) -> None:
        (tmp_path / "mine.py").write_text(ECHO.replace("return payload", value))

    write("return 'old'")
    (tmp_path / "waits.py").write_text(
        "import os, time\nfrom jobyard import task\n"
        "@task('wait')\ndef wait(name):\n    open(name + '.begun', 'w').close()\n"
        "    while not os.path.exists(name): time.sleep(0.01)\n    return 'waited'\n"
    )
    with Jobyard(tmp_path, TASKS="mine,waits", **ONE_OF_EACH) as jobyard:
        running = jobyard.submit(str(tmp_path / "go"), task="wait")
        wait_for((tmp_path / "go.begun").exists)
        assert run(jobyard, "mine") == "old"
        before = jobyard.pid("template")

        write("return 'new'")
        os.kill(jobyard.guard_pid, signal.SIGHUP)
        jobyard.wait_replaced("template", before)
        wait_for(lambda: run(jobyard, "mine") == "new")
        (tmp_path / "go").touch()
        assert jobyard.wait_for_job(running)["result"] == "waited" and jobyard.job(running)["attempt"] == 1
        wait_for(lambda: not psutil.pid_exists(before))

        write("return nothing (")
        os.kill(jobyard.guard_pid, signal.SIGHUP)
        wait_for(lambda: "module mine cannot be imported: SyntaxError" in jobyard.output())
        assert run(jobyard, "mine") == "new"
        assert jobyard.get("/health").status == 200
        assert [path.name for path in (tmp_path / "data" / "run").glob("*spawn")] == ["template.spawn"]


def test_a_changed_file_is_loaded_by_itself_when_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ECHO.replace("return payload", "return 'old'"))
    with Jobyard(tmp_path, words=("start-all", "--reload"), TASKS="mine", **ONE_OF_EACH) as jobyard:
        assert run(jobyard, "mine") == "old"

        (tmp_path / "mine.py").write_text(ECHO.replace("return payload", "return 'changed'"))

        wait_for(lambda: run(jobyard, "mine") == "changed")


def test_where_the_modules_cannot_be_imported_any_more_all_say_so_and_no_job_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ECHO)
    with Jobyard(tmp_path, TASKS="mine", **ONE_OF_EACH) as jobyard:
        assert run(jobyard, "mine", 1) == 1
        (tmp_path / "mine.py").write_text("import gone")

        jobyard.kill("template")
        wait_for(lambda: b"mine cannot be imported" in jobyard.get("/health").body)
        waiting = jobyard.submit(2, task="mine")
        health, worker = jobyard.get("/health").json, jobyard.get("/health", port=7001)

        assert {"supervisor", f"worker-{jobyard.port(7001)}"} <= set(health["down"])
        assert worker.status == 503 and "template" in worker.body.decode()
        assert jobyard.job(waiting)["attempt"] == 0
        (tmp_path / "mine.py").write_text(ECHO)
        assert jobyard.wait_for_job(waiting)["result"] == 2
        wait_for(lambda: jobyard.get("/health").status == 200)


MULTIPLY = """
import os, subprocess, sys, time
from jobyard import task

@task("parent")
def parent(payload):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    time.sleep(0.05)
    return child.pid
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("whom", [("template",), ("worker-7001",), ("template", "worker-7001", "worker-7002")], ids="+".join)
def test_whoever_is_killed_or_stopped_under_load_nothing_is_lost_or_doubled_or_left(
    tmp_path: Path, whom: tuple[str, ...], number: signal.Signals
) -> None:  # fmt: skip
    (tmp_path / "multiply.py").write_text(MULTIPLY)
    settings = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 2, "CONCURRENCY": 3, "HANG_S": 2, "RETRY_BASE_S": 0.1}
    with Jobyard(tmp_path, TASKS="multiply", **settings) as jobyard:
        ids = [jobyard.submit(task="parent") for _ in range(60)]
        wait_for(lambda: jobyard.job(ids[5])["status"] == "completed")
        pids = {name: jobyard.pid(name) for name in whom}

        for pid in pids.values():
            os.kill(pid, number)

        for name, pid in pids.items():
            jobyard.wait_replaced(name, pid)
        for job_id in ids:
            job = jobyard.wait_for_job(job_id, within_s=120)
            ends = [execution["status"] for execution in jobyard.executions(job_id)]
            assert ends[-1] == "success" and set(ends[:-1]) <= {"lost", "released"}, ends
            assert job["retry_count"] == 0
        wait_for(lambda: jobyard.get("/health").status == 200)


DAEMON = """
import pathlib
import subprocess

from jobyard import task

for started in (["sleep", "600"], ["setsid", "sleep", "600"]):
    with open("pids", "a") as file:
        print(subprocess.Popen(started).pid, file=file)

@task("noop")
def noop(payload):
    pass

@task("shared")
def shared(payload):
    import multiprocessing
    with multiprocessing.get_context("fork").Manager() as manager:
        return dict(manager.dict(a=1))
"""


@pytest.mark.parametrize("words", [("start-all",), ("start", "scheduler")], ids=["with a worker", "without"])
def test_a_process_that_a_module_starts_at_import_ends_with_the_system(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "daemons.py").write_text(DAEMON)
    with Jobyard(tmp_path, words=words, TASKS="daemons", WORKERS=1) as jobyard:
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        jobyard.stop()

    wait_for(lambda: not any(is_alive(pid) for pid in pids), told="the end of the modules' processes")


def test_a_manager_works_in_a_task_below_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    (folder / "daemons.py").write_text(DAEMON)
    with Jobyard(folder, TASKS="daemons", **ONE_OF_EACH) as jobyard:
        assert jobyard.wait_for_job(jobyard.submit(task="shared"))["result"] == {"a": 1}


KEEPS_ITS_OWN = """
import os, subprocess, threading

from jobyard import task

def begin(*words):
    process = subprocess.Popen(words)
    with open("pids", "a") as file:
        print(process.pid, file=file)

def start_later():
    while not os.path.exists("start"):
        threading.Event().wait(0.01)
    begin("sleep", "600")
    subprocess.run(["sh", "-c", "sleep 600 & echo $! >> pids"])  # left behind by a process of the module

threading.Thread(target=start_later, daemon=True).start()
begin("sleep", "600")

@task("crash")
def crash(payload):
    with open("orphan", "w") as file:
        print(subprocess.Popen(["sleep", "600"], start_new_session=True).pid, file=file)
    os._exit(1)
"""


def test_what_a_crashed_job_has_started_is_killed_and_what_a_module_has_started_is_not(tmp_path: Path) -> None:
    (tmp_path / "keeps.py").write_text(KEEPS_ITS_OWN)
    with Jobyard(tmp_path, TASKS="keeps", **ONE_OF_EACH) as jobyard:
        (tmp_path / "start").touch()
        wait_for(lambda: len((tmp_path / "pids").read_text().split()) == 3, told="the processes of the module")

        jobyard.wait_for_job(jobyard.submit(task="crash", max_retries=0), status="failed")

        assert not is_alive(int((tmp_path / "orphan").read_text()))
        assert all(is_alive(int(pid)) for pid in (tmp_path / "pids").read_text().split())
