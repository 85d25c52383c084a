"""What is told of the figures of the benchmark of purges."""

from __future__ import annotations

from bench.purge import summary


def test_figures_of_rounds_become_medians() -> None:
    assert summary({"few: ms to the receipt": [3.0, 1.0, 2.0]}) == {"few: ms to the receipt": 2.0}


def test_of_waits_the_longest_is_told_too() -> None:
    waits = [float(number) for number in range(100, 0, -1)]
    assert summary({"few: ms a hit, before": waits}) == {
        "few: ms a hit, before: p50": 50.5,
        "few: ms a hit, before: p99": 99.0,
        "few: ms a hit, before: longest": 100.0,
    }
