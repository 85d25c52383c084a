"""Load from wrk, with its result as numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.lanes import OBJECTS, PREFIX, Lane
from bench.processes import CLIENT_CPU, find, pin

SCRIPT = Path(__file__).with_name("load.lua")
FILL_SECONDS = 600  # the most that the pass over all objects may take
FILLED = "filled\n"


@dataclass(frozen=True)
class Load:
    """What wrk counted."""

    requests: int  # answered
    seconds: float
    p99_ms: float
    failures: list[str]

    @classmethod
    def parse(cls, output: str) -> Load:
        """Read what load.lua prints.

        Raises:
            BenchError: wrk printed no result.
        """
        lines = [line for line in output.splitlines() if line.startswith("{")]
        if not lines:
            raise BenchError("wrk printed no result: " + " ".join(output.split())[-200:])
        counts = json.loads(lines[-1])
        kinds = ("connect", "read", "write", "timeout")
        failures = [f"{counts[kind]} {kind} errors" for kind in kinds if counts[kind]]
        if counts["status"]:
            failures.append(f"{counts['status']} answers with status 400 or above")
        return cls(
            requests=counts["requests"],
            seconds=counts["microseconds"] / 1e6,
            p99_ms=counts["p99_us"] / 1e3,
            failures=failures if counts["requests"] else [*failures, "no request was answered"],
        )


def load(lane: Lane, port: int, seconds: int, salt: str, tag: str | None) -> Load:
    """Put a lane's load on a server for some seconds.

    `salt` sets the URLs of lanes that ask for new ones apart; `tag` goes into If-None-Match.
    """
    environment = {"BENCH_PATHS": lane.paths.value, "BENCH_SALT": salt}
    if lane.conditional and tag:
        environment["BENCH_IF_NONE_MATCH"] = tag
    return _wrk(lane, port, seconds, environment)


def fill(lane: Lane, port: int, prefix: str = PREFIX, objects: int = OBJECTS) -> Load:
    """Ask for every object once, so that they are cached."""
    environment = {"BENCH_PATHS": "all", "BENCH_PREFIX": prefix, "BENCH_OBJECTS": str(objects)}
    return _wrk(lane, port, FILL_SECONDS, environment)


def _wrk(lane: Lane, port: int, seconds: int, environment: dict[str, str]) -> Load:
    argv = [find("wrk") or "wrk", "-t1", f"-c{lane.connections}", f"-d{seconds}s"]
    argv += ["-s", str(SCRIPT), f"http://127.0.0.1:{port}{lane.path}"]
    process = subprocess.Popen(
        pin(CLIENT_CPU, argv),
        env={
            **os.environ,
            "BENCH_OBJECTS": str(OBJECTS),
            "BENCH_PREFIX": PREFIX,
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            return Load.parse(_output(process))
        finally:
            process.kill()


def _output(process: subprocess.Popen[str]) -> str:
    """All that wrk prints; it is interrupted once it says that every object was asked for."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == FILLED:
            process.send_signal(signal.SIGINT)
    return "".join(lines)
