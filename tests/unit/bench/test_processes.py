"""CPU, memory and the end of a server's processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.processes import SERVER_CPU, Process

# A parent whose child works for a moment, then both wait; neither minds SIGTERM.
FAMILY = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    {child}
    ballast = b"x" * 50_000_000
    while time.process_time() < 0.2:
        pass
    print(f"ready {os.getpid()} {os.getppid()}", flush=True)  # one write, even when unbuffered
while True:
    signal.pause()
"""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(params=["pass", "os.setsid()"], ids=["one session", "two sessions"])
def family(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Process, list[int]]]:
    script = FAMILY.replace("{child}", request.param)
    process = Process([sys.executable, "-c", script], SERVER_CPU, tmp_path / "log", tmp_path)
    wait_for(lambda: process.last_words().startswith("ready"))
    yield process, [int(word) for word in process.last_words().split()[1:]]
    process.end(patience=0)


def test_cpu_of_every_process_counts(family: tuple[Process, list[int]]) -> None:
    process, pids = family
    used = process.cpu_seconds()
    assert sorted(used) == sorted(pids)
    assert used[pids[0]] >= 0.2


def test_memory_of_every_process_counts(family: tuple[Process, list[int]]) -> None:
    process, _ = family
    assert process.resident_bytes() > 50_000_000


def test_nothing_survives_the_end(family: tuple[Process, list[int]]) -> None:
    process, pids = family
    process.end(patience=0.05)
    assert not process.running
    wait_for(lambda: all(_gone(pid) for pid in pids))


def test_servers_are_pinned(family: tuple[Process, list[int]]) -> None:
    _, pids = family
    assert {cpu for pid in pids for cpu in os.sched_getaffinity(pid)} == {SERVER_CPU}


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
