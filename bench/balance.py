"""What it costs to choose a server, by strategy, among 3 and among 1,000 servers.

    python bench/balance.py [--record]

A choice here is all that a request costs: choosing, and telling that it began and that it ended.
As many requests as there are servers are in flight all the time. `build` is what a change among
the servers costs, `first` each of the first choices after it. Recorded in
bench/results/balance-DATE-MACHINE.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bench import record  # noqa: E402
from caching_proxy.load_balancer.randomness import Random  # noqa: E402
from caching_proxy.load_balancer.server import Server  # noqa: E402
from caching_proxy.load_balancer.strategies import STRATEGIES, WITHOUT_WEIGHTS  # noqa: E402
from caching_proxy.load_balancer.trial import Trial  # noqa: E402

NUMBER = 200_000
FIRST = 100  # choices after a change
REPEATS = 7
SIZES = (3, 1000)


def nanoseconds(work: Callable[[], object], number: int) -> float:
    """The least of several repeats, by what is done `number` times in each."""
    return min(timeit.repeat(work, number=1, repeat=REPEATS)) / number * 1e9


def measure(name: str, size: int) -> dict[str, float]:
    """Nanoseconds of each, by name."""
    servers = [Server(f"10.0.{n >> 8}.{n & 255}:80", n % 10 + 1) for n in range(size)]
    shares = [1 if name in WITHOUT_WEIGHTS else server.weight for server in servers]
    for n, server in enumerate(servers):
        server.latency.add(0.01 + n % 7 / 1000, 1.0)
    trial = Trial(STRATEGIES[name](Random(1)), servers, shares)
    trial.strategy.clock = 2.0
    trial.draw(NUMBER, None, size)
    costs = {"choice": nanoseconds(lambda: trial.draw(NUMBER, None, size), NUMBER)}
    if name == "sticky-cookie":
        cookie = servers[-1].session_id
        costs["choice by cookie"] = nanoseconds(lambda: trial.draw(NUMBER, cookie, size), NUMBER)
    costs["build"] = nanoseconds(lambda: trial.build(servers, shares), 1)
    first = nanoseconds(lambda: (trial.build(servers, shares), trial.draw(FIRST, None)), 1)
    costs["first"] = (first - costs["build"]) / FIRST
    return costs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    facts = record.facts(REPEATS, 0)
    found = {name: {str(size): measure(name, size) for size in SIZES} for name in STRATEGIES}
    for name, sizes in found.items():
        for size, costs in sizes.items():
            told = ", ".join(f"{what} {cost:,.0f}" for what, cost in costs.items())
            print(f"{name}, {size} servers: {told}")
    if options.record:
        name = record.Record(facts, []).name
        path = ROOT / "bench" / "results" / f"balance-{name}.json"
        path.write_text(json.dumps({**facts, "nanoseconds": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
