"""The wheel, installed into a virtual environment of its own: what a project gets that adds Jobyard as a dependency.

It is built and installed without the network: its dependencies are links to the packages of the environment that runs the tests.
"""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from jobyard.engine.version import version
from tests.support.system import CHECKOUT, Jobyard
from tests.support.waiting import LIMIT_S, wait_for

PACKAGES = Path(sysconfig.get_path("purelib"))
OLDEST_BACKEND = (70, 1)
BUILD = "from setuptools.build_meta import *; import sys; to = sys.argv[1]; build_sdist(to); build_wheel(to)"
MODULE = "from jobyard import task\n\n@task('shout')\ndef shout(payload):\n    return payload.upper()\n"
SHIPPED = (
    "jobyard/py.typed", "jobyard/engine/version.py", "jobyard/engine/store/sqlite/schema.sql", "jobyard/api/dashboard/index.html",
    "jobyard/api/dashboard/base.css", "share/doc/jobyard/design.md", "share/doc/jobyard/images/jobs.png", "licenses/LICENSE",
)  # fmt: skip


def run(command: list[str | Path], *, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    told = {"PATH": os.environ["PATH"], "HOME": str(folder)} | environment
    return subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel."""
    found = tuple(int(part) for part in metadata.version("setuptools").split(".")[:2])
    if found < OLDEST_BACKEND:
        pytest.skip(f"the build backend here is setuptools {found}; it must be {OLDEST_BACKEND} or later")
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    source.mkdir()
    for name in ("api", "bin", "docs", "engine", "src"):
        shutil.copytree(CHECKOUT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for path in CHECKOUT.iterdir():
        if path.is_file() and not path.name.startswith(".venv"):
            shutil.copy(path, source)
    (source / "src" / "jobyard.egg-info").mkdir()  # of an earlier build, by an older setup.py
    done = run([sys.executable, "-c", BUILD, folder], folder=source)
    assert done.returncode == 0, done.stderr
    return folder


def required_by(wheel: Path, extras: tuple[str, ...]) -> set[str]:
    """The names of the distributions that pip would install with this wheel, itself left out."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        told = email.message_from_string(archive.read(name).decode()).get_all("Requires-Dist", [])
    return all_required(told, extras)


def all_required(told: list[str], extras: tuple[str, ...] = ()) -> set[str]:
    """The names of the distributions that these requirements, with these extras, bring."""
    found: set[str] = set()
    wanted = [(told, extras)]
    while wanted:
        lines, with_extras = wanted.pop()
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *with_extras))
            if applies and requirement.name.lower() not in found:
                found.add(requirement.name.lower())
                wanted.append((metadata.requires(requirement.name) or [], tuple(requirement.extras)))
    return found


def installed_entries(distributions: set[str]) -> set[str]:
    """What these have directly in the folder of packages."""
    files = (file for name in distributions for file in metadata.files(name) or ())
    return {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}


class Environment:
    """A virtual environment with the wheel and what it requires, with these extras."""

    def __init__(self, folder: Path, wheel: Path, *extras: str) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        run([sys.executable, "-m", "venv", "--without-pip", folder], folder=folder.parent)
        self.packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
        for entry in installed_entries(required_by(wheel, extras)):
            (self.packages / entry).symlink_to(PACKAGES / entry)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.bin / "python"]
        done = run([*pip, "install", "--no-index", "--no-deps", wheel], folder=folder)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """As `pip install jobyard` makes it."""
    return Environment(tmp_path_factory.mktemp("plain") / "venv", wheel)


@pytest.fixture(scope="module")
def server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """As `pip install 'jobyard[server]'` makes it."""
    return Environment(tmp_path_factory.mktemp("server") / "venv", wheel, "server")


@pytest.fixture(scope="module")
def service(server: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobyard]:
    """Started by the installed command in a folder of the project's, with a DATA_DIR that nobody has set."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "tasks.py").write_text(MODULE)
    jobyard = Jobyard(folder, program=(), python=server.bin / "jobyard", TASKS="tasks", WORKERS=1, DATA_DIR="", HOME=folder)
    jobyard.data_dir = folder / "var"
    with jobyard:
        yield jobyard


def test_the_wheel_and_the_sdist_are_complete(built: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        shipped = archive.namelist()
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        sources = [name.partition("/")[2] for name in archive.getnames()]

    assert [name for name in SHIPPED if not any(path.endswith(name) for path in shipped)] == []
    assert {"docs/design.md", "bin/start-all", "CHANGELOG.md", "setup.py", "src/jobyard/engine/config.py"} <= set(sources)
    assert not [name for name in (*shipped, *sources) if name.endswith(".pyc") or name.startswith(("tests/", "jobyard/var"))]


def test_a_build_leaves_nothing_beside_the_package(built: Path) -> None:
    assert [path.name for path in (built / "source" / "src").iterdir()] == ["jobyard"]


def test_the_fixture_is_there_once_however_often_it_is_declared(plain: Environment, tmp_path: Path) -> None:
    plugin = "jobyard.engine.testing.pytest_plugin"
    for entry in installed_entries(all_required(["pytest"])):
        if not (plain.packages / entry).exists():
            (plain.packages / entry).symlink_to(PACKAGES / entry)
    (tmp_path / "test_one.py").write_text(
        "def test_one(jobyard):\n    jobyard.client.submit()\n    assert len(jobyard.drain()) == 1\n"
    )
    again = tmp_path / "again" / "jobyard-0.1.0.dist-info"
    again.mkdir(parents=True)
    shutil.copy(next(plain.packages.glob("jobyard-*.dist-info")) / "entry_points.txt", again)
    (again / "METADATA").write_text("Metadata-Version: 2.1\nName: jobyard\nVersion: 0.1.0\n")
    command = [plain.bin / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_one.py"]

    plainly = run(command, folder=tmp_path)
    twice = run(command, folder=tmp_path, PYTHONPATH=str(again.parent))
    (tmp_path / "conftest.py").write_text(f"pytest_plugins = [{plugin!r}]\n")
    by_name = [run([*command, *more], folder=tmp_path, PYTHONPATH=str(again.parent)) for more in ((), ("-p", plugin))]

    assert ["1 passed" in one.stdout for one in (plainly, twice, *by_name)] == [True] * 4, (plainly, twice, by_name)


@pytest.mark.parametrize("words", ["--version", "start-all --version", "start worker --version", "stop-all --version"])
def test_the_version_is_told_everywhere(plain: Environment, tmp_path: Path, words: str) -> None:
    programs: tuple[list[str | Path], ...] = ([plain.bin / "jobyard"], [plain.bin / "python", "-m", "jobyard"])

    told = [run([*program, *words.split()], folder=tmp_path) for program in programs]

    assert [(one.returncode, one.stdout) for one in told] == [(0, f"jobyard {version()}\n")] * 2


def test_a_job_runs_in_a_projects_environment_and_its_data_is_in_the_working_folder(
    server: Environment, service: Jobyard
) -> None:  # fmt: skip
    job = service.wait_for_job(service.submit("hello", task="shout"))

    assert job["result"] == "HELLO"
    assert service.get("/openapi.json").json["info"]["version"] == version()
    assert (service.data_dir / "jobyard.sqlite").exists() and not list(server.packages.glob("var"))


def test_the_server_gets_along_without_pymongo_and_says_so_where_it_is_needed(server: Environment, tmp_path: Path) -> None:
    told = run([server.bin / "jobyard", "start-all"], folder=tmp_path, MONGO_URI="mongodb://127.0.0.1:1")

    reason = "MONGO_URI is set, and this needs pymongo, which the extra 'mongo' brings: pip install 'jobyard[mongo]'"
    assert (told.returncode, told.stdout, told.stderr) == (2, "", f"jobyard cannot start: {reason}\n")


def test_a_plain_install_submits_and_waits(plain: Environment, service: Jobyard, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{service.port()}"

    command = [plain.bin / "jobyard", "submit", "shout", "--payload", '"there"', "--wait", "--url", url]
    told = run(command, folder=tmp_path)
    program = f"from jobyard import Client; c = Client({url!r}); print(c.wait(c.submit('shout', 'here'), 30).result)"
    from_a_program = run([plain.bin / "python", "-c", program], folder=tmp_path)

    assert told.returncode == 0, told.stderr
    assert from_a_program.stdout == "HERE\n", from_a_program.stderr


def test_a_plain_install_says_what_a_server_needs(plain: Environment, tmp_path: Path) -> None:
    for words in (["start-all"], ["start", "worker"], ["stop-all"]):
        told = run([plain.bin / "jobyard", *words], folder=tmp_path)

        missing = "flask, gunicorn, psutil, setproctitle, prometheus_client"
        remedy = f"this needs {missing}, which the extra 'server' brings: pip install 'jobyard[server]'"
        assert (told.returncode, told.stdout, told.stderr) == (2, "", f"jobyard {words[0]}: {remedy}\n")


def test_a_plain_install_lists_all_commands_and_says_which_it_lacks(plain: Environment, tmp_path: Path) -> None:
    listed = run([plain.bin / "jobyard", "--help"], folder=tmp_path)
    doctor = run([plain.bin / "jobyard", "doctor", "--json"], folder=tmp_path)

    assert listed.returncode == 0 and "doctor" in listed.stdout and "submit" in listed.stdout
    assert doctor.returncode == 2 and "pip install 'jobyard[server]'" in doctor.stderr.splitlines()[-1]


def test_a_stop_ends_what_runs_in_the_working_folder(server: Environment, tmp_path: Path) -> None:
    jobyard = Jobyard(tmp_path, program=(), python=server.bin / "jobyard", WORKERS=1, DATA_DIR="", HOME=tmp_path)
    jobyard.data_dir = tmp_path / "var"
    with jobyard:
        told = run([server.bin / "jobyard", "stop-all"], folder=tmp_path)

        wait_for(jobyard.has_ended, told="its end")
        assert told.returncode == 0 and "(start-all)" in told.stdout
