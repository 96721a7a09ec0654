"""The dashboard as people use it: jobs, their list, the page itself. One file, so that all tests share one browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.notes import Notes
from tests.support.system import Jobyard
from tests.support.waiting import wait_for
from tests.system.dashboard.conftest import TOKEN, Tab
from tests.system.dashboard.scripts import CONTRAST, HIDE

ROWS = "#list tbody tr"
EVIL = '<img src=x onerror="document.title=`broken in`"><script>document.title="broken in"</script>"\'><b>bold</b>'

# ---- a job


def submit(page: Page, **fields: str) -> None:
    """Fill in the form and send it."""
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
    expect(page.locator("#notice")).to_contain_text("accepted")


def test_the_form_offers_the_registered_tasks(tab: Tab) -> None:
    page = tab.open("#/submit")

    expect(page.locator("#tasks option[value=echo]")).to_have_count(1)
    expect(page.locator("#tasks option[value=hold]")).to_have_count(1)


def test_the_form_has_a_field_for_each_parameter_of_a_task(tab: Tab) -> None:
    page = tab.open("#/submit")
    expect(page.locator("#tasks option[value=measure]")).to_have_count(1)

    submit(page, Task="measure")
    expect(page.locator(".head .badge")).to_have_text("failed")
    expect(page.get_by_role("region", name="Error")).to_contain_text("path: missing; width: missing")

    page = tab.open("#/submit")
    expect(page.locator("#tasks option[value=measure]")).to_have_count(1)
    page.get_by_label("Task").fill("measure")
    expect(page.locator("textarea[name=payload]")).to_have_count(0)
    page.locator("[name='argument.path']").fill('a "b".png')
    page.locator("[name='argument.width']").fill("9007199254740993")
    page.locator("[name='argument.unit']").select_option('"cm"')
    page.get_by_role("button", name="Submit the job").click()

    expect(page.locator(".head .badge")).to_have_text("completed")
    job = tab.jobyard.job(page.url.rpartition("/")[2])
    assert job["payload"] == {"path": 'a "b".png', "width": 9007199254740993, "unit": "cm"}
    assert (job["queue"], job["priority"]) == ("measures", 9)


def test_a_large_number_keeps_all_digits(tab: Tab) -> None:
    page = tab.open("#/submit")

    submit(page, Payload='{"big": 9007199254740993, "small": 1.5}')

    expect(page.locator(".head .badge")).to_have_text("completed")
    expect(page.get_by_role("region", name="Result")).to_contain_text("9007199254740993")
    job_id = page.url.rpartition("/")[2]
    assert tab.jobyard.job(job_id)["payload"] == {"big": 9007199254740993, "small": 1.5}


def test_an_invalid_field_is_marked_and_nothing_is_sent(tab: Tab) -> None:
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


def test_a_running_job_is_cancelled_after_confirmation(tab: Tab, notes: Notes, tmp_path: Path) -> None:
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


def test_a_job_is_copied_as_a_curl_command(tab: Tab) -> None:
    job_id = tab.jobyard.submit({"it's": "quoted"}, delay_s=3600)
    page = tab.open(f"#/jobs/{job_id}")

    page.get_by_role("button", name="Copy as curl").click()
    expect(page.locator("#notice")).to_contain_text("Copied")

    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith(f"curl -X POST {tab.base}/api/jobs -H 'Content-Type: application/json' -d '")
    assert """{"it'\\''s":"quoted"}""" in command


def test_an_unknown_job_is_reported(tab: Tab) -> None:
    tab.expected += ["404", "400"]

    tab.open("#/jobs/0123456789abcdef01234567")
    expect(tab.page.get_by_role("alert")).to_contain_text("there is no job")
    tab.open("#/jobs/%3Cimg%20src=x%3E")
    expect(tab.page.get_by_role("alert")).to_contain_text("hexadecimal")


def test_a_waiting_job_shows_why_until_it_runs(tab: Tab, notes: Notes, tmp_path: Path) -> None:
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


# ---- the list


def fill(tab: Tab, queue: str, count: int) -> list[str]:
    """Submit jobs that are due later; their ids, newest first."""
    lines = [{"queue": queue, "payload": f"number {number} of them", "delay_s": 3600} for number in range(count)]
    answer = tab.jobyard.ask("POST", "/api/jobs/batch", {"jobs": lines})
    job_ids: list[str] = answer.json["job_ids"]
    return job_ids[::-1]


def test_a_filter_is_part_of_the_address_and_survives_a_reload(tab: Tab) -> None:
    fill(tab, "filtered", 3)
    page = tab.open("#/jobs")

    page.get_by_label("Queue").fill("filtered")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(ROWS)).to_have_count(3)
    page.get_by_label("Status").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".none")).to_have_text("No job matches.")
    page.reload()

    expect(page.get_by_label("Status")).to_have_value("failed")
    expect(page.get_by_label("Queue")).to_have_value("filtered")
    page.go_back()
    expect(page.locator(ROWS)).to_have_count(3)
    expect(page.get_by_label("Status")).to_have_value("")


def test_the_list_pages_forwards_and_back(tab: Tab) -> None:
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


def test_a_new_job_appears_by_itself_and_links_to_its_page(tab: Tab) -> None:
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


def test_matching_jobs_are_counted_and_cancelled_after_confirmation(tab: Tab) -> None:
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


def test_a_change_of_many_jobs_can_be_stopped(tab: Tab) -> None:
    fill(tab, "stopped", 600)
    page = tab.open("#/jobs?queue=stopped")
    steps: list[str] = []
    page.route("**/api/jobs/cancel", lambda route: steps.append("asked") or (route.continue_() if len(steps) == 1 else None))

    page.get_by_role("button", name="Cancel all that match").click()
    page.get_by_role("button", name="Cancel them").click()
    expect(page.get_by_text("200 of 600")).to_be_visible()
    page.get_by_role("button", name="Stop").click()

    expect(page.locator("#notice")).to_have_text("Stopped: 200 jobs cancelled, 0 left as they were.")
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


def test_jobs_are_found_by_their_tags_and_deleted_together(tab: Tab) -> None:
    kept = tab.jobyard.submit(1, tags=["dash:a"])
    both = [tab.jobyard.submit(number, tags=["dash:a", "dash:b"]) for number in range(2)]
    for job_id in (kept, *both):
        tab.jobyard.wait_for_job(job_id)
    page = tab.open("#/jobs")

    page.get_by_label("Tags").fill("dash:a  dash:b")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(ROWS)).to_have_count(2)
    page.get_by_role("button", name="Delete all that match").press("Enter")
    page.get_by_role("button", name="Delete them").press("Enter")

    expect(page.locator("#bulk-end")).to_have_text("2 jobs deleted, 0 left as they were.")
    assert [tab.jobyard.get(f"/api/jobs/{job_id}").status for job_id in (kept, *both)] == [200, 404, 404]


def test_a_job_is_made_due_now_and_deleted_when_it_has_ended(tab: Tab) -> None:
    job_id = tab.jobyard.submit(1, delay_s=600, tags=["dash:c"])
    page = tab.open(f"#/jobs/{job_id}")
    expect(page.get_by_role("link", name="dash:c")).to_be_visible()

    page.get_by_role("button", name="Run now").press("Enter")
    expect(page.locator(".head .badge")).to_have_text("completed")
    page.get_by_role("button", name="Delete").press("Enter")
    page.get_by_role("button", name="Delete the job").press("Enter")

    expect(page.locator("#notice")).to_have_text("The job is deleted.")
    assert tab.jobyard.get(f"/api/jobs/{job_id}").status == 404


def test_failures_lead_to_their_jobs(tab: Tab, notes: Notes) -> None:
    job_ids = [tab.jobyard.submit(notes.payload(), task="give_up", queue="failures") for _ in range(2)]
    for job_id in job_ids:
        tab.jobyard.wait_for_job(job_id, status="failed")
    page = tab.open("#/failures")

    page.get_by_role("link", name="give_up").first.press("Enter")

    expect(page.get_by_label("Status")).to_have_value("failed")
    expect(page.get_by_label("Task")).to_have_value("give_up")
    expect(page.locator(ROWS).nth(1)).to_be_visible()


# ---- the page itself


def test_the_overview_shows_jobs_workers_and_processes(tab: Tab) -> None:
    page = tab.open()

    expect(page.get_by_role("list", name="Jobs by status").get_by_role("listitem")).to_have_count(8)
    expect(page.get_by_role("region", name="Workers")).to_contain_text("of 1 busy")
    processes = page.get_by_role("region", name="Processes").locator("tbody tr")
    expect(processes).to_have_count(len(tab.jobyard.processes()))
    expect(processes.filter(has_text="queue-")).to_contain_text("healthy")
    expect(page.locator("#live")).to_have_text("Live")


def test_foreign_text_stays_text(tab: Tab, notes: Notes) -> None:
    job_id = tab.jobyard.submit(EVIL, task="echo", queue="foreign", idempotency_key=EVIL)
    tab.jobyard.wait_for_job(job_id)
    bad = tab.jobyard.submit({"notes": notes.payload()["notes"], "words": EVIL}, task="complain", queue="foreign", max_retries=0)
    tab.jobyard.wait_for_job(bad, status="failed")

    for address in ("#/jobs?queue=foreign", f"#/jobs/{job_id}", f"#/jobs/{bad}"):
        page = tab.open(address)
        expect(page.locator("main")).to_contain_text("<img src=x")
        if address.endswith(bad):
            expect(page.get_by_role("region", name="Output")).to_contain_text(EVIL)
        assert page.locator("main img, main script, main b b").count() == 0
        assert "broken in" not in page.title()


def test_the_keyboard_alone_is_sufficient(tab: Tab) -> None:
    page = tab.open("#/jobs")

    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Retry all that match")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Status")).to_be_focused()

    page.get_by_role("link", name="Submit").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_be_focused()
    page.get_by_label("Task").focus()
    page.keyboard.press("Enter")

    expect(page.locator(".head .badge")).to_have_text("completed")


def test_a_dialog_keeps_the_focus_and_returns_it(tab: Tab) -> None:
    job_id = tab.jobyard.submit(delay_s=3600)
    page = tab.open(f"#/jobs/{job_id}")

    page.get_by_role("button", name="Cancel").press("Enter")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")

    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    assert tab.jobyard.job(job_id)["status"] == "pending"


def test_a_narrow_screen_is_never_scrolled_sideways(tab: Tab) -> None:
    long = {"word": "x" * 300, "list": list(range(200))}
    job_id = tab.jobyard.submit(long, queue="q" * 64, idempotency_key="k" * 255)
    tab.jobyard.wait_for_job(job_id)
    tab.page.set_viewport_size({"width": 360, "height": 740})

    for address in ("#/", "#/jobs", f"#/jobs/{job_id}", "#/submit"):
        page = tab.open(address)
        page.locator("main section, main form").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 360, address


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_text_has_contrast_in_both_themes(tab: Tab, scheme: str) -> None:
    tab.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page = tab.open()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert page.evaluate(CONTRAST) == []

    page.get_by_role("button", name="Theme").click()
    if scheme == "light":
        page.get_by_role("button", name="Theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    assert page.evaluate(CONTRAST) == []

    page.reload()
    expect(page.get_by_role("button", name="Theme")).to_have_text("Theme: dark" if scheme == "light" else "Theme: light")


def test_a_hidden_tab_sends_no_requests(tab: Tab) -> None:
    page = tab.open()
    expect(page.locator("#live")).to_have_text("Live")

    page.evaluate(HIDE, True)
    expect(page.locator("#live")).to_have_text("Paused")
    before = len(tab.asked)
    page.wait_for_timeout(2500)
    assert len(tab.asked) == before

    with page.expect_request("**/stats"):
        page.evaluate(HIDE, False)
    expect(page.locator("#live")).to_have_text("Live")


def test_a_token_is_requested_checked_and_forgotten(guarded_tab: Tab) -> None:
    page = guarded_tab.open("#/jobs")
    expect(page.locator("h1")).to_have_text("Sign in")

    page.get_by_label("Token").fill("not-the-token-but-just-as-long-1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("That is not the token.")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Jobs")
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 1]
    page.reload()
    expect(page.locator("h1")).to_have_text("Jobs")
    page.get_by_role("button", name="Sign out").click()

    expect(page.locator("h1")).to_have_text("Sign in")
    assert page.evaluate("sessionStorage.length") == 0
    assert not any(TOKEN in url for url in guarded_tab.asked)


def test_an_unavailable_service_is_reported_until_it_is_back(guarded_tab: Tab, guarded: Jobyard) -> None:
    guarded_tab.expected.append("ERR_CONNECTION")
    page = guarded_tab.open()
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Overview")
    old = guarded.guard_pid

    guarded.stop()
    expect(page.locator("#away")).to_contain_text("Jobyard is away: it cannot be reached")
    expect(page.locator("#live")).to_have_text("Away")
    page.get_by_role("button", name="Try now").click()
    guarded.start()
    page.evaluate("document.getElementById('try-now').click()")  # it may have been hidden again already

    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#notice")).to_have_text("The service answers again.")
    expect(page.locator("#away")).to_be_hidden()
    assert guarded.guard_pid != old


def test_an_unknown_page_is_reported(tab: Tab, context: BrowserContext) -> None:
    page = tab.open("#/nothing?x=1")

    expect(page.locator("h1")).to_have_text("There is no such page")
    page.get_by_role("link", name="To the overview").click()
    expect(page.locator("h1")).to_have_text("Overview")


def test_the_last_hour_is_drawn_and_can_be_read_by_minute(tab: Tab) -> None:
    tab.jobyard.wait_for_job(tab.jobyard.submit())
    page = tab.open()
    hour = page.get_by_role("region", name="The last hour")
    accepted = page.get_by_role("slider", name="Accepted, by minute")

    expect(hour.locator("figure")).to_have_count(6)
    expect(accepted.locator("rect.accent")).not_to_have_count(0)
    assert page.locator(".plot svg").first.evaluate("svg => svg.getBoundingClientRect().width") > 300
    accepted.focus()
    page.keyboard.press("End")
    expect(accepted).to_have_attribute("aria-valuenow", "59")
    expect(accepted).to_have_attribute("aria-valuetext", re.compile(r"^\d\d:\d\d: [0-9,]+ accepted$"))
    page.keyboard.press("ArrowLeft")
    expect(accepted).to_have_attribute("aria-valuenow", "58")
    page.keyboard.press("Escape")
    expect(hour.locator(".picked")).to_have_count(0)
    page.get_by_role("slider", name="Run time, by minute").hover()

    expect(hour.locator(".picked")).to_have_count(5)
