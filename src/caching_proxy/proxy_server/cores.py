"""How many cores this process may use."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def available_cores(root: Path = ROOT) -> int:
    """Those that it is bound to, or as many as its quota of processor time keeps busy, if less.

    The quota is that of containers: cpu.max of its control group and those above (cgroups(7),
    version 2). `root` is where /proc and /sys lie.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min([bound or 1, *_quotas(root)])


def _quotas(root: Path) -> Iterator[int]:
    """The cores that each quota keeps busy, a part of one counting as one."""
    with contextlib.suppress(OSError):
        group = _group((root / "proc/self/cgroup").read_text())
        for place in [group, *group.parents]:
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                most, period = (root / "sys/fs/cgroup" / place / "cpu.max").read_text().split()
                yield max(1, math.ceil(int(most) / int(period)))  # ValueError: there is no "max"


def _group(text: str) -> Path:
    """The control group of version 2 in a /proc/self/cgroup; the uppermost without one."""
    for line in text.splitlines():
        if line.startswith("0::/"):
            return Path(line.removeprefix("0::/"))
    return Path()
