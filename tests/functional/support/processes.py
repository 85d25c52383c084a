"""Looking at processes."""

from __future__ import annotations

import contextlib
from pathlib import Path


def children(pid: int) -> list[int]:
    """The direct children of a process that run, whichever thread has started them."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            found.append(path.read_text())
    return [child for child in map(int, " ".join(found).split()) if alive(child)]


def alive(pid: int) -> bool:
    """Whether the process is there, and not only its exit status."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def connections(pid: int, port: int) -> int:
    """How many connections to this local port of 127.0.0.1 the process has open."""
    inodes = set()
    try:
        table = Path(f"/proc/{pid}/net/tcp").read_text()
    except OSError:  # it has ended
        return 0
    for line in table.splitlines()[1:]:
        fields = line.split()
        local, state, inode = fields[1], fields[3], fields[9]
        if local.endswith(f":{port:04X}") and state != "0A":  # listening
            inodes.add(f"socket:[{inode}]")
    links = (entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir())
    return sum(str(link) in inodes for link in links)
