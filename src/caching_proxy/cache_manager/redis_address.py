"""Where a Redis node is, and as whom it is spoken to."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

FORM = "write redis://HOST:PORT/DATABASE, rediss://... for TLS, or unix:///path/to.sock?db=N"


@dataclass(frozen=True)
class RedisAddress:
    """One node: at `path` of a unix socket, else at `host` and `port`, with `tls` or without."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @staticmethod
    def parse(url: str, authorities: str | None = None) -> RedisAddress:
        """An address as FORM has it, with `USER:PASSWORD@` before the host where Redis wants it.

        TLS is verified with these `authorities` (PEM), or the system's.
        Raises ValueError("cause: cure"), which never tells the password.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError(f"its host is not one: {FORM}") from None
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"it begins with none of redis://, rediss:// and unix://: {FORM}")
        queries = dict(parse_qsl(parts.query, keep_blank_values=True))
        database = queries.pop("db", None)
        if parts.scheme != "unix" and parts.path.strip("/"):
            database = parts.path.strip("/")
        if queries or parts.fragment:
            raise ValueError(f"it has more behind it than a database: {FORM}")
        if database is not None and not re.fullmatch("[0-9]{1,5}", database, re.ASCII):
            raise ValueError(f"its database is not a number: {FORM}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(f"its port is not one of 1 to 65535: {FORM}") from None
        common = {
            "user": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password is not None else None,
            "database": int(database or 0),
        }
        if parts.scheme == "unix":
            if not parts.path.startswith("/") or host or port:
                raise ValueError(f"it has no absolute path: {FORM}")
            return RedisAddress(path=unquote(parts.path), **common)  # type: ignore[arg-type]
        if not host or port == 0:
            raise ValueError(f"it has no host, or port 0: {FORM}")
        tls = None
        if parts.scheme == "rediss":
            tls = ssl.create_default_context(cadata=authorities)
        return RedisAddress(host, port or 6379, tls=tls, **common)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """For people; without secrets."""
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def without_secrets(self, text: str) -> str:
        """What may be shown of what Redis says: some repeat the arguments of what they refuse."""
        text = text.partition(", with args")[0]
        return text.replace(self.password, "***") if self.password else text

    def greeting(self, name: str) -> list[tuple[bytes | str | int, ...]]:
        """The commands that a connection begins with: RESP3, who it is, which database."""
        words: tuple[bytes | str | int, ...] = ("HELLO", 3)
        if self.password is not None:
            words += ("AUTH", self.user or "default", self.password)
        commands = [(*words, "SETNAME", name)]
        if self.database:
            commands.append(("SELECT", self.database))
        return commands
