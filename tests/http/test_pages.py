"""The dashboard's page and files: who gets them, and with which headers. tests/system/dashboard tests what they do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from jobyard.api.views.pages import MEDIA_TYPES, POLICY, read_assets
from tests.http.conftest import Backend
from tests.http.test_jobs import error_of

FOLDER = Path(__file__).resolve().parents[2] / "api" / "dashboard"
FILES = sorted(path.name for path in FOLDER.iterdir())
TOKEN = "0123456789abcdef0123456789abcdef"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("accept", [BROWSER, "*/*", "text/*", None])
def test_a_client_that_accepts_html_gets_the_page(client: FlaskClient, accept: str | None) -> None:
    answer = client.get("/", headers={} if accept is None else {"Accept": accept})

    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    assert b"<title>Jobyard</title>" in answer.data


def test_a_client_that_wants_json_gets_a_json_error(client: FlaskClient) -> None:
    answer = client.get("/", headers={"Accept": "application/json"})

    assert error_of(answer)[:2] == (406, "not_acceptable")
    assert answer.content_type == "application/json"


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_served_with_its_type_and_security_headers(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/ui/{name}")

    assert (answer.status_code, answer.content_type) == (200, MEDIA_TYPES["." + name.rpartition(".")[2]])
    assert answer.data == (FOLDER / name).read_bytes()
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_the_content_security_policy_allows_only_our_own_files(client: FlaskClient) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy


def test_an_unchanged_file_is_not_sent_again(client: FlaskClient) -> None:
    first = client.get("/ui/app.js")

    again = client.get("/ui/app.js", headers={"If-None-Match": first.headers["ETag"]})
    other = client.get("/ui/app.js", headers={"If-None-Match": '"other"'})

    assert (again.status_code, again.data, other.status_code) == (304, b"", 200)
    assert again.headers["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize("path", ["/", "/ui/app.js"])
def test_head_gives_the_length_without_a_body(client: FlaskClient, path: str) -> None:
    answer = client.head(path)

    assert (answer.status_code, answer.data) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(client.get(path).data)


@pytest.mark.parametrize(
    "path", ["/ui/nothing.js", "/ui/", "/ui", "/ui/../guards.py", "/ui/..%2fguards.py", "/ui/app.js/more", "/ui/app"]
)
def test_a_missing_file_is_a_json_error(client: FlaskClient, path: str) -> None:
    assert error_of(client.get(path))[:2] == (404, "not_found")


@pytest.mark.parametrize("path", ["/", "/ui/app.js"])
def test_a_page_does_not_accept_post(client: FlaskClient, path: str) -> None:
    assert error_of(client.post(path))[:2] == (405, "method_not_allowed")
    assert error_of(client.get(f"{path}?a=b"))[:2] == (400, "unknown_field")


@pytest.mark.parametrize("path", ["/", "/ui/app.js", "/ui/base.css"])
def test_a_token_is_needed_for_data_only(tmp_path: Path, path: str) -> None:
    client = Backend(tmp_path, API_TOKEN=TOKEN).client()

    assert client.get(path).status_code == 200
    assert client.get("/stats").status_code == 401


@pytest.mark.parametrize("path", ["/ui/../stats", "//stats", "/ui/..%2fstats", "/.", "/ui/%2e%2e/stats"])
def test_no_spelling_of_a_path_bypasses_the_token(tmp_path: Path, path: str) -> None:
    answer = Backend(tmp_path, API_TOKEN=TOKEN).client().get(path)

    assert answer.status_code in (401, 404, 421)


@pytest.mark.parametrize("path", ["/", "/ui/app.js"])
def test_another_host_gets_no_page(client: FlaskClient, path: str) -> None:
    assert error_of(client.get(path, headers={"Host": "evil.example"}))[:2] == (421, "misdirected_host")


@pytest.mark.parametrize("kind", ["scheduler-8081", "queue-6000"])
def test_a_component_has_no_page(backend: Backend, kind: str) -> None:
    assert error_of(backend.client(kind).get("/", headers={"Accept": BROWSER}))[:2] == (404, "not_found")


def test_the_page_has_no_inline_code_and_loads_nothing_from_other_hosts() -> None:
    html = (FOLDER / "index.html").read_text("utf-8")

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
    assert re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL) == [""]
    assert {path.partition("ui/")[2] for path in re.findall(r'(?:src|href)="([^"#][^"]*)"', html)} <= set(FILES)


def test_no_script_turns_a_value_into_html() -> None:
    scripts = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.js")}

    risky = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|ContextualFragment"
    assert [name for name, text in scripts.items() if re.search(risky, text)] == []


def test_every_import_exists_and_every_file_is_used() -> None:
    html = (FOLDER / "index.html").read_text("utf-8")
    scripts = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.js"))

    imported = set(re.findall(r'from "\./([^"]+)"', scripts)) | set(re.findall(r'"ui/([^"]+)"', html))

    assert imported | {"index.html"} == set(FILES) == set(read_assets())


def test_the_files_stay_small() -> None:
    lengths = {name: len((FOLDER / name).read_text("utf-8").splitlines()) for name in FILES}

    assert [name for name, lines in lengths.items() if lines > 200] == []
