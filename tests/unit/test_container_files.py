"""`Dockerfile` and `compose.yml`: what they name exists, and what they ask of Jobyard is what it does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from jobyard.api.start.command_line import read_command_line
from jobyard.engine.config import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
NAMES = {setting.name for setting in SETTINGS}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
COMPOSE = yaml.safe_load((ROOT / "compose.yml").read_text("utf-8"))


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def test_the_image_runs_start_all_as_another_user_with_settings_that_exist() -> None:
    told = dict(word.split("=", 1) for line in instructions("ENV") for word in line.split())

    assert set(told) - {"PATH", "PYTHONDONTWRITEBYTECODE"} <= NAMES
    assert instructions("USER") == ["10001:10001"] and f"VOLUME {told['DATA_DIR']}" in DOCKERFILE
    assert json.loads(instructions("ENTRYPOINT")[-1]) == ["jobyard"]
    assert read_command_line(json.loads(instructions("CMD")[-1])).name == "start-all"


def test_the_health_check_is_a_program_that_compiles_and_asks_for_health() -> None:
    _, _, command = instructions("HEALTHCHECK")[0].partition("CMD ")
    program, flag, code = json.loads(command)

    compile(code, "HEALTHCHECK", "exec")
    assert (program, flag) == ("python", "-c") and "http://127.0.0.1:8080/health" in code


def test_the_services_of_compose_fit_together() -> None:
    services = COMPOSE["services"]
    jobyard = services["jobyard"]
    members = {name for name in services if name.startswith("mongo-")}

    named = set(re.findall(r"mongo-\d", jobyard["environment"]["MONGO_URI"]))
    volumes = {volume.split(":")[0] for name in members for volume in services[name]["volumes"]}
    assert set(jobyard["environment"]) <= NAMES and jobyard["read_only"] is True
    assert members == named == set(services["replica-set"]["depends_on"])
    assert volumes | {"jobyard"} == set(COMPOSE["volumes"])
