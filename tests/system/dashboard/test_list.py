"""The list of jobs: its filter, its pages, and the address that holds both."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.system.dashboard.conftest import Tab

ROWS = "#list tbody tr"


def fill(tab: Tab, queue: str, count: int) -> list[str]:
    """Jobs that wait, newest first."""
    lines = [{"queue": queue, "payload": {"number": number}, "delay_s": 3600} for number in range(count)]
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
