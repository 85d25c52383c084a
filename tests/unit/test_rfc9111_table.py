"""docs/reference/rfc9111.md is whole: every keyword of the RFC has its row, every row its tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "rfc9111.md"

# The keywords of BCP 14 in each section of RFC 9111, in order; 1.1, which defines them, aside.
KEYWORDS = {
    "1": "MAY",
    "1.3": "MUST",
    "2": "OPTIONAL",
    "3": "MUST NOT",
    "3.1": "MUST, MAY, MAY, MUST NOT, MAY, MUST NOT",
    "3.2": "MUST, MAY, SHOULD, MAY",
    "3.3": "MAY, MAY, MUST NOT, MAY, MUST NOT, MUST NOT",
    "3.4": "MAY, MUST",
    "3.5": "MUST NOT",
    "4": "MUST NOT, MUST, MUST, MUST, MUST NOT",
    "4.1": "MUST NOT, MAY, SHOULD",
    "4.2": "SHOULD, MUST, MUST NOT, SHOULD",
    "4.2.2": "MAY, MUST NOT",
    "4.2.3": "MUST, MAY",
    "4.2.4": "MUST NOT, MUST NOT",
    "4.3.2": "SHOULD, MUST NOT, MAY, MUST NOT, MUST, SHOULD",
    "4.3.3": "MUST, MAY",
    "4.3.4": "MUST NOT, MUST",
    "4.3.5": "SHOULD, SHOULD, SHOULD, MUST",
    "4.4": "MUST, MAY, MUST NOT",
    "5.1": "SHOULD, SHOULD",
    "5.2": "MUST",
    "5.2.1": "MAY",
    "5.2.1.1": "MUST NOT",
    "5.2.1.2": "MUST NOT",
    "5.2.1.3": "MUST NOT",
    "5.2.1.5": "MUST NOT, MUST NOT, MUST NOT, MUST",
    "5.2.1.7": "SHOULD",
    "5.2.2": "MUST",
    "5.2.2.1": "MUST NOT",
    "5.2.2.2": "MUST NOT, MUST NOT, MUST, SHOULD",
    "5.2.2.3": "SHOULD, SHOULD",
    "5.2.2.4": "MUST NOT, MAY, SHOULD NOT",
    "5.2.2.5": "MUST NOT, MUST NOT, MUST NOT, MUST NOT, MUST",
    "5.2.2.6": "MUST NOT",
    "5.2.2.7": "MUST NOT, MAY, MUST NOT, MAY, SHOULD NOT",
    "5.2.2.8": "MUST NOT",
    "5.2.2.9": "MAY",
    "5.2.2.10": "MUST NOT, MUST NOT",
    "5.2.3": "MUST",
    "5.2.4": "MUST",
    "5.3": "MUST, MUST, MUST, MUST NOT",
}


class Row(NamedTuple):
    number: str
    keywords: tuple[str, ...]
    asked: str
    done: str
    tests: tuple[str, ...]

    @property
    def section(self) -> str:
        return self.number.partition("-")[0]


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text().splitlines():
        if not re.match(r"\| \d", line):
            continue
        number, level, asked, done, shown = (cell.strip() for cell in line.strip("|").split("|"))
        keywords = tuple(word.strip() for word in level.split(",") if word.strip())
        found.append(Row(number, keywords, asked, done, tuple(re.findall("`([^`]+)`", shown))))
    return found


@cache
def names(path: Path) -> frozenset[str]:
    """The test functions of a file."""
    functions = (n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


def test_every_keyword_has_its_row() -> None:
    listed: dict[str, list[str]] = {}
    for row in rows():
        listed.setdefault(row.section, []).extend(row.keywords)
    assert {section: ", ".join(words) for section, words in listed.items()} == KEYWORDS


def test_every_row_stands_in_its_section() -> None:
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.split()[1]
        elif re.match(r"\| \d", line):
            assert line.startswith(f"| {section}-"), line


def test_every_row_is_there_once() -> None:
    numbers = [row.number for row in rows()]
    assert len(numbers) == len(set(numbers))


def test_every_row_is_shown() -> None:
    for row in rows():
        assert row.asked and row.done, row.number
        assert row.tests or row.done.startswith(("not applicable", "not used")), row.number
        assert row.keywords or row.number[-1].isalpha(), row.number


def test_the_tests_are_there() -> None:
    for row in rows():
        for test in row.tests:
            path, _, name = test.partition("::")
            assert (TESTS / path).exists() and name in names(TESTS / path), f"{row.number}: {test}"
