"""Programs that pip cannot bring."""

from __future__ import annotations

import shutil

import pytest


def requires_program(name: str) -> str:
    """The path of an installed program; without it the test is skipped and says why."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: install it with the system's package manager")
    return path
