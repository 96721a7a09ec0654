"""The dashboard, the client and links behind a proxy that serves Jobyard under a prefix of the path."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from jobyard import Client
from tests.support.system import Jobyard
from tests.system.dashboard.conftest import Tab
from tests.system.dashboard.prefix_proxy import serve_under

PREFIX = "/tools/jobyard"


@pytest.fixture
def url(one_slot: Jobyard) -> Iterator[str]:
    with serve_under(PREFIX, one_slot.port()) as url:
        yield url


def test_the_dashboard_works_and_asks_nothing_outside_the_prefix(context: BrowserContext, one_slot: Jobyard, url: str) -> None:
    tab = Tab(context, one_slot)
    tab.base = url

    page = tab.open("#/submit")
    page.get_by_label("Payload").fill('"below a prefix"')
    page.get_by_role("button", name="Submit").click()
    expect(page.locator(".head .badge")).to_have_text("completed")
    tab.open("#/jobs")
    expect(page.locator("tbody tr").first).to_contain_text("echo")
    for address in ("#/", "#/queues", "#/schedules", "#/schedule-form", "#/limits", "#/failures", "#/hooks", "#/system"):
        tab.open(address)
        page.locator("main section, main form, main table, main .none").first.wait_for()

    assert [asked for asked in tab.asked if not asked.startswith((f"{url}/", "data:"))] == []
    tab.check()


def test_links_and_the_client_lead_on_below_the_prefix(one_slot: Jobyard, url: str) -> None:
    with Client(url) as client:
        job_ids = [client.submit(payload=number, queue="prefixed") for number in range(5)]

        assert [job.job_id for job in client.iter_jobs(queue="prefixed", page=2)] == job_ids[::-1]
    first = httpx.get(f"{url}/jobs?queue=prefixed&limit=2")
    second = httpx.get(str(httpx.URL(f"{url}/jobs").join(first.links["next"]["url"])))

    assert [job["job_id"] for job in (*first.json(), *second.json())] == job_ids[:0:-1]


def test_without_the_slash_the_page_is_found_too(url: str) -> None:
    answer = httpx.get(url, headers={"Accept": "text/html"}, follow_redirects=True)

    assert answer.status_code == 200 and "<title>Jobyard</title>" in answer.text
