"""The command line: which lanes, how long, and what becomes of the figures."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from bench import record, report
from bench.errors import BenchError
from bench.lanes import LANES
from bench.measure import measure
from bench.processes import CLIENT_CPU, SERVER_CPU, find
from bench.results import OURS, LaneResult
from bench.servers import DEFAULT_COMMAND

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("wrk", "nginx")


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run.py",
        description="CPU microseconds per answered request, beside nginx, HAProxy and Varnish.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="lanes:\n" + "\n".join(f"  {lane.name:12}{lane.about}" for lane in LANES.values()),
    )
    parser.add_argument("lanes", nargs="*", metavar="LANE", help="lanes to run (default: all)")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds a lane (default 3)")
    parser.add_argument(
        "--seconds", type=positive, default=2, help="seconds of load a round and server (default 2)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--command",
        default=DEFAULT_COMMAND,
        help="what starts the proxy in the foreground; {port} and {origin} are the two port "
        f"numbers (default: {DEFAULT_COMMAND})",
    )
    parser.add_argument(
        "--record", action="store_true", help="write bench/results/ and the README's table"
    )
    options = parser.parse_args(argv)
    unknown = [name for name in options.lanes if name not in LANES]
    if unknown:
        parser.error(f"no lane {', '.join(unknown)}; there are {', '.join(LANES)}")
    return options


def check_machine() -> None:
    """Refuse, in one line, a machine that the benchmark cannot run on."""
    missing = [name for name in NEEDED if find(name) is None]
    if missing:
        raise BenchError(
            f"{' and '.join(missing)} not found; install with: apt-get install {' '.join(missing)}"
        )
    if SERVER_CPU == CLIENT_CPU:
        raise BenchError("two CPUs are needed, one for the servers and one for wrk")


def run(options: argparse.Namespace) -> list[LaneResult]:
    results = []
    for name in options.lanes or LANES:
        result = measure(LANES[name], options.rounds, options.seconds, options.command)
        if not options.json:
            print(report.text(result), flush=True)
        results.append(result)
    return results


def main(argv: list[str]) -> int:
    """Run the benchmark; the exit status is 0 only if ours answered correctly."""
    options = parse(argv)
    # So that a terminated run still ends its servers and removes its files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        check_machine()
        facts = record.facts(options.rounds, options.seconds)
        results = run(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    whole = record.Record(facts, results)
    if options.json:
        print(json.dumps(whole.as_json(), indent=2))
    sound = not any(OURS in lane.failed for lane in results)
    if options.record and sound:
        record.write(whole, ROOT)
    elif options.record:
        print("bench: not recorded, because there are failures of ours", file=sys.stderr)
    return 0 if sound else 1
