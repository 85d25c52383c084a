"""Results as text: a table a lane for the terminal, Markdown for records and the README."""

from __future__ import annotations

from collections.abc import Sequence

from bench.results import OURS, Figures, LaneResult

HEADINGS = ("", "CPU us/request", "requests/s", "p99 ms", "memory MB", "cost over ours", "target")


def text(result: LaneResult) -> str:
    """One lane for a terminal."""
    rows = [HEADINGS, *_rows(result)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [f"{result.lane.name}: {result.lane.about}"]
    lines += ["  " + _aligned(row, widths) for row in rows]
    lines += ["  " + note for note in notes(result)]
    return "\n".join(lines) + "\n"


def markdown(result: LaneResult) -> str:
    """One lane as a section of a record."""
    lines = [f"## {result.lane.name}", "", f"{result.lane.about}.", "", *_table(HEADINGS)]
    lines += [_line(row) for row in _rows(result)]
    lines += [part for note in notes(result) for part in ("", note + ".")]
    return "\n".join(lines) + "\n"


def summary(results: Sequence[LaneResult]) -> str:
    """All lanes in one Markdown table, CPU microseconds and the peers' cost over ours."""
    peers = list(dict.fromkeys(name for lane in results for name in lane.servers if name != OURS))
    lines = _table(("lane", OURS, *peers))
    for result in results:
        cells = [_summary_cell(result, name) for name in (OURS, *peers)]
        lines.append(_line((f"{result.lane.name}: {result.lane.about}", *cells)))
    return "\n".join(lines) + "\n"


def notes(result: LaneResult) -> list[str]:
    """What stands below a lane's table."""
    memory = [
        f"{name} {figures.object_bytes:.0f}"
        for name, figures in result.servers.items()
        if figures.object_bytes is not None
    ]
    lines = []
    if memory:
        verdict = result.memory_verdict()
        lines.append(
            f"Memory per cached object, bytes: {', '.join(memory)}"
            + (f" (target for {OURS}: {verdict})" if verdict else "")
        )
    lines += [f"{name} FAILED: {'; '.join(faults)}" for name, faults in result.failed.items()]
    lines += [f"{name} left out: {reason}" for name, reason in result.absent.items()]
    return lines


def _rows(result: LaneResult) -> list[tuple[str, ...]]:
    return [(name, *_cells(result, name, f)) for name, f in result.servers.items()]


def _cells(result: LaneResult, name: str, figures: Figures) -> tuple[str, ...]:
    ratio = result.ratio(name)
    return (
        f"{figures.cpu_us:.2f}",
        f"{figures.requests_per_second:,.0f}",
        f"{figures.p99_ms:.2f}",
        f"{figures.resident_mb:.0f}",
        f"{ratio:.2f}" if ratio is not None else "",
        result.verdict(name),
    )


def _summary_cell(result: LaneResult, name: str) -> str:
    figures, ratio = result.servers.get(name), result.ratio(name)
    if figures is None:
        return ""
    cost = f"{figures.cpu_us:.1f} us"
    if name == OURS or ratio is None:
        return cost
    target = result.lane.targets.get(name)
    return f"{cost} (x{ratio:.2f}" + (f", target {target})" if target is not None else ")")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first = row[0].ljust(widths[0])
    rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    return "  ".join([first, *rest]).rstrip()


def _table(headings: Sequence[str]) -> list[str]:
    return [_line(headings), "|---" + "|--:" * (len(headings) - 1) + "|"]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
