"""The generated reference of settings, and the schema for editors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import pytest

from scripts.settings_reference import PAGE, SCHEMA, reference, schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run make docs"


def test_the_schema_is_current() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema(), "run make docs"


EXAMPLES = sorted((PAGE.parents[2] / "examples").glob("*.toml"))
WRONG = (
    "memry = 1",
    "port = true",
    "workers = []",
    "origins = []",
    "[origins.a]\nkeepalive = 1",
    "[[routes]]\nttl = [{ stat = 404 }]",
    "[[routes]]\nheader = { X-A = 1 }",
)


def faults(text: str) -> list[str]:
    """What an editor would mark."""
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    return [error.message for error in validator.iter_errors(tomllib.loads(text))]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_editor_finds_nothing_wrong_with_the_examples(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", WRONG)
def test_an_editor_finds_what_is_wrong(text: str) -> None:
    assert len(faults(text)) == 1
