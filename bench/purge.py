"""What a purge by tag costs with a million responses in Redis, and what hits wait meanwhile.

    python bench/purge.py [--rounds 5] [--record]

Every response comes through the proxy from an origin that sends Cache-Tag. A tag with 1,000 and one
with 100,000 responses are purged in turn (PURGE), each round once alone, for the receipt and the
CPU time, and once while a client goes on asking for other responses. After each purge a sample of
both is asked for: what was purged has to be a miss, the rest a hit. Once with a proxy that has no
memory of its own, once with one that has everything in memory too. Recorded in
bench/results/purge-DATE-MACHINE.json.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from math import ceil
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import record  # noqa: E402
from bench.coherence import Reader  # noqa: E402
from bench.errors import BenchError  # noqa: E402
from bench.lanes import Lane  # noqa: E402
from bench.load import fill  # noqa: E402
from bench.redis_tier import COMMAND  # noqa: E402
from bench.servers import Laboratory, Redis, Server  # noqa: E402
from bench.verify import Asker  # noqa: E402

LANE = Lane("purge", "tagged responses of 1 KB", cache_control="max-age=86400")
PURGED = {"few": 1_000, "many": 100_000}  # tag -> responses that have it
TAGS = {**PURGED, "rest": 900_000}
RESPONSES = 1_000_000  # in Redis at least: those that first meet a tag may not be stored
MEMORIES = ("0", "4GB")  # everything from Redis alone, and everything in memory as well
SAMPLE = 200  # responses of each kind that are asked for after a purge
ASKED = 1_000  # others that the client goes on asking for
WINDOW = 0.5  # seconds of its answers before a purge, and at least so many from then on
Found = dict[str, list[float]]
"""Figures by name, one a round; waits one an answer."""


def target(tag: str, number: int) -> str:
    return f"/tagged/{tag}/{number}"


class Client:
    """Goes on asking for responses that are stored, and notes when and how long it waited."""

    def __init__(self, port: int) -> None:
        self.waits: list[tuple[float, float]] = []
        self.error: str | None = None
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Let it end. BenchError when something was answered wrongly."""
        self._over.set()
        self._thread.join()
        if self.error is not None:
            raise BenchError(self.error)

    def _run(self) -> None:
        try:
            with closing(Reader(self._port)) as reader:
                self._ask_on(reader)
        except (OSError, IndexError) as error:  # IndexError: the proxy hung up
            self.error = f"a request during a purge was not answered: {error!r}"

    def _ask_on(self, reader: Reader) -> None:
        number = 0
        while not self._over.is_set() and self.error is None:
            number = (number + 1) % ASKED
            asked = time.monotonic()
            status, _ = reader.ask("GET", target("rest", number))
            self.waits.append((asked, time.monotonic() - asked))
            if status != 200:
                self.error = f"a request during a purge was answered with {status}"

    def between(self, begin: float, end: float) -> list[float]:
        """Milliseconds of the answers that were waited for in this time."""
        return [wait * 1e3 for at, wait in self.waits if at < end and at + wait > begin]


class Bench:
    """One proxy over one Redis."""

    def __init__(self, laboratory: Laboratory, redis: Redis, memory: str) -> None:
        at = f"--redis-host 127.0.0.1 --redis-port {redis.port} --memory {memory}"
        self.found: Found = defaultdict(list)
        self._origin = laboratory.origin
        self._redis = redis
        self._proxy = laboratory.ours(f"{COMMAND} {at}")
        self._wait_for_redis()

    def _wait_for_redis(self) -> None:
        """Return once the proxy stores what it fetches there."""
        number = 0
        before = self._redis.ask("DBSIZE")
        with closing(Asker(self._proxy.port)) as asker:
            while self._redis.ask("DBSIZE") == before:
                asker.get(f"/first/{self._proxy.port}/{number}")
                number += 1
                time.sleep(0.05)

    def fill(self, tags: Sequence[str]) -> None:
        """Have everything with these tags stored."""
        for tag in tags:
            done = fill(LANE, self._proxy.port, target(tag, 0)[:-1], TAGS[tag])
            if done.failures:
                raise BenchError(f"filling: {done.failures[0]}")

    def entries(self) -> int:
        """How many responses are in Redis, as `caching-proxy stats` counts them."""
        at = ("--redis-host", "127.0.0.1", "--redis-port", str(self._redis.port))
        command = [sys.executable, "app.py", "stats", *at, "--json"]
        entries: int = json.loads(subprocess.check_output(command, cwd=ROOT))["entries"]
        return entries

    def alone(self, tag: str) -> None:
        """Purge while nothing else is asked for."""
        sample = self._sample(tag)
        with self._cpu("idle"):
            time.sleep(WINDOW)
        with self._cpu(tag):
            sent = time.monotonic()
            self._purge(tag)
            self.found[f"{tag}: ms to the receipt"].append((time.monotonic() - sent) * 1e3)
            time.sleep(WINDOW)
        self._check(sample)

    def meanwhile(self, tag: str) -> None:
        """Purge while a client goes on asking."""
        sample = self._sample(tag)
        client = Client(self._proxy.port)
        try:
            time.sleep(WINDOW)
            asked = self._origin.requests()
            sent = time.monotonic()
            self._purge(tag)
            end = max(time.monotonic(), sent + WINDOW)
            time.sleep(end - time.monotonic())
        finally:
            client.end()
        if self._origin.requests() != asked:
            raise BenchError("the client's requests were no hits")
        self.found[f"{tag}: ms a hit, before"] += client.between(sent - WINDOW, sent)
        self.found[f"{tag}: ms a hit, meanwhile"] += client.between(sent, end)
        self._check(sample)

    def _purge(self, tag: str) -> None:
        with closing(Reader(self._proxy.port)) as reader:
            status, _ = reader.ask("PURGE", "/", f"Cache-Tag: {tag}\r\n")
        if status != 200:
            raise BenchError(f"a purge was answered with {status}")

    @contextmanager
    def _cpu(self, name: str) -> Iterator[None]:
        servers: tuple[Server, ...] = (self._proxy, self._redis)
        before = [server.process.cpu_seconds() for server in servers]
        yield
        for server, spent in zip(servers, before, strict=True):
            used = server.process.cpu_since(spent) * 1e3
            self.found[f"{name}: CPU ms of {server.name}"].append(used)

    def _sample(self, tag: str) -> list[tuple[str, str]]:
        """Some stored responses, and what X-Cache is to say of each after the purge of a tag."""
        return [
            (where, expected)
            for name, expected in ((tag, "MISS"), ("rest", "HIT"))
            for where in self._stored(name)
        ]

    def _stored(self, tag: str) -> list[str]:
        found = [target(tag, number) for number in random.sample(range(TAGS[tag]), SAMPLE)]
        with closing(Asker(self._proxy.port)) as asker:
            for where in found:
                asker.get(where)
        return found

    def _check(self, sample: list[tuple[str, str]]) -> None:
        """BenchError where X-Cache says something else."""
        with closing(Asker(self._proxy.port)) as asker:
            for where, expected in sample:
                found = asker.get(where).x_cache
                if found != expected:
                    raise BenchError(f"{where} is a {found} after a purge, not a {expected}")

    def end(self) -> None:
        self._proxy.process.end()


def memory_of(redis: Redis) -> int:
    """Bytes that Redis uses."""
    info = redis.ask("INFO", "memory").decode()
    return int(info.partition("used_memory:")[2].split()[0])


def summary(found: Found) -> dict[str, float]:
    """Medians of the rounds; of waits the median, the 99th percentile and the longest."""
    told: dict[str, float] = {}
    for name, figures in found.items():
        if "a hit" not in name:
            told[name] = median(figures)
            continue
        figures = sorted(figures)
        told[f"{name}: p50"] = median(figures)
        told[f"{name}: p99"] = figures[ceil(len(figures) * 0.99) - 1]
        told[f"{name}: longest"] = figures[-1]
    return {name: round(figure, 3) for name, figure in told.items()}


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """The figures by memory of the proxy."""
    told = {}
    with Laboratory(LANE) as laboratory:
        redis = laboratory.redis()
        empty = memory_of(redis)
        for memory in MEMORIES:
            bench = Bench(laboratory, redis, memory)
            bench.fill(tuple(TAGS))
            entries = bench.entries()
            if entries < RESPONSES:
                raise BenchError(f"only {entries} responses are in Redis")
            used = memory_of(redis) - empty
            for _ in range(rounds):
                for tag in PURGED:
                    for purge in (bench.alone, bench.meanwhile):
                        purge(tag)
                        bench.fill([tag])
            told[memory] = {
                "responses": entries,
                "bytes of Redis a response": round(used / entries),
                **summary(bench.found),
            }
            bench.end()
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    facts = record.facts(options.rounds, 0)
    try:
        told = measure(options.rounds)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for memory, figures in told.items():
        print(f"--memory {memory}")
        for name, figure in figures.items():
            print(f"  {name}: {figure:,}")
    if options.record:
        name = record.Record(facts, []).name
        path = ROOT / "bench" / "results" / f"purge-{name}.json"
        path.write_text(json.dumps({**facts, "memory": told}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
