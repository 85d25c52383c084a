"""Where Redis is, and as whom it is spoken to."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote

FORM = (
    "write redis://HOST:PORT/DATABASE, rediss://... for TLS, unix:///path/to.sock?db=N, or"
    " redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE"
)

_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_URL = re.compile(r"([a-z+]+)://(?:([^/?#]*)@)?([^/?#]*)([^?]*)(?:\?(.*))?", re.IGNORECASE)
_PLACE = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:,\s]+))(?::([0-9]{1,5}))?", re.IGNORECASE)


@dataclass(frozen=True)
class RedisAddress:
    """One node: at `path` of a unix socket, else at `host` and `port`, with `tls` or without.

    Or the primary of a `service`, which the `sentinels` know: those have no service of their own.
    """

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    service: str | None = None
    sentinels: tuple[RedisAddress, ...] = ()

    @staticmethod
    def parse(url: str, authorities: str | None = None) -> RedisAddress:
        """An address as FORM has it, with `USER:PASSWORD@` before the host where Redis wants it.

        TLS is verified with these `authorities` (PEM), or the system's.
        Raises ValueError("cause: cure"), which never tells the password.
        """
        match = _URL.fullmatch(url)
        scheme = match[1].lower() if match else ""
        if match is None or scheme not in _SCHEMES:
            raise ValueError(f"it begins with none of {', '.join(_SCHEMES)} and ://: {FORM}")
        _, who, hosts, path, query = match.groups()
        queries = dict(parse_qsl(query or "", keep_blank_values=True))
        user, colon, password = (who or "").partition(":")
        secure = scheme.startswith("rediss")
        found = RedisAddress(
            user=unquote(user) or None,
            password=unquote(password) if colon else None,
            tls=ssl.create_default_context(cadata=authorities) if secure else None,
        )
        if scheme.endswith("sentinel"):
            return _watched(found, hosts, path, queries)
        if scheme == "unix":
            if not path.startswith("/") or hosts:
                raise ValueError(f"it has no absolute path: {FORM}")
            return replace(found, path=unquote(path), database=_database("", queries))
        host, port = _place(hosts, 6379)
        return replace(found, host=host, port=port, database=_database(path.strip("/"), queries))

    def node_at(self, host: str, port: int) -> RedisAddress:
        """Another node, spoken to as this."""
        return replace(self, host=host, port=port, path=None, service=None, sentinels=())

    def __str__(self) -> str:
        """For people; without secrets."""
        if self.service is not None:
            return f"{self.service} ({', '.join(map(str, self.sentinels))})"
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


def _watched(found: RedisAddress, hosts: str, path: str, queries: dict[str, str]) -> RedisAddress:
    """The address of what sentinels at `hosts` watch; `found` is what is known of its nodes."""
    service, _, database = path.strip("/").partition("/")
    if not service:
        raise ValueError(f"it does not name the service: {FORM}")
    user, password = (queries.pop(f"sentinel_{name}", None) for name in ("username", "password"))
    sentinels = tuple(
        RedisAddress(*_place(host, 26379), user=user, password=password, tls=found.tls)
        for host in hosts.split(",")
    )
    number = _database(database, queries)
    return replace(found, service=unquote(service), sentinels=sentinels, database=number)


def _place(text: str, port: int) -> tuple[str, int]:
    """A host, and its port where it is not the usual one."""
    match = _PLACE.fullmatch(text)
    if match is None or not 0 < int(match[3] or port) < 65536:
        raise ValueError(f"its host, or the port, is not one: {FORM}")
    return (match[1] or match[2]).lower(), int(match[3] or port)


def _database(text: str, queries: dict[str, str]) -> int:
    """The number of the database, from the path or the queries, which have nothing else."""
    number = queries.pop("db", text or "0")
    if queries:
        raise ValueError(f"it has more behind it than a database: {FORM}")
    if not re.fullmatch("[0-9]{1,5}", number, re.ASCII):
        raise ValueError(f"its database is not a number: {FORM}")
    return int(number)
