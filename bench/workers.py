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
from bench.lanes import LANES  # noqa: E402
from bench.measure import cost  # noqa: E402
from bench.processes import BOTH_CPUS  # noqa: E402
from bench.servers import DEFAULT_COMMAND, Laboratory  # noqa: E402

TARGET = 1.10  # two workers over one
NUMBERS = (1, 2)


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
                us, _ = cost(lane, server, seconds)
                assert us > 0, "the workers are not among the processes that are measured"
                costs[number].append(us)
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
