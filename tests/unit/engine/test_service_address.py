"""Where the service is and its token, by the names that server, client, commands and tasks share."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobyard.engine.client.environment import find_service
from jobyard.engine.config import read_settings
from jobyard.engine.service_address import service_token, service_url, variables_for_tasks

TOKEN = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"PORT_OFFSET": "100"}, "http://127.0.0.1:8180"),
        ({"HOST": "10.0.0.7", "PORT_OFFSET": ""}, "http://10.0.0.7:8080"),
        ({"HOST": "::1"}, "http://[::1]:8080"),
        ({"HOST": "[::1]"}, "http://[::1]:8080"),
        ({"HOST": "0.0.0.0"}, "http://127.0.0.1:8080"),
        ({"HOST": "::"}, "http://[::1]:8080"),
        ({"HOST": "jobs.internal"}, "http://jobs.internal:8080"),
        ({"JOBYARD_URL": "https://jobs.example.com", "HOST": "10.0.0.7"}, "https://jobs.example.com"),
        ({"JOBYARD_URL": "", "PORT_OFFSET": "1"}, "http://127.0.0.1:8081"),
    ],
)
def test_the_url_is_what_the_environment_says(environment: dict[str, str], url: str) -> None:
    assert service_url(environment) == url
    assert find_service(None, None, environment)[0] == url


@pytest.mark.parametrize("offset", ["x", "-1", "50001", "1.0", "9" * 5000])
def test_a_bad_offset_is_told(offset: str) -> None:
    with pytest.raises(ValueError, match=f"^PORT_OFFSET must be a whole number from 0 to 50000, not '{offset[:100]}'$"):
        service_url({"PORT_OFFSET": offset})


def test_the_token_has_two_names_and_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n".replace(" ", "-"))
    file = {"TOKEN_FILE": str(tmp_path / "token")}

    assert service_token({}) is None and service_token({"JOBYARD_TOKEN": "", "API_TOKEN": "b"}) == "b"
    assert service_token({"JOBYARD_TOKEN": "a", "API_TOKEN": "b", **file}) == "a"
    assert service_token(file) == "from-a-file"


def test_a_task_reaches_the_system_that_runs_it() -> None:
    settings = read_settings({"HOST": "0.0.0.0", "PORT_OFFSET": "40", "API_TOKEN": TOKEN})

    assert variables_for_tasks(settings, {}) == {"JOBYARD_URL": "http://127.0.0.1:8120", "JOBYARD_TOKEN": TOKEN}
    assert variables_for_tasks(read_settings({}), {}) == {"JOBYARD_URL": "http://127.0.0.1:8080"}


def test_our_token_goes_to_no_other_address() -> None:
    settings = read_settings({"API_TOKEN": TOKEN})

    assert variables_for_tasks(settings, {"JOBYARD_URL": "https://elsewhere.example"}) == {}


def test_a_client_without_a_url_is_one_of_the_service_that_the_environment_names() -> None:
    environment = {"JOBYARD_URL": "https://jobs.example.org", "JOBYARD_TOKEN": "t"}

    assert find_service(None, None, environment) == ("https://jobs.example.org", "t")
    assert find_service(None, "own", environment) == ("https://jobs.example.org", "own")


def test_a_url_that_is_given_gets_no_token_of_the_environment() -> None:
    assert find_service("http://other.example", None, {"JOBYARD_TOKEN": "t"}) == ("http://other.example", None)
