"""One lane: start the servers, check them, load them in turn, take medians."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from statistics import median

from bench import verify
from bench.errors import BenchError
from bench.lanes import OBJECTS, Lane, Paths
from bench.load import Load, fill, load
from bench.processes import find
from bench.results import OURS, Figures, LaneResult
from bench.servers import PEERS, Laboratory, Origin, Server


@dataclass
class Runner:
    """One server under test and what was seen of it."""

    server: Server
    tag: str | None = None
    costs: list[float] = field(default_factory=list)  # CPU microseconds a request
    loads: list[Load] = field(default_factory=list)
    object_bytes: float | None = None
    failures: list[str] = field(default_factory=list)

    def figures(self) -> Figures:
        return Figures(
            cpu_us=median(self.costs),
            requests_per_second=median(load.requests / load.seconds for load in self.loads),
            p99_ms=median(load.p99_ms for load in self.loads),
            resident_mb=self.server.memory_bytes() / 2**20,
            object_bytes=self.object_bytes,
        )


def measure(lane: Lane, rounds: int, seconds: int, command: str) -> LaneResult:
    """Run one lane; a server that does something wrong gets no figures.

    Raises:
        BenchError: the origin or our own server did not start, or wrk fails.
    """
    result = LaneResult(lane)
    with Laboratory(lane) as laboratory:
        runners = _start(laboratory, command, result)
        for runner in runners:
            _say(lane, f"preparing {runner.server.name}")
            _prepare(lane, runner, laboratory)
        for turn in range(rounds):
            for runner in (runner for runner in runners if not runner.failures):
                _say(lane, f"round {turn + 1} of {rounds}: {runner.server.name}")
                _round(lane, runner, laboratory.origin, seconds, f"{os.getpid()}-{turn}")
        for runner in runners:
            runner.failures = runner.failures or _faults(lane, runner, laboratory)
            if runner.failures:
                result.failed[runner.server.name] = runner.failures
            else:
                result.servers[runner.server.name] = runner.figures()
    _say(lane, "")
    return result


def cost(lane: Lane, server: Server, seconds: int) -> tuple[float, float]:
    """CPU microseconds a hit and hits a second, over one load.

    Raises:
        BenchError: something was not answered as it should be.
    """
    before = server.process.cpu_seconds()
    done = load(lane, server.port, seconds, "", None)
    if done.failures:
        raise BenchError(f"{server.name}: {done.failures[0]}")
    return server.process.cpu_since(before) / done.requests * 1e6, done.requests / done.seconds


def _start(laboratory: Laboratory, command: str, result: LaneResult) -> list[Runner]:
    """Start ours and every peer that is installed; notes in `result` which are absent."""
    runners = [Runner(laboratory.ours(command))]
    for name, (program, start) in PEERS.items():
        if name == "floor" and not result.lane.floor:
            continue
        reason = result.lane.unfit.get(name)
        if reason is None and find(program) is None:
            reason = f"{program} is not installed"
        if reason is not None:
            result.absent[name] = reason
            continue
        try:
            runners.append(Runner(start(laboratory)))
        except BenchError as error:
            result.absent[name] = str(error)
    return runners


def _prepare(lane: Lane, runner: Runner, laboratory: Laboratory) -> None:
    """Fill the cache where the lane asks from it, and check the answers."""
    runner.tag = verify.entity_tag(lane, runner.server)
    if lane.paths is Paths.MANY:
        before = runner.server.memory_bytes()
        runner.failures += fill(lane, runner.server.port).failures
        growth = (runner.server.memory_bytes() - before) / OBJECTS
        # HAProxy sets its memory aside at the start: that it does not grow says nothing.
        runner.object_bytes = growth if growth > lane.size else None
    runner.failures += _faults(lane, runner, laboratory)


def _faults(lane: Lane, runner: Runner, laboratory: Laboratory) -> list[str]:
    return verify.faults(lane, runner.server, laboratory.origin, laboratory.body, runner.tag)


def _round(lane: Lane, runner: Runner, origin: Origin, seconds: int, salt: str) -> None:
    process = runner.server.process
    seen, before = origin.settled_requests(), process.cpu_seconds()
    done = load(lane, runner.server.port, seconds, salt, runner.tag)
    used, seen = process.cpu_since(before), origin.requests() - seen
    runner.costs.append(used / max(done.requests, 1) * 1e6)
    runner.loads.append(done)
    runner.failures += done.failures
    if before.keys() - process.cpu_seconds().keys():
        runner.failures.append("a process of it ended under load")
    # HAProxy tells objects apart by 32 bits of a hash: a few of 100,000 displace each other.
    strays = 0 if runner.server.name == OURS else done.requests // 1000
    if lane.from_cache and seen > strays:
        runner.failures.append(f"{seen} of {done.requests} requests reached the origin")
    elif not lane.from_cache and seen < done.requests:
        runner.failures.append(f"only {seen} of {done.requests} requests reached the origin")


def _say(lane: Lane, text: str) -> None:
    """Progress, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{lane.name}: {text}" if text else "\r\x1b[K", end="", file=sys.stderr)
        sys.stderr.flush()
