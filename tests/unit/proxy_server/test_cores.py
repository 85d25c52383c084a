"""How many workers `auto` is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caching_proxy.proxy_server.cores import available_cores


@pytest.mark.parametrize(
    ("group", "quotas", "cores"),
    [
        ("0::/", {}, 8),
        ("0::/", {"": "max 100000"}, 8),
        ("0::/", {"": "200000 100000"}, 2),
        ("0::/", {"": "150000 100000"}, 2),
        ("0::/", {"": "5000 100000"}, 1),
        ("0::/", {"": "1600000 100000"}, 8),
        ("0::/a/b", {"a": "300000 100000", "a/b": "max 100000"}, 3),
        ("0::/a/b", {"a": "300000 100000", "a/b": "100000 50000"}, 2),
        ("4:cpu:/x\n0::/a", {"a": "100000 100000"}, 1),
        ("4:cpu:/x", {"x": "100000 100000"}, 8),
        ("0::/", {"": "not what is expected"}, 8),
        ("0::/", {"": "100000 0"}, 8),
    ],
)
def test_a_quota_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    group: str,
    quotas: dict[str, str],
    cores: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"{group}\n")
    for place, quota in quotas.items():
        folder = tmp_path / "sys/fs/cgroup" / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(f"{quota}\n")
    assert available_cores(tmp_path) == cores


def test_without_control_groups(tmp_path: Path) -> None:
    assert 1 <= available_cores(tmp_path) <= (os.cpu_count() or 1)
