"""What a plain install leaves out, and the version."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from jobyard.engine.checkout import checkout, default_data_dir, program
from jobyard.engine.extras import MONGO, NEEDED, SERVER, extra_of, how_to_add, missing_from
from jobyard.engine.version import version

ROOT = Path(__file__).resolve().parents[3]


def setup() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


def test_what_an_extra_cannot_do_without_is_what_it_installs() -> None:
    for extra, needed in NEEDED.items():
        lines = map(Requirement, setup()["options.extras_require"][extra].split("\n")[1:])
        listed = {one.name.replace("-", "_"): one.specifier for one in lines}
        for one in needed:
            told = [f">={one.at_least[0]}.{one.at_least[1]}", *([] if one.below is None else [f"<{one.below[0]}.{one.below[1]}"])]
            assert SpecifierSet(",".join(told)) == SpecifierSet(with_two_numbers(str(listed[one.module])))


def with_two_numbers(specifiers: str) -> str:
    return re.sub(r"(?<![\d.])(\d+)(?![\d.])", r"\1.0", specifiers)


def test_a_missing_module_is_told_with_what_to_install() -> None:
    missing = missing_from(SERVER, find=lambda name: None if name == "psutil" else name)

    assert how_to_add("server", missing) == "this needs psutil, which the extra 'server' brings: pip install 'jobyard[server]'"


def test_a_version_that_does_not_fit_is_told_with_both_remedies() -> None:
    versions = {"flask": "2.3.3", "gunicorn": "28.0.0", "psutil": "6", "setproctitle": "1.10.1", "pymongo": "3.13.0"}

    told = [how_to_add(extra, missing_from(extra, find=str, installed=versions.get)) for extra in (SERVER, MONGO)]

    flask = "flask 3.1 or later but below 4 (2.3.3 is installed)"
    gunicorn = "gunicorn 27 or later but below 28 (28.0.0 is installed)"
    other = "if your project needs its versions, install jobyard in an environment of its own and set TASK_PYTHON"
    assert told[0] == f"this needs {flask}, {gunicorn}, which the extra 'server' brings: pip install 'jobyard[server]'; {other}"
    assert "pymongo 4.10 or later but below 5 (3.13.0 is installed)" in told[1]
    assert missing_from(SERVER, find=str, installed=lambda module: None) == []


@pytest.mark.parametrize(
    ("module", "extra"), [("flask", "server"), ("gunicorn.http", "server"), ("pymongo", "mongo"), ("httpx", None), (None, None)]
)
def test_a_module_belongs_to_an_extra(module: str | None, extra: str | None) -> None:
    assert extra_of(module) == extra


def test_the_version_is_the_one_in_setup_cfg() -> None:
    assert version() == setup()["metadata"]["version"]


def test_a_package_in_site_packages_is_no_checkout(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages" / "jobyard" / "engine"
    sdist = tmp_path / "jobyard-0.2.0" / "src" / "jobyard" / "engine"
    for folder in (packages, sdist):
        folder.mkdir(parents=True)
    (tmp_path / "jobyard-0.2.0" / "setup.cfg").touch()

    assert checkout(packages / "checkout.py") is None
    assert checkout(sdist / "checkout.py") == tmp_path / "jobyard-0.2.0"


def test_the_data_is_in_the_checkout_for_its_own_environment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert default_data_dir(str(ROOT / ".venv")) == str(ROOT / "var")
    assert default_data_dir("/srv/shop/.venv") == str(tmp_path / "var")


def test_commands_are_named_as_they_are_called() -> None:
    assert [program(name, str(ROOT / ".venv")) for name in ("jobyard", "stop-all")] == ["bin/jobyard", "bin/stop-all"]
    assert [program(name, "/srv/shop/.venv") for name in ("jobyard", "stop-all")] == ["jobyard", "jobyard stop-all"]
