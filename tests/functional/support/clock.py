"""A wall clock that stands still until a test moves it."""

from __future__ import annotations

import subprocess
from email.utils import formatdate
from pathlib import Path

from .programs import requires_program

_START = 1_924_992_000  # Wed, 01 Jan 2031 00:00:00 GMT: clearly not the machine's own time


class Clock:
    """What the wall clock of a process shows that runs in our environment (libfaketime).

    Only the wall clock: timers, which rest on the monotonic one, run on as they do. Without the
    program `faketime` the test is skipped and says why.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "time"
        self._now = _START
        self._show()
        self.environment = {
            "LD_PRELOAD": _library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_FMT": "%s",
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # a source that looks newer than its bytecode is compiled again
        }

    def now(self) -> int:
        """Seconds since 1970."""
        return self._now

    def date(self, seconds: int = 0) -> str:
        """An HTTP-date so many seconds from now."""
        return formatdate(self._now + seconds, usegmt=True)

    def advance(self, seconds: int) -> None:
        """Move it, back where `seconds` is negative."""
        self._now += seconds
        self._show()

    def _show(self) -> None:
        """Write the time in one step: the process reads the file each time that it asks."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(self._now))
        fresh.replace(self._file)


def _library() -> str:
    """What `faketime` preloads, as the dynamic linker reads it."""
    shown = subprocess.run(
        [requires_program("faketime"), "-f", "+0", "sh", "-c", 'echo "$LD_PRELOAD"'],
        check=True,
        capture_output=True,
        text=True,
    )
    return shown.stdout.strip()
