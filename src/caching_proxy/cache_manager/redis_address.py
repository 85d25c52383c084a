"""Where a Redis node is, and as whom it is spoken to."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RedisAddress:
    """One node: at `path` of a unix socket, else at `host` and `port`, with `tls` or without."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """For people; without secrets."""
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def greeting(self, name: str) -> list[tuple[bytes | str | int, ...]]:
        """The commands that a connection begins with: RESP3, who it is, which database."""
        words: tuple[bytes | str | int, ...] = ("HELLO", 3)
        if self.password is not None:
            words += ("AUTH", self.user or "default", self.password)
        commands = [(*words, "SETNAME", name)]
        if self.database:
            commands.append(("SELECT", self.database))
        return commands
