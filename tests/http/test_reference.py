"""docs/http.md agrees with the OpenAPI document."""

from __future__ import annotations

from jobyard.api.http.routes import GATEWAY, ROUTES
from tests.reference.page import PAGE, text


def test_the_page_is_up_to_date_with_the_document() -> None:
    assert PAGE.read_text("utf-8") == text(), "run `make reference`"


def test_every_request_of_the_gateway_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")

    for route in ROUTES:
        if GATEWAY in route.kinds:
            assert f"## {route.method} {route.path.replace('<', '{').replace('>', '}')}\n" in page
