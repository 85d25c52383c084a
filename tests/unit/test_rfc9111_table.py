"""docs/reference/rfc9111.md is whole: every keyword of the RFC has its row, every row its tests."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "rfc9111.md"

# Keywords of BCP 14 a section of RFC 9111 has, section 1.1 aside, which defines them.
KEYWORDS = {
    "1": 1,
    "1.3": 1,
    "2": 1,
    "3": 1,
    "3.1": 6,
    "3.2": 4,
    "3.3": 5,
    "3.4": 2,
    "3.5": 1,
    "4": 5,
    "4.1": 3,
    "4.2": 4,
    "4.2.2": 2,
    "4.2.3": 2,
    "4.2.4": 2,
    "4.3.2": 6,
    "4.3.3": 2,
    "4.3.4": 2,
    "4.3.5": 4,
    "4.4": 3,
    "5.1": 2,
    "5.2": 1,
    "5.2.1": 1,
    "5.2.1.1": 1,
    "5.2.1.2": 1,
    "5.2.1.3": 1,
    "5.2.1.5": 4,
    "5.2.1.7": 1,
    "5.2.2": 1,
    "5.2.2.1": 1,
    "5.2.2.2": 4,
    "5.2.2.3": 2,
    "5.2.2.4": 3,
    "5.2.2.5": 5,
    "5.2.2.6": 1,
    "5.2.2.7": 5,
    "5.2.2.8": 1,
    "5.2.2.9": 1,
    "5.2.2.10": 2,
    "5.2.3": 1,
    "5.2.4": 1,
    "5.3": 4,
}


class Row(NamedTuple):
    number: str
    keywords: tuple[str, ...]
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
        number, level, _, done, shown = (cell.strip() for cell in line.strip("|").split("|"))
        keywords = tuple(word.strip() for word in level.split(",") if word.strip())
        found.append(Row(number, keywords, done, tuple(re.findall("`([^`]+)`", shown))))
    return found


@cache
def names(path: Path) -> frozenset[str]:
    """The test functions of a file."""
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_keyword_has_its_row() -> None:
    counted: dict[str, int] = {}
    for row in rows():
        counted[row.section] = counted.get(row.section, 0) + len(row.keywords)
        assert set(row.keywords) <= {
            *("MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "OPTIONAL"),
        }, row.number
    assert counted == KEYWORDS


def test_every_row_is_there_once() -> None:
    numbers = [row.number for row in rows()]
    assert len(numbers) == len(set(numbers))


def test_every_row_is_shown() -> None:
    for row in rows():
        assert row.tests or row.done.startswith("not applicable"), row.number
        assert row.keywords or row.number[-1].isalpha(), row.number


def test_the_tests_are_there() -> None:
    for row in rows():
        for test in row.tests:
            path, _, name = test.partition("::")
            assert (TESTS / path).exists() and name in names(TESTS / path), f"{row.number}: {test}"
