"""What a hit from Redis costs (--memory 0), and what becomes of hits from memory without Redis.

    python bench/redis_tier.py [--rounds 5] [--seconds 3] [--record]

The proxy has one core, wrk and Redis share the other. Recorded in
bench/results/redis-tier-DATE-MACHINE.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import record, verify  # noqa: E402
from bench.lanes import LANES  # noqa: E402
from bench.measure import cost  # noqa: E402
from bench.servers import DEFAULT_COMMAND, Laboratory  # noqa: E402

TARGET = 25.0  # us a hit from Redis
COMMAND = DEFAULT_COMMAND.replace("--store memory --memory 1GB", "--redis-timeout 1s")


def measure(rounds: int, seconds: int) -> dict[str, list[float]]:
    """The figures of each round by name."""
    lane = LANES["hit"]
    found: dict[str, list[float]] = {}

    def note(name: str, figures: tuple[float, float]) -> None:
        found.setdefault(f"{name}: us a hit", []).append(figures[0])
        found.setdefault(f"{name}: hits a second", []).append(figures[1])

    with Laboratory(lane) as laboratory:
        redis, killed = laboratory.redis(), laboratory.redis()
        at = f"{COMMAND} --redis-host 127.0.0.1 --redis-port"
        tier = laboratory.ours(f"{at} {redis.port} --memory 0")
        both = laboratory.ours(f"{at} {redis.port} --memory 1GB")
        bereft = laboratory.ours(f"{at} {killed.port} --memory 1GB")
        time.sleep(1)  # until they use Redis
        for server in (tier, both, bereft):
            verify.entity_tag(lane, server)
        killed.process.end(patience=0)
        for _ in range(rounds):
            note("from Redis", cost(lane, tier, seconds))
            note("from memory, with Redis", cost(lane, both, seconds))
            note("from memory, Redis killed", cost(lane, bereft, seconds))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    facts = record.facts(options.rounds, options.seconds)
    found = measure(options.rounds, options.seconds)
    for name, figures in found.items():
        print(f"{name}: {median(figures):.2f}")
    if options.record:
        whole = record.Record(facts, [])
        path = ROOT / "bench" / "results" / f"redis-tier-{whole.name}.json"
        path.write_text(json.dumps({**facts, "figures": found, "target": TARGET}, indent=1) + "\n")
    return 0 if median(found["from Redis: us a hit"]) <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
