"""What of a record is drawn, and how it suits its reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.balancers import STRATEGIES, balancers
from bench.plot_balancing import COLOURS, DARK, INK, groups, newest, with_dark_theme

LATENCY = {"p50": 1, "p95": 2, "p99": 3, "p99.9": 4}
RECORD = {
    "runs": [
        {
            "scenario": scenario,
            "proxy": each.proxy,
            "method": each.method,
            "shares": [0.25] * 4,
            "latency_ms": LATENCY,
        }
        for scenario in ("equal", "slow", "weights")
        for each in balancers(scenario == "weights")
    ]
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_can_be_drawn(strategy: str) -> None:
    drawn = groups(RECORD, strategy)
    assert list(drawn)[-1] == "slow"
    for rows in drawn.values():
        assert rows[0].method == strategy
        assert {row.proxy for row in rows} <= COLOURS.keys()


def test_weights_are_shown_where_a_strategy_is_about_them() -> None:
    assert list(groups(RECORD, "weighted-random")) == ["weights", "slow"]
    assert list(groups(RECORD, "random")) == ["equal", "slow"]


def test_the_newest_record(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"run bench/balancing\.py --record first"):
        newest(tmp_path)
    for date in ("2030-01-05", "2030-01-09", "2030-01-07"):
        (tmp_path / f"balancing-{date}-machine.json").write_text("{}")
    assert newest(tmp_path).name == "balancing-2030-01-09-machine.json"


def test_dark_colours_are_for_readers_in_the_dark() -> None:
    svg = f'<?xml version="1.0"?>\n<svg width="1">\n<text style="fill: {INK}">p99</text></svg>'
    themed = with_dark_theme(svg)
    assert themed.startswith('<?xml version="1.0"?>\n<svg width="1">\n <style>@media ')
    assert f'[style*="fill: {INK}"]{{fill:{DARK[INK]}!important}}' in themed
    assert themed.endswith(svg[svg.index("<text") :])
