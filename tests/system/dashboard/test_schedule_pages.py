"""The dashboard's pages of schedules, and what a token that only reads is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.support.system import Jobyard
from tests.system.dashboard.conftest import TOKEN, Tab

READ_TOKEN = "another-token-of-thirty-two-characters"


@pytest.fixture(scope="module")
def readable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobyard]:
    """A system with a token that only reads."""
    folder: Path = tmp_path_factory.mktemp("readable")
    settings = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 1, "API_TOKEN": TOKEN, "READ_TOKEN": READ_TOKEN}
    with Jobyard(folder, **settings) as jobyard:
        yield jobyard


def test_a_schedule_is_made_with_a_preview_then_paused_resumed_run_and_deleted(tab: Tab) -> None:
    page = tab.open("#/schedule-form")
    tab.expected.append("400")

    page.get_by_label("Name").fill("nightly")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_label("Cron").fill("0 2 * *")
    expect(page.locator("#fault-cron")).to_contain_text("five are right")
    page.get_by_label("Cron").fill("0 2 * * *")
    expect(page.get_by_role("region", name="Next fires").locator("li")).to_have_count(5)
    expect(page.get_by_role("region", name="Next fires")).to_contain_text("02:00:00")
    page.get_by_label("Payload").fill('{"big": 9007199254740993}')
    page.get_by_role("button", name="Save").click()

    expect(page.locator("h1")).to_have_text("nightly")
    made = tab.jobyard.get("/api/schedules/nightly").json
    assert (made["cron"], made["time_zone"], made["job"]["payload"]) == ("0 2 * * *", "Europe/Berlin", {"big": 9007199254740993})
    page.get_by_role("button", name="Pause").click()
    page.get_by_label("Reason").fill("the disk is full")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator("p.reasons")).to_contain_text("the disk is full")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".head .badge")).to_have_text("active")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("#notice")).to_contain_text("its job is made")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete the schedule").click()
    expect(page.locator("h1")).to_have_text("Schedules")
    assert tab.jobyard.get("/api/schedules/nightly").status == 404


def test_an_edited_schedule_keeps_what_the_form_does_not_show(tab: Tab) -> None:
    body = {"every_s": 86400, "jitter_s": 5, "dst_fold": "both", "job": {"payload": 1, "queue": "reports", "tags": ["a"]}}
    tab.jobyard.ask("PUT", "/api/schedules/edited", body)
    page = tab.open("#/schedule-form?name=edited")

    page.get_by_label("or every").fill("3600")
    page.get_by_role("button", name="Save").click()

    expect(page.locator("h1")).to_have_text("edited")
    after = tab.jobyard.get("/api/schedules/edited").json
    assert (after["every_s"], after["jitter_s"], after["dst_fold"]) == (3600, 5, "both")
    assert (after["job"]["queue"], after["job"]["tags"]) == ("reports", ["a"])


def test_a_token_that_only_reads_gets_no_buttons(context: BrowserContext, readable: Jobyard) -> None:
    tab = Tab(context, readable)
    tab.expected += ["401", "403"]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    readable.ask("PUT", "/api/schedules/hourly", {"cron": "0 * * * *", "job": {}}, headers=headers)
    page = tab.open("#/schedules")
    page.get_by_label("Token").fill(READ_TOKEN)
    page.get_by_role("button", name="Sign in").click()

    expect(page.locator("tbody tr")).to_contain_text("hourly")

    expect(page.locator("main").get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("link", name="New schedule")).to_have_count(0)
    expect(page.get_by_role("navigation").get_by_role("link", name="Submit")).to_be_hidden()
    tab.check()
