"""Processes of the servers: started, measured and ended by session (Linux).

A server is started as the leader of a session of its own, so that its session id names it and every
process that it starts, whatever becomes of their parents; children in sessions of their own belong
to it as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, CLIENT_CPU = _CPUS[0], _CPUS[1 % len(_CPUS)]

_SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))
_LIBC = ctypes.CDLL(None)


def find(program: str) -> str | None:
    """Path of a program; servers live in sbin, which is not on everybody's PATH."""
    return shutil.which(program, path=_SYSTEM_PATH)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


BOTH_CPUS = f"{SERVER_CPU},{CLIENT_CPU}"


def pin(cpu: int | str, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` on one CPU, or on those of a list such as `0,1`."""
    return ["taskset", "-c", str(cpu), *argv]


class Process:
    """A server and everything it starts."""

    def __init__(self, argv: Sequence[str], cpu: int | str, log: Path, cwd: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._leader = subprocess.Popen(
                pin(cpu, argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._leader.poll() is None

    def last_words(self) -> str:
        """The last line that it printed."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "it printed nothing"

    def cpu_seconds(self) -> dict[int, float]:
        """CPU time that each process has used so far, to the nanosecond.

        /proc counts in ticks of 10 ms, which is too coarse for rounds of a second or two; the
        process clock (POSIX clock_getcpuclockid) is not, and it covers threads that have ended.
        """
        used = {}
        clock = ctypes.c_int()
        for pid in _session(self._leader.pid):
            if _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)) == 0:
                used[pid] = time.clock_gettime(clock.value)
        return used

    def cpu_since(self, before: dict[int, float]) -> float:
        """CPU seconds that they have used since `cpu_seconds` told `before`."""
        return sum(now - before.get(pid, 0.0) for pid, now in self.cpu_seconds().items())

    @property
    def pids(self) -> list[int]:
        """All its processes."""
        return _session(self._leader.pid)

    def resident_bytes(self) -> int:
        """Resident memory; pages shared between its processes count once."""
        return sum(_proportional_bytes(pid) for pid in _session(self._leader.pid))

    def end(self, patience: float = 5.0) -> None:
        """End every process of the session: SIGTERM, then SIGKILL after `patience` seconds."""
        if self.running:
            os.killpg(self._leader.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._leader.wait(patience)
        for pid in _session(self._leader.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._leader.wait()


def stalled(pids: Sequence[int]) -> dict[str, float]:
    """Seconds that each thread has been ready to run, and had no processor, so far."""
    waited = {}
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # it has ended
                waited[path.parent.name] = int(path.read_text().split()[1]) / 1e9
    return waited


def _session(leader: int) -> list[int]:
    """The processes of the leader's session, and all their descendants."""
    found = _processes()
    members = {pid for pid, (_, session) in found.items() if session == leader}
    while more := {pid for pid, (parent, _) in found.items() if parent in members} - members:
        members |= more
    return sorted(members)


def _processes() -> dict[int, tuple[int, int]]:
    """Parent and session of every process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = int(stat[1]), int(stat[3])
    return found


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
