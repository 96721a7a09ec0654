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
