"""What people do with jobs in the dashboard."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.notes import Notes
from tests.system.dashboard.conftest import Tab


def submit(page: Page, **fields: str) -> None:
    """Fill the form and send it."""
    for title, value in fields.items():
        control = page.get_by_label(title.replace("_", " "), exact=False).first
        control.fill(value)
    page.get_by_role("button", name="Submit the job").click()


def test_a_job_is_submitted_and_seen_to_run_and_end(tab: Tab, notes: Notes, tmp_path: Path) -> None:
    page = tab.open("#/submit")
    go_on = tmp_path / "go on"

    submit(page, Task="hold", Payload=json.dumps(notes.payload(until=str(go_on))))

    expect(page.locator(".head .badge")).to_have_text("running")
    go_on.touch()
    expect(page.locator(".head .badge")).to_have_text("completed")
    expect(page.locator(".timeline")).to_contain_text("Attempt 1: success")
    expect(page.locator("#told")).to_contain_text("accepted")


def test_the_tasks_that_are_known_are_offered(tab: Tab) -> None:
    page = tab.open("#/submit")

    expect(page.locator("#tasks option[value=echo]")).to_have_count(1)
    expect(page.locator("#tasks option[value=hold]")).to_have_count(1)


def test_a_large_number_loses_no_digit(tab: Tab) -> None:
    page = tab.open("#/submit")

    submit(page, Payload='{"big": 9007199254740993, "small": 1.5}')

    expect(page.locator(".head .badge")).to_have_text("completed")
    expect(page.get_by_role("region", name="Result")).to_contain_text("9007199254740993")
    job_id = page.url.rpartition("/")[2]
    assert tab.jobyard.job(job_id)["payload"] == {"big": 9007199254740993, "small": 1.5}


def test_a_wrong_field_is_told_beside_it_and_nothing_is_sent(tab: Tab) -> None:
    page = tab.open("#/submit")
    tab.expected.append("400")

    submit(page, Payload="{no json")
    expect(page.locator("#fault-payload")).to_contain_text("no JSON")

    submit(page, Payload="{}", Task="nobody_knows_it")
    expect(page.locator("#fault-task")).to_contain_text("nobody_knows_it")
    expect(page.get_by_label("Task")).to_have_value("nobody_knows_it")


def test_a_failed_job_shows_why_and_is_retried(tab: Tab, notes: Notes) -> None:
    job_id = tab.jobyard.submit(notes.payload(), task="fail", max_retries=1)
    tab.jobyard.wait_for_job(job_id, status="failed")
    page = tab.open(f"#/jobs/{job_id}")

    expect(page.get_by_role("region", name="Error")).to_contain_text("ValueError: not today")
    page.locator("summary").last.click()
    expect(page.locator(".timeline details pre").last).to_contain_text("raise ValueError")
    page.get_by_role("button", name="Retry").click()

    expect(page.locator(".timeline")).to_contain_text("Attempt 4: failed")
    expect(page.locator(".head .badge")).to_have_text("failed")


def test_a_running_job_is_cancelled_after_a_question(tab: Tab, notes: Notes, tmp_path: Path) -> None:
    job_id = tab.jobyard.submit(notes.payload(until=str(tmp_path / "never")), task="hold")
    page = tab.open(f"#/jobs/{job_id}")
    expect(page.locator(".head .badge")).to_have_text("running")

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert tab.jobyard.job(job_id)["status"] == "running"

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the job").click()

    expect(page.locator(".head .badge")).to_have_text("cancelled")


def test_a_job_is_copied_as_a_command(tab: Tab) -> None:
    job_id = tab.jobyard.submit({"it's": "quoted"}, delay_s=3600)
    page = tab.open(f"#/jobs/{job_id}")

    page.get_by_role("button", name="Copy as curl").click()
    expect(page.locator("#told")).to_contain_text("Copied")

    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith(f"curl -X POST {tab.base}/api/jobs -H 'Content-Type: application/json' -d '")
    assert """{"it'\\''s":"quoted"}""" in command


def test_a_job_that_is_not_there_is_told(tab: Tab) -> None:
    tab.expected += ["404", "400"]

    tab.open("#/jobs/0123456789abcdef01234567")
    expect(tab.page.get_by_role("alert")).to_contain_text("there is no job")
    tab.open("#/jobs/%3Cimg%20src=x%3E")
    expect(tab.page.get_by_role("alert")).to_contain_text("hexadecimal")


def test_a_job_that_waits_says_why_until_it_runs(tab: Tab, notes: Notes, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    holder = tab.jobyard.submit(notes.payload(until=str(go_on)), task="hold", priority=9)
    tab.jobyard.wait_for_job(holder, status="running")
    job_id = tab.jobyard.submit("waits", priority=9)
    page = tab.open(f"#/jobs/{job_id}")

    expect(page.get_by_role("region", name="Why it does not run yet")).to_contain_text("slots_busy")
    go_on.touch()

    expect(page.locator(".head .badge")).to_have_text("completed")
    expect(page.get_by_role("region", name="Why it does not run yet")).to_have_count(0)


def test_a_running_job_shows_its_progress_and_what_it_printed(tab: Tab, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    job_id = tab.jobyard.submit({"words": "reading the first row", "until": str(go_on)}, task="narrate")
    page = tab.open(f"#/jobs/{job_id}")

    expect(page.get_by_role("region", name="Progress")).to_contain_text("40 %, not quite half way")
    expect(page.get_by_role("region", name="Output")).to_contain_text("reading the first row")
    go_on.touch()

    expect(page.locator(".head .badge")).to_have_text("completed")
    expect(page.get_by_role("region", name="Progress")).to_have_count(0)
    expect(page.get_by_role("region", name="Output")).to_contain_text("reading the first row")
