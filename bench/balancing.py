"""What each strategy does with four backends: who gets how much, and how long clients wait.

    python bench/balancing.py [--rounds 5] [--record]

Ours with every strategy, HAProxy and nginx with theirs, in front of the same backends, whose
service times are drawn from an exponential distribution. Requests set out at a fixed rate
(open_loop.py), the same ones at every balancer; these are all running and loaded in turn, round
after round. Of a balancer's rounds the calmer half counts: those in which it and the backends
waited least for a processor that others used. Three scenarios: all backends equal and busy, one of
them ten times slower, and backends of 5, 3, 1 and 1 workers with these weights. Recorded in
bench/results/balancing-DATE-MACHINE.json; plot_balancing.py draws it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import record  # noqa: E402
from bench.balancers import (  # noqa: E402
    HAPROXY,
    HAPROXY_LINES,
    NGINX,
    NGINX_LINES,
    Balancer,
    balancers,
)
from bench.cli import positive  # noqa: E402
from bench.errors import BenchError  # noqa: E402
from bench.open_loop import CONNECTIONS, SESSIONS, URLS, Outcome, Request, load, plan  # noqa: E402
from bench.processes import CLIENT_CPU, SERVER_CPU, free_port, stalled  # noqa: E402
from bench.results import OURS  # noqa: E402
from bench.servers import Server, Workshop  # noqa: E402

SEED = 2026
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


@dataclass(frozen=True)
class Scenario:
    """Backends, and what is asked of them."""

    name: str
    means_ms: tuple[float, ...]  # of the service time of each backend
    workers: tuple[int, ...]  # requests that each works on at a time; others wait there
    weights: tuple[int, ...]
    requests: int  # a round
    warming: int  # the first of them, whose latencies do not count
    rate: float  # a second

    @property
    def weighted(self) -> bool:
        return len(set(self.weights)) > 1


EQUAL = (1, 1, 1, 1)
SCENARIOS = (
    Scenario("equal", (2, 2, 2, 2), (3, 3, 3, 3), EQUAL, 4_000, 500, 4_500),
    Scenario("slow", (2, 2, 2, 20), (CONNECTIONS,) * 4, EQUAL, 4_000, 500, 4_500),
    Scenario("weights", (2, 2, 2, 2), (5, 3, 1, 1), (5, 3, 1, 1), 2_000, 200, 2_800),
)


@dataclass(frozen=True)
class Round:
    """What one load of one balancer showed."""

    outcomes: Sequence[Outcome]
    stalled: float  # seconds that threads of balancer and backends waited for a processor


class Backends(Workshop):
    """The backends of a scenario, each called by its number, and the client."""

    def start(self, scenario: Scenario) -> list[int]:
        """Their ports. Raises BenchError."""
        self._client, program = self._built("client"), self._built("backend")
        kinds = zip(scenario.means_ms, scenario.workers, strict=True)
        self.servers = [
            self._backend(program, number, mean * 1e3, workers)
            for number, (mean, workers) in enumerate(kinds)
        ]
        self._pids = [pid for server in self.servers for pid in server.process.pids]
        return [server.port for server in self.servers]

    def _backend(self, program: str, number: int, mean_us: float, workers: int) -> Server:
        port = free_port()
        argv = [program, *map(str, (port, number, workers, mean_us, SEED + number))]
        name = f"backend {number}"
        return self._started(Server(name, port, self._spawn(name, argv, CLIENT_CPU)))

    def load(self, balancer: Server, requests: Sequence[Request]) -> Round:
        """Ask through a balancer. Raises BenchError."""
        pids = [*self._pids, *balancer.process.pids]
        before = stalled(pids)
        try:
            outcomes = load(self._client, balancer.port, requests)
        except BenchError as error:
            raise BenchError(f"{balancer.name}: {error}") from None
        after = stalled(pids)
        return Round(outcomes, sum(after[thread] - before.get(thread, 0.0) for thread in after))


class Balancers(Workshop):
    """Starts balancers in front of the same backends.

    Each has one worker, keeps its connections to them, stores nothing and checks nothing, so that
    strategies alone are compared.
    """

    def __init__(self, ports: Sequence[int], weights: Sequence[int]) -> None:
        """`ports` are those of the backends."""
        super().__init__()
        self._backends = list(zip(ports, weights, strict=True))

    def start(self, balancer: Balancer) -> Server:
        """Have it answer. Raises BenchError."""
        start = {OURS: self._ours, HAPROXY: self._haproxy, NGINX: self._nginx}[balancer.proxy]
        return self._started(start(balancer))

    def _ours(self, balancer: Balancer) -> Server:
        port = free_port()
        argv = [sys.executable, "app.py", "start", "--host", "127.0.0.1", "--port", str(port)]
        argv += ["--no-admin", "--store", "memory", "--no-cache"]
        argv += ["--origin", f"http://127.0.0.1:{self._backends[0][0]}", "--load-balance"]
        argv += ["--strategy", balancer.method, "--health-check", "off", "--eject-gap", "0"]
        for backend, weight in self._backends:
            argv += ["--servers", f"127.0.0.1:{backend}:{weight}"]
        return Server(balancer.name, port, self._spawn(balancer.name, argv, SERVER_CPU, ROOT))

    def _haproxy(self, balancer: Balancer) -> Server:
        servers = [
            f"server b{number} 127.0.0.1:{backend} weight {weight} cookie b{number}"
            for number, (backend, weight) in enumerate(self._backends)
        ]
        port = free_port()
        config = self._config(
            *("balancing-haproxy.cfg", balancer.name),
            port=port,
            method=HAPROXY_LINES[balancer.method],
            servers="\n    ".join(servers),
        )
        argv = ["haproxy", "-db", "-f", str(config)]
        return Server(balancer.name, port, self._spawn(balancer.name, argv, SERVER_CPU))

    def _nginx(self, balancer: Balancer) -> Server:
        servers = [
            f"server 127.0.0.1:{backend} weight={weight} max_fails=0;"
            for backend, weight in self._backends
        ]
        port = free_port()
        config = self._config(
            *("balancing-nginx.conf", balancer.name),
            port=port,
            method=NGINX_LINES[balancer.method],
            servers="\n        ".join(servers),
        )
        argv = ["nginx", "-p", str(config.parent), "-c", str(config)]
        return Server(balancer.name, port, self._spawn(balancer.name, argv, SERVER_CPU))


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """The least of these within which such a fraction of them lies."""
    return ordered[ceil(len(ordered) * fraction) - 1]


def calmer(rounds: Sequence[Round]) -> list[Round]:
    """The half of them (rounded up) in which others used the processors least."""
    return sorted(rounds, key=lambda each: each.stalled)[: ceil(len(rounds) / 2)]


def summed_up(rounds: Sequence[Round], backends: int, warming: int) -> dict[str, Any]:
    """The figures of these rounds together."""
    counts = Counter(outcome.backend for each in rounds for outcome in each.outcomes)
    waits = sorted(outcome.wait_ms for each in rounds for outcome in each.outcomes[warming:])
    total = sum(counts.values())
    return {
        "requests": [counts[backend] for backend in range(backends)],
        "shares": [round(counts[backend] / total, 4) for backend in range(backends)],
        "latency_ms": {name: round(quantile(waits, part), 2) for name, part in QUANTILES.items()},
        "stalled_ms": [round(each.stalled * 1e3) for each in rounds],
    }


def measure(scenario: Scenario, rounds: int) -> Iterator[tuple[Balancer, dict[str, Any]]]:
    """What each balancer does. Raises BenchError."""
    found: dict[Balancer, list[Round]] = defaultdict(list)
    with Backends() as backends, Balancers(backends.start(scenario), scenario.weights) as started:
        servers = {each: started.start(each) for each in balancers(scenario.weighted)}
        for turn in range(rounds):
            requests = plan(scenario.requests, scenario.rate, SEED + turn)
            for balancer, server in servers.items():
                found[balancer].append(backends.load(server, requests))
    for balancer, each in found.items():
        yield balancer, summed_up(calmer(each), len(scenario.weights), scenario.warming)


def line(balancer: Balancer, figures: dict[str, Any]) -> str:
    shares = " ".join(f"{share:6.1%}" for share in figures["shares"])
    waits = " ".join(f"{name} {ms:6.1f}" for name, ms in figures["latency_ms"].items())
    return f"  {balancer.name:36} {shares}   ms {waits}   stalled {figures['stalled_ms']}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    facts = record.facts(options.rounds, 0)
    runs = []
    try:
        if SERVER_CPU == CLIENT_CPU:
            raise BenchError("two CPUs are needed, one for the balancers and one for the rest")
        for scenario in SCENARIOS:
            print(scenario.name)
            for balancer, figures in measure(scenario, options.rounds):
                print(line(balancer, figures), flush=True)
                runs.append({"scenario": scenario.name, **asdict(balancer), **figures})
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.record:
        path = ROOT / "bench" / "results" / f"balancing-{record.Record(facts, []).name}.json"
        client = {"connections": CONNECTIONS, "urls": URLS, "sessions": SESSIONS, "seed": SEED}
        scenarios = [asdict(scenario) for scenario in SCENARIOS]
        content = {**facts, "client": client, "scenarios": scenarios, "runs": runs}
        path.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
