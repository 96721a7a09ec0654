"""`make reference`: writes the page."""

from __future__ import annotations

from tests.reference.page import PAGE, text

if __name__ == "__main__":
    PAGE.write_text(text(), "utf-8")
