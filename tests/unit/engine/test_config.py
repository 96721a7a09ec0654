"""Settings: all faults told at once, by name, with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobyard.engine.config import SETTINGS, read_settings
from jobyard.engine.errors import CannotStart

TOKEN = "0123456789abcdef" * 2


def test_nothing_set_gives_the_documented_defaults() -> None:
    settings = read_settings({})

    assert (settings.host, settings.schedulers, settings.workers, settings.concurrency) == ("127.0.0.1", 3, 3, 5)
    assert (settings.poll_s, settings.lease_s, settings.retry_base_s, settings.retention_s) == (2, 30, 10, 604800)
    assert settings.retention_failed_s == 2592000
    assert (settings.mongo_uri, settings.api_token, settings.tasks, settings.enable_shell) == (None, None, (), False)


def test_a_flag_wins_over_the_environment() -> None:
    assert read_settings({"WORKERS": "2"}, {"WORKERS": "4"}).workers == 4


def test_every_bad_setting_is_named_with_what_would_be_right() -> None:
    bad = {
        "POLL_S": "soon", "WORKERS": "0", "CONCURRENCY": "1e3", "LOG_LEVEL": "loud", "ENABLE_SHELL": "yes", "HOST": "example.com",
        "TASKS": "my tasks", "MAX_RETRIES": "101", "PORT_OFFSET": "-1",
    }  # fmt: skip

    with pytest.raises(CannotStart) as told:
        read_settings(bad)

    assert all(f"{name} must be " in told.value.message and repr(value) in told.value.message for name, value in bad.items())


def test_a_bad_token_is_not_repeated() -> None:
    with pytest.raises(CannotStart) as told:
        read_settings({"API_TOKEN": "my secret"})

    assert "API_TOKEN" in told.value.message and "secret" not in told.value.message


@pytest.mark.parametrize("token", ["", "short"])
def test_other_addresses_need_a_long_token(token: str) -> None:
    with pytest.raises(CannotStart):
        read_settings({"HOST": "0.0.0.0", "API_TOKEN": token})

    assert read_settings({"HOST": "0.0.0.0", "API_TOKEN": TOKEN}).host == "0.0.0.0"


@pytest.mark.parametrize(("asked", "address"), [("localhost", "127.0.0.1"), ("::1", "::1"), ("[::1]", "::1"), ("127.0.0.9",) * 2])
def test_a_loopback_address_needs_none(asked: str, address: str) -> None:
    assert read_settings({"HOST": asked}).host == address


def test_a_folder_is_absolute_and_modules_are_a_list() -> None:
    settings = read_settings({"DATA_DIR": "data", "TASKS": "a.b, c"})

    assert settings.data_dir == Path("data").absolute()
    assert settings.tasks == ("a.b", "c")


def test_the_token_is_not_shown_with_the_settings() -> None:
    assert TOKEN not in repr(read_settings({"API_TOKEN": TOKEN}))


def test_names_flags_and_attributes_go_together() -> None:
    settings = read_settings({})

    for setting in SETTINGS:
        assert setting.flag == "--" + setting.attribute.replace("_", "-")
        assert hasattr(settings, setting.attribute)


@pytest.mark.parametrize("hosts", ["jobs.example.com", "jobs_1.internal, 10.0.0.1,[::1]", ".example.com", "JOBS.example"])
def test_names_addresses_and_patterns_of_hosts_are_allowed(hosts: str) -> None:
    assert read_settings({"ALLOWED_HOSTS": hosts}).allowed_hosts == tuple(host.strip() for host in hosts.split(","))


@pytest.mark.parametrize(
    "hosts",
    ["https://jobs.example.com", "jobs.example.com:8080", "*.example.com", "jobs.example.com/x", "::1", "a b", "..a", ".", "a..b"],
)
def test_what_would_never_match_a_host_is_refused(hosts: str) -> None:
    with pytest.raises(CannotStart, match="ALLOWED_HOSTS must be names or addresses without scheme, port or path"):
        read_settings({"ALLOWED_HOSTS": hosts})


def test_any_host_needs_a_token() -> None:
    with pytest.raises(CannotStart, match="ALLOWED_HOSTS . needs an API_TOKEN"):
        read_settings({"ALLOWED_HOSTS": "*"})

    assert read_settings({"ALLOWED_HOSTS": "*", "API_TOKEN": TOKEN}).allowed_hosts == ("*",)


def test_the_token_may_be_in_a_file_and_one_that_is_given_itself_wins(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"  {TOKEN}\n")
    file = {"TOKEN_FILE": str(tmp_path / "token")}

    assert read_settings(file).api_token == TOKEN
    assert read_settings(file | {"API_TOKEN": "other"}).api_token == "other"
    assert read_settings({"API_TOKEN": "other"}, file).api_token == TOKEN
    assert read_settings(file, {"API_TOKEN": "other"}).api_token == "other"
    assert read_settings(file | {"HOST": "0.0.0.0"}).host == "0.0.0.0"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read: No such file or directory"), ("", "is empty"), ("two words", "must hold visible ASCII"),
        ("ä", "must hold"),
    ],
)  # fmt: skip
def test_a_file_without_a_token_is_told_with_its_path_and_without_its_text(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text, "latin-1")

    with pytest.raises(CannotStart) as refused:
        read_settings({"TOKEN_FILE": str(path)})

    assert f"the token file {path} {told}" in refused.value.message and "words" not in refused.value.message


def test_the_token_has_the_clients_name_too() -> None:
    assert read_settings({"JOBYARD_TOKEN": TOKEN}).api_token == TOKEN
    assert read_settings({"JOBYARD_TOKEN": TOKEN, "API_TOKEN": TOKEN}).api_token == TOKEN
    assert read_settings({"JOBYARD_TOKEN": "other"}, {"API_TOKEN": TOKEN}).api_token == TOKEN

    with pytest.raises(CannotStart, match="API_TOKEN and JOBYARD_TOKEN are two names of one setting, and differ"):
        read_settings({"JOBYARD_TOKEN": TOKEN, "API_TOKEN": "other"})


def test_tokens_of_all_settings_are_together_and_in_no_message() -> None:
    settings = read_settings({"API_TOKEN": "ops=a1,b1", "READ_TOKEN": "board=c1", "WORKER_TOKEN": "d1"})

    named = {token.secret: token.name for token in settings.tokens}
    assert named == {"a1": "ops", "b1": "api", "c1": "board", "d1": "worker"}
    assert not any(secret in repr(settings) for secret in ("a1", "b1", "c1", "d1"))


@pytest.mark.parametrize("name", ["READ_TOKEN", "WORKER_TOKEN"])
def test_a_token_for_less_needs_one_for_all(name: str) -> None:
    with pytest.raises(CannotStart, match=f"{name} needs an API_TOKEN"):
        read_settings({name: "secret"})


def test_one_token_is_good_for_one_thing() -> None:
    with pytest.raises(CannotStart, match="API_TOKEN and READ_TOKEN share a token") as told:
        read_settings({"API_TOKEN": "x-secret", "READ_TOKEN": "board=x-secret"})

    assert "x-secret" not in told.value.message


@pytest.mark.parametrize("name", ["API_TOKEN", "READ_TOKEN", "WORKER_TOKEN"])
def test_where_others_can_reach_the_ports_every_token_is_long(name: str) -> None:
    settings = {"HOST": "0.0.0.0", "API_TOKEN": TOKEN} | {name: f"a={TOKEN[::-1]},b=short"}

    with pytest.raises(CannotStart, match=f"so {name} must be set, with 32 characters or more"):
        read_settings(settings)
