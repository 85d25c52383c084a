"""The generated reference of settings, and the schema for editors."""

from __future__ import annotations

from scripts.settings_reference import PAGE, SCHEMA, reference, schema


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run make docs"


def test_the_schema_is_current() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema(), "run make docs"
