"""The generated reference of settings."""

from __future__ import annotations

from scripts.settings_reference import PAGE, reference


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run make docs"
