"""Load at a fixed rate: requests set out when they are due, whatever became of those before them.

A client that waits for each answer before it asks again spares a server that is slow, and then
finds it faster than it is. Here arrivals are a Poisson process, drawn beforehand from a seed;
peers/client.c sends them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from bench.errors import BenchError
from bench.processes import CLIENT_CPU, pin

CONNECTIONS = 64
URLS = 1_000
SESSIONS = 64


class Request(NamedTuple):
    """What is asked, and when: microseconds from the beginning."""

    due_us: int
    url: int
    session: int


class Outcome(NamedTuple):
    """What came of a request."""

    backend: int
    wait_ms: float
    """From when it was due to its answer."""


def plan(number: int, rate: float, seed: int) -> list[Request]:
    """So many requests at `rate` a second; the same seed gives the same ones."""
    draw = Random(seed)
    due = 0.0
    requests = []
    for _ in range(number):
        due += draw.expovariate(rate)
        requests.append(Request(int(due * 1e6), draw.randrange(URLS), draw.randrange(SESSIONS)))
    return requests


def load(client: str, port: int, requests: Sequence[Request]) -> list[Outcome]:
    """Put a plan on a server with the program `client`; what came of each request, in order.

    Raises:
        BenchError: one was not answered, or not by a backend.
    """
    done = subprocess.run(
        pin(CLIENT_CPU, [client, str(port), str(CONNECTIONS)]),
        input="".join(f"{due} {url} {session}\n" for due, url, session in requests),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(done.stderr.strip() or f"the client ended with {done.returncode}")
    return read_outcomes(done.stdout)


def read_outcomes(text: str) -> list[Outcome]:
    """What the client prints."""
    numbers = (map(int, line.split()) for line in text.splitlines())
    return [Outcome(backend, wait_us / 1e3) for backend, wait_us in numbers]
