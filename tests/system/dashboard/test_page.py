"""The page itself: foreign text, the keyboard, a narrow screen, both themes, the token, the service going away."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.support.notes import Notes
from tests.support.system import Jobyard
from tests.system.dashboard.conftest import TOKEN, Tab

EVIL = '<img src=x onerror="document.title=`broken in`"><script>document.title="broken in"</script>"\'><b>bold</b>'
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.documentElement);
  const value = (name) => light(style.getPropertyValue(`--${name}`));
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const texts = ["ink", "soft", "accent", "pending", "claimed", "queued", "running", "completed", "failed", "cancelled"];
  const pairs = texts.flatMap((text) => ["ground", "panel", "faint"].map((ground) => [text, ground]));
  pairs.push(["on-accent", "accent"], ["failed", "bad-wash"], ["ink", "wash"], ["soft", "wash"], ["accent", "wash"]);
  return pairs.map(([a, b]) => [a, b, ratio(value(a), value(b))]).filter(([, , found]) => found < 4.5);
}"""


def test_the_overview_shows_jobs_workers_and_processes(tab: Tab) -> None:
    page = tab.open()

    expect(page.get_by_role("list", name="Jobs by status").get_by_role("listitem")).to_have_count(7)
    expect(page.get_by_role("region", name="Workers")).to_contain_text("of 1 busy")
    processes = page.get_by_role("region", name="Processes").locator("tbody tr")
    expect(processes).to_have_count(len(tab.jobyard.processes()))
    expect(processes.filter(has_text="queue-")).to_contain_text("well")
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


def test_the_keyboard_alone_is_enough(tab: Tab) -> None:
    page = tab.open("#/jobs")

    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Retry all that match")).to_be_focused()
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


def test_a_dialog_keeps_the_focus_and_gives_it_back(tab: Tab) -> None:
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


def test_a_hidden_tab_asks_for_nothing(tab: Tab) -> None:
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


def test_a_token_is_asked_for_checked_and_forgotten(guarded_tab: Tab) -> None:
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


def test_a_service_that_goes_away_is_told_and_followed_when_it_is_back(guarded_tab: Tab, guarded: Jobyard) -> None:
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
    expect(page.locator("#told")).to_have_text("The service answers again.")
    expect(page.locator("#away")).to_be_hidden()
    assert guarded.guard_pid != old


def test_a_page_that_nobody_knows_is_told(tab: Tab, context: BrowserContext) -> None:
    page = tab.open("#/nothing?x=1")

    expect(page.locator("h1")).to_have_text("There is no such page")
    page.get_by_role("link", name="To the overview").click()
    expect(page.locator("h1")).to_have_text("Overview")


def test_the_last_hour_is_drawn_and_read_minute_by_minute(tab: Tab) -> None:
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
