"""Draws what balancing.py has recorded: one picture a strategy, and one of all.

    python bench/plot_balancing.py [RECORD]

Without RECORD the newest of bench/results/balancing-*.json. Needs matplotlib
(requirements-bench.txt). The pictures are docs/reference/plots/*.svg.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.balancers import HAPROXY, NGINX, PROXIES, STRATEGIES, like  # noqa: E402
from bench.results import OURS  # noqa: E402

RESULTS = ROOT / "bench" / "results"
PLOTS = ROOT / "docs" / "reference" / "plots"
COLOURS = {OURS: "#2f81f7", HAPROXY: "#db6d28", NGINX: "#2da44e"}
INK, MUTED, LINES, PAPER = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
DARK = {INK: "#f0f6fc", MUTED: "#9198a1", LINES: "#3d444d", PAPER: "#0d1117"}
TITLES = {
    "slow": "one backend ten times slower",
    "equal": "all backends equal, 75% busy",
    "weights": "weights 5 : 3 : 1 : 1",
}
LONGEST = 200  # milliseconds on the axis, unless somebody waited longer


@dataclass(frozen=True)
class Row:
    """One balancer in one scenario."""

    proxy: str
    method: str
    shares: Sequence[float]
    latency_ms: Mapping[str, float]


def newest(directory: Path) -> Path:
    """The last record. Raises LookupError."""
    found = sorted(directory.glob("balancing-*.json"))
    if not found:
        raise LookupError(f"no record in {directory}: run bench/balancing.py --record first")
    return found[-1]


def groups(record: Mapping[str, Any], strategy: str) -> dict[str, list[Row]]:
    """Ours and its peers, by scenario: those in which the strategy shows what it does."""
    scenarios = ("weights", "slow") if strategy.startswith("weighted") else ("equal", "slow")
    runs = {(run["scenario"], run["proxy"], run["method"]): run for run in record["runs"]}
    return {
        scenario: [
            Row(each.proxy, each.method, run["shares"], run["latency_ms"])
            for each in like(strategy)
            for run in [runs[scenario, each.proxy, each.method]]
        ]
        for scenario in scenarios
    }


def with_dark_theme(svg: str) -> str:
    """The picture with other colours of text, lines and ground where the reader's are dark.

    Viewers that know no media queries show it as it is: on its own light ground.
    """
    rules = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
    )
    begin = svg.index(">", svg.index("<svg ")) + 1
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    return f"{svg[:begin]}\n {style}{svg[begin:]}"


class Painter:
    """Has matplotlib draw."""

    def __init__(self) -> None:
        import matplotlib  # late: nobody else needs it

        matplotlib.use("svg")
        from matplotlib import pyplot

        self._pyplot = pyplot
        pyplot.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "balancing",
                "font.size": 8,
                "text.color": INK,
                "axes.edgecolor": LINES,
                "axes.facecolor": PAPER,
                "axes.labelcolor": MUTED,
                "axes.titlecolor": INK,
                "axes.titlesize": 8.5,
                "figure.facecolor": PAPER,
                "xtick.color": LINES,
                "xtick.labelcolor": MUTED,
                "grid.color": LINES,
                "grid.linewidth": 0.6,
            }
        )

    def strategy(self, rows: Mapping[str, Sequence[Row]]) -> str:
        """Shares on the left, latencies on the right, a line a balancer."""
        lines = sum(len(members) + 1.5 for members in rows.values()) - 1.5
        figure, (left, right) = self._pyplot.subplots(
            1, 2, figsize=(8.6, 0.62 + 0.24 * lines), sharey=True, width_ratios=(1, 1.15)
        )
        left.set_ylim(lines + 0.6, -0.6)
        left.set_xlim(0, 112)
        self._bare(left, "requests that each backend got, %")
        self._bare(right, "milliseconds that clients waited")
        left.set_xticks([0, 25, 50, 75, 100])
        self._logarithmic(right, rows)
        height = 0.0
        for scenario, members in rows.items():
            left.text(0, height, TITLES[scenario], va="center", weight="bold")
            for line, row in enumerate(members, 1):
                self._name(left, height + line, row)
                self._shares(left, height + line, row, slow=scenario == "slow")
                self._latencies(right, height + line, row)
            if scenario == "slow":
                self._name_quantiles(right, height + 0.05, members[0])
            height += len(members) + 1.5
        figure.subplots_adjust(0.235, 0.56 / figure.get_figheight(), 0.985, 0.99, wspace=0.06)
        return self._svg(figure)

    def overview(self, record: Mapping[str, Any]) -> str:
        """The 99th percentile of every strategy, one panel a scenario."""
        figure, panels = self._pyplot.subplots(1, 2, figsize=(8.6, 2.9), sharey=True)
        names = [name for name in STRATEGIES if not name.startswith("weighted")]
        for panel, scenario in zip(panels, ("equal", "slow"), strict=True):
            self._bare(panel, "milliseconds, 99th percentile")
            panel.set_title(TITLES[scenario], loc="left", weight="bold")
            panel.set_ylim(len(names) - 0.5, -0.5)
            most = max(
                row.latency_ms["p99"] for name in names for row in groups(record, name)[scenario]
            )
            panel.set_xlim(0, most * 1.12)
            for height, name in enumerate(names):
                self._compare(panel, height, groups(record, name)[scenario])
        for height, name in enumerate(names):
            panels[0].text(-1, height, name, ha="right", va="center")
        for place, proxy in zip((0.185, 0.31, 0.405), PROXIES, strict=True):
            figure.text(place, 0.955, f"● {proxy}", color=COLOURS[proxy], va="center")
        figure.subplots_adjust(0.185, 0.17, 0.985, 0.84, wspace=0.06)
        return self._svg(figure)

    def _bare(self, axes: Any, about: str) -> None:
        axes.set_xlabel(about)
        axes.set_yticks([])
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)

    def _logarithmic(self, axes: Any, rows: Mapping[str, Sequence[Row]]) -> None:
        longest = max(max(row.latency_ms.values()) for each in rows.values() for row in each)
        axes.set_xscale("log")
        axes.set_xlim(1, max(LONGEST, longest * 1.1))
        ticks = [1, 2, 5, 10, 20, 50, 100, 200]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()

    def _name(self, axes: Any, height: float, row: Row) -> None:
        name = row.proxy if row.proxy == OURS else f"{row.proxy} {row.method}"
        axes.text(-3, height, name, ha="right", va="center", color=COLOURS[row.proxy])

    def _shares(self, axes: Any, height: float, row: Row, slow: bool) -> None:
        begin = 0.0
        for number, share in enumerate(row.shares):
            percent = 100 * share
            last = number == len(row.shares) - 1
            axes.barh(
                height,
                percent - 0.5,
                0.72,
                begin,
                color=COLOURS[row.proxy],
                alpha=0.9 if slow and last else 0.32,
                linewidth=0,
            )
            if slow and last:
                axes.text(101, height, f"{percent:.1f}", va="center", weight="bold")
            else:
                middle = begin + percent / 2
                axes.text(middle, height, f"{percent:.1f}", ha="center", va="center", size=7)
            begin += percent

    def _latencies(self, axes: Any, height: float, row: Row) -> None:
        colour, wait = COLOURS[row.proxy], row.latency_ms["p99"]
        waits = list(row.latency_ms.values())
        axes.plot(waits, [height] * len(waits), color=colour, linewidth=1.5)
        axes.plot(waits, [height] * len(waits), "o", color=colour, markersize=3.5)
        axes.plot(wait, height, "o", color=colour, markersize=6.5)
        axes.text(wait, height - 0.18, f"{wait:.0f}", ha="center", va="bottom", size=7)

    def _name_quantiles(self, axes: Any, height: float, row: Row) -> None:
        """Once, where they are far apart."""
        for name, wait in row.latency_ms.items():
            axes.text(wait, height, name, ha="center", va="center", size=7, color=MUTED)

    def _compare(self, axes: Any, height: float, rows: Sequence[Row]) -> None:
        for row in reversed(rows):  # ours on top
            wait = row.latency_ms["p99"]
            axes.plot(wait, height, "o", color=COLOURS[row.proxy], markersize=6, alpha=0.85)
        axes.text(wait, height - 0.22, f"{wait:.0f}", color=COLOURS[row.proxy])

    def _svg(self, figure: Any) -> str:
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
        self._pyplot.close(figure)
        return with_dark_theme(drawn.getvalue())


def main() -> int:
    try:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else newest(RESULTS)
        record = json.loads(path.read_text())
        painter = Painter()
    except (OSError, LookupError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except ImportError:
        print(
            "bench: matplotlib is missing: pip install -r requirements-bench.txt", file=sys.stderr
        )
        return 1
    PLOTS.mkdir(parents=True, exist_ok=True)
    for strategy in STRATEGIES:
        (PLOTS / f"{strategy}.svg").write_text(painter.strategy(groups(record, strategy)))
    (PLOTS / "overview.svg").write_text(painter.overview(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
