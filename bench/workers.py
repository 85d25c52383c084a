"""What a second worker costs: CPU a hit of one worker and of two, on two cores, in turn.

    python bench/workers.py [--rounds 5] [--seconds 3] [--record]

Both may use both cores; wrk shares the second. Recorded in bench/results/workers-DATE-MACHINE.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import record, verify  # noqa: E402
from bench.lanes import LANES, Lane  # noqa: E402
from bench.load import load  # noqa: E402
from bench.processes import BOTH_CPUS  # noqa: E402
from bench.servers import DEFAULT_COMMAND, Laboratory, Server  # noqa: E402

TARGET = 1.10  # two workers over one
NUMBERS = (1, 2)


def cost(lane: Lane, server: Server, seconds: int) -> float:
    """CPU microseconds a hit, over one load."""
    before = server.process.cpu_seconds()
    done = load(lane, server.port, seconds, "", None)
    assert not done.failures, done.failures
    used = sum(spent - before.get(pid, 0.0) for pid, spent in server.process.cpu_seconds().items())
    assert used > 0, "the workers are not among the processes that are measured"
    return used / done.requests * 1e6


def measure(rounds: int, seconds: int) -> dict[int, list[float]]:
    """The costs of each round by number of workers."""
    lane = LANES["hit"]
    costs: dict[int, list[float]] = {number: [] for number in NUMBERS}
    with Laboratory(lane) as laboratory:
        servers = {
            number: laboratory.ours(f"{DEFAULT_COMMAND} --workers {number}", BOTH_CPUS)
            for number in NUMBERS
        }
        for server in servers.values():
            for _ in range(16):  # until every worker has it
                verify.entity_tag(lane, server)
        for _ in range(rounds):
            for number, server in servers.items():
                costs[number].append(cost(lane, server, seconds))
    return costs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    facts = record.facts(options.rounds, options.seconds)
    costs = measure(options.rounds, options.seconds)
    one, two = (median(costs[number]) for number in NUMBERS)
    ratio = two / one
    print(f"one worker {one:.2f} us a hit, two {two:.2f}: x{ratio:.3f} (at most {TARGET})")
    if options.record:
        whole = record.Record(facts, [])
        path = ROOT / "bench" / "results" / f"workers-{whole.name}.json"
        found = {str(number): costs[number] for number in NUMBERS}
        content = {**facts, "cpu_us": found, "ratio": ratio, "target": TARGET}
        path.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
