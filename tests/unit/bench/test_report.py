"""What is made of figures: ratios, verdicts, tables, records, the README's section."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import record, report
from bench.lanes import LANES
from bench.results import OURS, Figures, LaneResult


def figures(cpu_us: float, object_bytes: float | None = None) -> Figures:
    return Figures(
        cpu_us=cpu_us,
        requests_per_second=100_000,
        p99_ms=1.5,
        resident_mb=20,
        object_bytes=object_bytes,
    )


def result(lane: str, **servers: float) -> LaneResult:
    costs = {OURS if name == "ours" else name: figures(cost) for name, cost in servers.items()}
    return LaneResult(LANES[lane], costs)


def make_record(date: str, lanes: list[str]) -> record.Record:
    facts = {
        "date": date,
        "machine": {"cpu": "Some CPU @ 2 GHz", "cores": 2, "kernel": "6.1", "load": 0.1},
        "versions": {"python": "3.12.1", "nginx": "1.22.1"},
        "rounds": 3,
        "seconds": 2,
    }
    return record.Record(facts, [result(lane, ours=5, nginx=10) for lane in lanes])


def test_ratio_is_the_peers_cost_over_ours() -> None:
    assert result("hit", ours=5, nginx=9).ratio("nginx") == pytest.approx(1.8)


def test_no_ratio_without_figures_of_both() -> None:
    assert result("hit", ours=5).ratio("nginx") is None
    assert result("hit", nginx=5).ratio("nginx") is None


@pytest.mark.parametrize(
    ("cost", "verdict"), [(8.5, ">= 1.7 met"), (8.4, ">= 1.7 missed"), (20, ">= 1.7 met")]
)
def test_verdict(cost: float, verdict: str) -> None:
    assert result("hit", ours=5, nginx=cost).verdict("nginx") == verdict


def test_no_verdict_without_a_target() -> None:
    assert result("hit", ours=5, Varnish=17).verdict("Varnish") == ""


@pytest.mark.parametrize(("size", "word"), [(2048, "met"), (2049, "missed")])
def test_memory_verdict(size: float, word: str) -> None:
    lane = LaneResult(LANES["hit-many"], {OURS: figures(5, size), "nginx": figures(9, 4230)})
    assert lane.memory_verdict() == f"<= 2048 bytes {word}"
    assert f"{OURS} {size}, nginx 4230" in report.text(lane)


def test_failed_servers_are_named_with_their_faults() -> None:
    lane = result("hit", nginx=9)
    lane.failed[OURS] = ["status 500 instead of 200"]
    lane.absent["Varnish"] = "varnishd is not installed"
    for table in (report.text(lane), report.markdown(lane)):
        assert f"{OURS} FAILED: status 500 instead of 200" in table
        assert "Varnish left out: varnishd is not installed" in table


def test_summary_has_a_line_a_lane_and_leaves_gaps() -> None:
    table = report.summary([result("hit", ours=5, nginx=10), result("big", ours=100, Varnish=120)])
    assert table.splitlines()[0] == f"| lane | {OURS} | nginx | Varnish |"
    assert "| 5.0 us | 10.0 us (x2.00, target 1.7) |  |" in table
    assert "| 100.0 us |  | 120.0 us (x1.20, target 1.0) |" in table


def test_record_is_named_by_date_and_machine() -> None:
    name = make_record("2030-01-02T03:04:05+00:00", ["hit"]).name
    assert name == "2030-01-02-some-cpu-2-ghz-2-cores"


def test_write_record_and_readme(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    record.write(make_record("2030-01-02", list(LANES)), tmp_path)
    record.write(make_record("2030-01-03", ["hit"]), tmp_path)
    results = tmp_path / "bench" / "results"
    assert len(list(results.glob("*.json"))) == len(list(results.glob("*.md"))) == 2
    text = readme.read_text()
    assert text.startswith("before\n<!-- bench -->\n")
    assert text.endswith("<!-- /bench -->\nafter\n")
    assert "old" not in text
    assert "2030-01-02" in text, "the newest record of all lanes, not the newest of some"
    assert "hit-many" in text


def test_newest_complete_record_wins(tmp_path: Path) -> None:
    for date in ("2030-01-05", "2030-01-09", "2030-01-07"):
        whole = make_record(date, list(LANES))
        (tmp_path / f"{whole.name}.json").write_text(json.dumps(whole.as_json()))
    (tmp_path / "workers-2030-02-01.json").write_text('{"date": "2030-02-01"}')
    newest = record.newest_complete(tmp_path)
    assert newest is not None
    assert newest["date"] == "2030-01-09"


def test_no_record_is_complete(tmp_path: Path) -> None:
    assert record.newest_complete(tmp_path) is None


@pytest.mark.parametrize("readme", ["no marks", "<!-- /bench --> wrong order <!-- bench -->"])
def test_readme_without_marks_stays(readme: str) -> None:
    assert record.with_section(readme, "text") == readme


def test_facts_name_machine_and_versions() -> None:
    facts = record.facts(3, 2)
    assert facts["machine"]["cores"] >= 1
    assert facts["machine"]["cpu"]
    assert facts["versions"]["python"].startswith("3.")
    assert facts["versions"]["python"] in record.describe(facts)
