"""Proxies with an embedded store, and the processes that serve it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .processes import alive
from .proxy import ProxyProcess
from .sharing import PATIENT
from .stand import StartProxy
from .waiting import wait_until


class Embedded:
    """The store in a folder."""

    def __init__(self, start: StartProxy, folder: Path) -> None:
        self.folder = folder
        self._start = start

    @property
    def options(self) -> tuple[str, ...]:
        return ("--store", "embedded", "--data-dir", str(self.folder), *PATIENT)

    def proxy(self, *options: str, ready: bool = True, **more: object) -> ProxyProcess:
        """One that uses it."""
        proxy = self._start(*self.options, *options, **more)
        if ready:
            self.is_used(proxy)
        return proxy

    def is_used(self, proxy: ProxyProcess) -> None:
        """Return when all its workers use it."""

        def used() -> bool:
            stats = proxy.stats()
            return bool(stats["redis_connected"] == stats.get("workers", 1))

        wait_until(used, "all workers to use the store")

    def servers(self) -> list[int]:
        """The processes of valkey-server."""
        return _processes(f"unixsocket:{self.folder}/store.sock")

    def keepers(self) -> list[int]:
        """The processes that keep it."""
        return _processes("store_keeper", str(self.folder))

    def server(self) -> int:
        """The one that there is, once it is there."""
        wait_until(lambda: len(self.servers()) == 1, "the store's one server")
        return self.servers()[0]

    def is_gone(self) -> bool:
        """Whether no process is left, and no socket."""
        processes = [*self.servers(), *self.keepers()]
        return not processes and not (self.folder / "store.sock").exists()


def _processes(*words: str) -> list[int]:
    """Those that have all these words in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().decode(errors="replace")
            if all(word in line for word in words) and alive(int(path.parent.name)):
                found.append(int(path.parent.name))
    return found
