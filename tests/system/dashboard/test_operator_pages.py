"""The dashboard's pages for operators: limits, failures, queues, hooks, workers, the system; and a job's links and workflow."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.notes import Notes
from tests.support.waiting import wait_for
from tests.system.dashboard.conftest import Tab
from tests.system.dashboard.scripts import CONTRAST


def test_a_limit_is_made_changed_paused_resumed_and_deleted(tab: Tab) -> None:
    page = tab.open("#/limits")
    tab.expected.append("400")

    page.get_by_label("Name").fill("stripe")
    page.get_by_label("At most running").fill("0")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#fault-max_running")).to_contain_text("max_running")
    page.get_by_label("At most running").fill("2")
    page.get_by_role("button", name="Save").click()

    expect(page.locator("h1")).to_have_text("stripe")
    page.get_by_label("At most begun").fill("5")
    page.get_by_label("in seconds").fill("10")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".head .soft").first).to_have_text("at most 2 running, 5 begin in 10 s")
    page.get_by_role("button", name="Pause").click()
    page.get_by_label("Reason").fill("provider down")
    page.get_by_label("For").select_option("3600")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator("p.reasons")).to_contain_text("provider down")
    assert tab.jobyard.get("/api/limits/stripe").json["paused"]["until"] is not None
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".head .badge")).to_have_text("open")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete the limit").click()
    expect(page.locator("h1")).to_have_text("Limits")
    assert tab.jobyard.get("/api/limits/stripe").status == 404


def test_a_limit_shows_who_waits_in_which_partition_and_a_job_links_to_it(tab: Tab) -> None:
    tab.jobyard.ask("PUT", "/api/limits/customer", {"max_running": 1})
    tab.jobyard.ask("POST", "/api/limits/customer/pause", {"reason": "audit"})
    job_id = tab.jobyard.submit(limit="customer/7")
    page = tab.open(f"#/jobs/{job_id}")

    page.get_by_role("region", name="Why it does not run yet").get_by_role("link").click()

    expect(page.locator("h1")).to_have_text("customer")
    expect(page.get_by_role("region", name="Fullest partitions")).to_contain_text("7")
    tab.jobyard.ask("DELETE", "/api/limits/customer")
    tab.jobyard.wait_for_job(job_id)


def test_a_group_of_failures_is_retried_with_a_spread_and_then_deleted(tab: Tab, notes: Notes) -> None:
    job_ids = [tab.jobyard.submit(notes.payload(), task="fail", max_retries=0, queue="grouped") for _ in range(3)]
    for job_id in job_ids:
        tab.jobyard.wait_for_job(job_id, status="failed")
    page = tab.open("#/failures")
    row = page.locator("tbody tr").filter(has_text="not today")

    row.get_by_role("button", name="Retry").click()
    page.get_by_label("Due").select_option("3600")
    page.get_by_role("button", name="Retry them").click()
    expect(page.locator("#bulk-end")).to_contain_text("retried")
    page.get_by_role("button", name="Close").click()

    waiting = [job for job in map(tab.jobyard.job, job_ids) if job["status"] == "pending" and job["attempt"] == 1]
    assert len(waiting) >= 2, "they are spread over an hour"
    for job in waiting:
        tab.jobyard.ask("POST", f"/api/jobs/{job['job_id']}/run")
    for job_id in job_ids:
        wait_for(lambda job_id=job_id: tab.jobyard.job(job_id)["attempt"] == 2 and tab.jobyard.job(job_id)["status"] == "failed")
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete them").click()
    expect(page.locator("#bulk-end")).to_contain_text("deleted")
    assert [tab.jobyard.get(f"/api/jobs/{job_id}").status for job_id in job_ids] == [404, 404, 404]


def test_a_queue_is_paused_and_resumed_where_its_jobs_are_seen_to_wait(tab: Tab) -> None:
    tab.jobyard.ask("POST", "/api/limits/queue:letters/pause")
    job_id = tab.jobyard.submit(queue="letters")
    page = tab.open("#/queues")
    row = page.get_by_role("region", name="Queues").locator("tbody tr").filter(has_text="letters")

    expect(row).to_contain_text("paused")
    expect(row.locator("td").nth(2)).to_have_text("1")
    row.get_by_role("button", name="Resume").click()

    expect(row).to_contain_text("open")
    tab.jobyard.wait_for_job(job_id)
    row.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("paused")
    tab.jobyard.ask("DELETE", "/api/limits/queue:letters")


def test_a_hook_shows_its_deliveries_and_a_new_secret_once(tab: Tab) -> None:
    body = {"url": "http://127.0.0.1:9/hook", "events": ["job.failed"], "filter": {"queue": "nobody"}}
    made = tab.jobyard.ask("PUT", "/api/hooks/alerts", body).json
    page = tab.open("#/hooks")
    page.get_by_role("link", name="alerts").click()

    page.get_by_role("button", name="Test").click()
    expect(page.get_by_role("region", name="Deliveries").locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="New secret").click()
    page.get_by_role("button", name="Make a new secret").click()

    expect(page.locator("#secret")).to_contain_text("whsec_")
    assert page.locator("#secret").text_content() != made["secret"]
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete the hook").click()
    expect(page.locator("h1")).to_have_text("Hooks")
    assert tab.jobyard.get("/api/hooks/alerts").status == 404


def test_http_workers_are_shown_beside_ours(tab: Tab) -> None:
    tab.jobyard.ask("PUT", "/api/tasks/convert", {})
    tab.jobyard.ask("POST", "/api/leases", {"worker": "shell-1", "tasks": ["convert"]})
    page = tab.open("#/workers")

    expect(page.get_by_role("region", name="HTTP workers")).to_contain_text("shell-1")
    expect(page.get_by_role("region", name="Workers of this host")).to_contain_text("0 of 1 busy")
    tab.jobyard.ask("DELETE", "/api/tasks/convert")


def test_the_system_page_shows_every_process(tab: Tab) -> None:
    page = tab.open("#/system")

    names = page.get_by_role("region", name="Processes").locator("tbody td.name")
    expect(names.first).to_be_visible()
    assert set(names.all_text_contents()) == {row["name"] for row in tab.jobyard.stats()["processes"]}


def test_a_workflow_is_drawn_and_followed_to_its_end(tab: Tab) -> None:
    jobs = [
        {"ref": "first", "delay_s": 3600}, {"ref": "left", "after": ["first"]},
        {"ref": "right", "after": ["first"], "group": "both"}, {"ref": "join", "after": ["left", {"group": "both"}]},
    ]  # fmt: skip
    job_ids = tab.jobyard.ask("POST", "/api/jobs/batch", {"jobs": jobs}).json["job_ids"]
    page = tab.open(f"#/jobs/{job_ids[-1]}")
    nodes = page.get_by_role("region", name="Workflow").locator(".node")

    expect(nodes).to_have_count(5)
    expect(page.locator(".node[aria-current]")).to_contain_text("join")
    page.get_by_role("link", name="first, pending").click()
    page.get_by_role("button", name="Run now").click()

    expect(page.get_by_role("link", name="join, completed")).to_be_visible()


def test_a_job_runs_again_and_is_edited_and_submitted_anew(tab: Tab) -> None:
    job_id = tab.jobyard.submit({"big": 9007199254740993}, tags=["a"], priority=7, timeout_s=77)
    tab.jobyard.wait_for_job(job_id)
    page = tab.open(f"#/jobs/{job_id}")

    page.get_by_role("button", name="Run again").click()
    expect(page.locator("h1 + .id")).not_to_have_text(job_id)
    again = tab.jobyard.job(page.url.rpartition("/")[2])
    assert (again["payload"], again["tags"], again["timeout_s"]) == ({"big": 9007199254740993}, ["a"], 77)

    page.get_by_role("link", name="Edit and resubmit").click()
    expect(page.get_by_label("Payload")).to_have_value('{\n  "big": 9007199254740993\n}')
    page.get_by_label("Payload").fill('"edited"')
    page.get_by_role("button", name="Submit the job").click()
    expect(page.get_by_role("region", name="Result")).to_contain_text("edited")
    edited = tab.jobyard.job(page.url.rpartition("/")[2])
    assert (edited["priority"], edited["tags"], edited["timeout_s"]) == (7, ["a"], 77)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone_and_its_text_has_contrast(tab: Tab, scheme: str) -> None:
    ask = tab.jobyard.ask
    ask("PUT", f"/api/schedules/{'s' * 64}", {"cron": "0 2 * * *", "time_zone": "America/Argentina/Buenos_Aires", "job": {}})
    ask("PUT", f"/api/limits/{'l' * 64}", {"max_running": 2, "count": 5, "per_s": 10})
    ask("POST", f"/api/limits/queue:{'q' * 64}/pause", {"reason": "r" * 200})
    hook = {"url": "http://127.0.0.1:9/" + "u" * 200, "events": ["job.failed"], "filter": {"queue": "none"}}
    ask("PUT", f"/api/hooks/{'h' * 64}", hook)
    tab.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    tab.page.set_viewport_size({"width": 360, "height": 740})

    for address in (
        "#/queues", "#/schedules", f"#/schedules/{'s' * 64}", "#/schedule-form", "#/limits", f"#/limits/queue:{'q' * 64}",
        "#/failures", "#/hooks", f"#/hooks/{'h' * 64}", "#/workers", "#/system",
    ):  # fmt: skip
        page = tab.open(address)
        page.locator("main section, main form, main table, main .none").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 360, address
        assert page.evaluate(CONTRAST) == [], address

    for path in (f"schedules/{'s' * 64}", f"limits/{'l' * 64}", f"limits/queue:{'q' * 64}", f"hooks/{'h' * 64}"):
        assert ask("DELETE", f"/api/{path}").status == 204
