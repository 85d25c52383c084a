"""Reading what wrk reports."""

from __future__ import annotations

import json

import pytest

from bench.errors import BenchError
from bench.load import Load

COUNTS = {
    "requests": 200_000,
    "microseconds": 2_000_000,
    "p99_us": 1_500,
    "connect": 0,
    "read": 0,
    "write": 0,
    "timeout": 0,
    "status": 0,
}


def output(**counts: int) -> str:
    return f"Running 2s test\n  1 threads\n\n{json.dumps({**COUNTS, **counts})}\n"


def test_counts() -> None:
    assert Load.parse(output()) == Load(200_000, 2.0, 1.5, [])


@pytest.mark.parametrize(
    ("counts", "failures"),
    [
        ({"read": 3, "timeout": 1}, ["3 read errors", "1 timeout errors"]),
        ({"status": 7}, ["7 answers with status 400 or above"]),
        ({"requests": 0}, ["no request was answered"]),
    ],
)
def test_failures(counts: dict[str, int], failures: list[str]) -> None:
    assert Load.parse(output(**counts)).failures == failures


def test_no_result_says_what_wrk_said() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        Load.parse("unable to connect to 127.0.0.1:1\n")
