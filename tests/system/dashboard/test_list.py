"""The list of jobs: its filter, its pages, and the address that holds both."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.support.notes import Notes
from tests.support.waiting import wait_for
from tests.system.dashboard.conftest import Tab

ROWS = "#list tbody tr"


def fill(tab: Tab, queue: str, count: int) -> list[str]:
    """Jobs that wait, newest first."""
    lines = [{"queue": queue, "payload": f"number {number} of them", "delay_s": 3600} for number in range(count)]
    answer = tab.jobyard.ask("POST", "/api/jobs/batch", {"jobs": lines})
    job_ids: list[str] = answer.json["job_ids"]
    return job_ids[::-1]


def test_a_filter_stands_in_the_address_and_survives_a_reload(tab: Tab) -> None:
    fill(tab, "filtered", 3)
    page = tab.open("#/jobs")

    page.get_by_label("Queue").fill("filtered")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(ROWS)).to_have_count(3)
    page.get_by_label("Status").select_option("failed")
    expect(page.locator(".none")).to_have_text("No job matches.")
    page.reload()

    expect(page.get_by_label("Status")).to_have_value("failed")
    expect(page.get_by_label("Queue")).to_have_value("filtered")
    page.go_back()
    expect(page.locator(ROWS)).to_have_count(3)
    expect(page.get_by_label("Status")).to_have_value("")


def test_pages_follow_one_another_and_come_back(tab: Tab) -> None:
    job_ids = fill(tab, "paged", 60)
    page = tab.open("#/jobs?queue=paged")
    expect(page.locator(ROWS)).to_have_count(50)

    page.get_by_role("link", name="Older jobs").click()
    expect(page.locator(ROWS)).to_have_count(10)
    expect(page.locator(ROWS).first).to_contain_text(job_ids[50])
    expect(page.get_by_text("No older jobs")).to_be_visible()
    page.go_back()
    expect(page.locator(ROWS).first).to_contain_text(job_ids[0])
    page.go_forward()
    page.get_by_role("link", name="Newest jobs").click()

    expect(page.locator(ROWS).first).to_contain_text(job_ids[0])


def test_a_new_job_comes_up_by_itself_and_leads_to_its_page(tab: Tab) -> None:
    page = tab.open("#/jobs?queue=fresh")
    expect(page.locator(".none")).to_be_visible()

    (job_id,) = fill(tab, "fresh", 1)
    page.get_by_role("link", name=job_id).click()

    expect(page.locator(".head .id")).to_have_text(job_id)
    expect(page.locator("h1")).to_be_focused()


def test_jobs_are_found_by_text_and_by_time(tab: Tab) -> None:
    newest, _, oldest = fill(tab, "searched", 3)
    page = tab.open("#/jobs?queue=searched")
    expect(page.locator("#count")).to_have_text("3 jobs")

    page.get_by_label("Text in payload or error").fill("NUMBER 0 of")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator(ROWS)).to_contain_text(oldest)
    page.get_by_label("Text in payload or error").fill("")
    page.get_by_label("Created before").fill("2020-01-01T00:00")
    page.keyboard.press("Enter")

    expect(page.locator(".none")).to_have_text("No job matches.")
    assert "created_before=2020-01-01T" in page.url or "created_before=2019-12-31T" in page.url
    page.get_by_role("link", name="Clear").click()
    expect(page.locator(ROWS).filter(has_text=newest)).to_have_count(1)


def test_all_that_match_are_counted_and_cancelled_after_a_question(tab: Tab) -> None:
    fill(tab, "many", 450)
    page = tab.open("#/jobs?queue=many&status=pending")

    page.get_by_role("button", name="Cancel all that match").click()
    expect(page.locator("#bulk-count")).to_have_text("450 jobs match: status pending, queue many.")
    page.get_by_role("button", name="Keep them").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert tab.jobyard.get("/api/jobs/count?queue=many&status=pending").json["count"] == 450
    page.get_by_role("button", name="Cancel all that match").click()
    page.get_by_role("button", name="Cancel them").click()

    expect(page.locator("#bulk-end")).to_have_text("450 jobs cancelled, 0 left as they were.")
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".none")).to_have_text("No job matches.")
    assert tab.jobyard.get("/api/jobs/count?queue=many&status=cancelled").json["count"] == 450


def test_what_is_done_to_many_can_be_stopped(tab: Tab) -> None:
    fill(tab, "stopped", 600)
    page = tab.open("#/jobs?queue=stopped")
    steps: list[str] = []
    page.route("**/api/jobs/cancel", lambda route: steps.append("asked") or (route.continue_() if len(steps) == 1 else None))

    page.get_by_role("button", name="Cancel all that match").click()
    page.get_by_role("button", name="Cancel them").click()
    expect(page.get_by_text("200 of 600")).to_be_visible()
    page.get_by_role("button", name="Stop").click()

    expect(page.locator("#told")).to_have_text("Stopped: 200 jobs cancelled, 0 left as they were.")
    assert tab.jobyard.get("/api/jobs/count?queue=stopped&status=pending").json["count"] == 400


def test_failed_jobs_are_retried_together(tab: Tab, notes: Notes) -> None:
    job_ids = [tab.jobyard.submit(notes.payload(), task="give_up", queue="together") for _ in range(3)]
    for job_id in job_ids:
        tab.jobyard.wait_for_job(job_id, status="failed")
    page = tab.open("#/jobs?queue=together&status=failed&text=no+use")
    expect(page.locator(ROWS)).to_have_count(3)

    page.get_by_role("button", name="Retry all that match").press("Enter")
    page.get_by_role("button", name="Retry them").press("Enter")
    expect(page.locator("#bulk-end")).to_have_text("3 jobs retried, 0 left as they were.")

    for job_id in job_ids:
        wait_for(lambda job_id=job_id: tab.jobyard.job(job_id)["attempt"] == 2, told="its second attempt")
