"""The access log: a line a request in the common log format, and what the cache did."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import IO

FLUSH_AT = (
    65536  # octets that are gathered before they are written; the rest goes with the next tick
)


class AccessLog:
    """Lines are gathered and written together; `flush` is called a few times a second."""

    def __init__(self, target: str) -> None:
        """`target`: a path to append to, or `-` for standard output. Raises OSError."""
        self._out: IO[str] = sys.stdout
        if target != "-":
            self._out = Path(target).open("a", encoding="utf-8")  # noqa: SIM115
        self._lines: list[str] = []
        self._size = 0
        self._second = 0
        self._stamp = ""

    def hit(self, peer: str, target: bytes, is_head: bool, status: int, size: int) -> None:
        """A request that the hit lane answered."""
        self._add(peer, "HEAD" if is_head else "GET", target, status, size, "HIT")

    def exchange(
        self, peer: str, method: bytes, target: bytes, status: int, size: int, cache: str
    ) -> None:
        """Any other request; status 0: the client left before there was an answer."""
        self._add(peer, method.decode("latin-1"), target, status, size, cache)

    def _add(
        self, peer: str, method: str, target: bytes, status: int, size: int, cache: str
    ) -> None:
        shown = target.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
        request = f'"{method} {shown} HTTP/1.1"'
        line = f"{peer or '-'} - - [{self._time()}] {request} {status or '-'} {size} {cache}\n"
        self._lines.append(line)
        self._size += len(line)
        if self._size >= FLUSH_AT:
            self.flush()

    def _time(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._stamp = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(now))
        return self._stamp

    def flush(self) -> None:
        """Write what has been gathered; when that fails the lines are lost, never a request."""
        if self._lines:
            text = "".join(self._lines)
            self._lines.clear()
            self._size = 0
            with contextlib.suppress(OSError):
                self._out.write(text)
                self._out.flush()

    def fileno(self) -> int:
        """The descriptor of the file."""
        return self._out.fileno()

    def close(self) -> None:
        """Write the rest."""
        self.flush()
        if self._out is not sys.stdout:
            with contextlib.suppress(OSError):  # a full disk keeps nobody from ending
                self._out.close()
