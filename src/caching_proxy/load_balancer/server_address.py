"""One upstream server as `--servers` names it."""

from __future__ import annotations

import re
from typing import NamedTuple

from caching_proxy.inputs import normal_host, one_line, shown, whole_number

DEFAULT_WEIGHT = 1
MAX_WEIGHT = 1000
MAX_CONNECTIONS = 1_000_000

_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+"
_COMPACT = re.compile(
    rf"(?P<host>{_HOST})(?::(?P<first>[+-]?[0-9]+))?(?::(?P<second>[+-]?[0-9]+))?", re.ASCII
)
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>[0-9]+))?/?", re.ASCII | re.IGNORECASE
)
_FORMS = "write HOST:WEIGHT, HOST:PORT:WEIGHT or 'http://HOST:PORT weight=5'"
_OPTIONS = "max_connections=N or backup"


class ServerAddress(NamedTuple):
    """An upstream server; a scheme or port of None is the origin's.

    `host` is in normal form (inputs.normal_host). `max_connections` of None is what is set for all.
    """

    host: str
    port: int | None = None
    scheme: str | None = None
    weight: int = DEFAULT_WEIGHT
    max_connections: int | None = None
    backup: bool = False

    @property
    def name(self) -> str:
        """The host as it is called: without the dot that keeps resolvers from adding domains."""
        return self.host.removesuffix(".")


def parse_server(text: str) -> ServerAddress:
    """Read one value of `--servers`; ValueError (cause and cure in one line) when it is none.

    >>> parse_server("localhost:9001:5 backup")[:4]
    ('localhost', 9001, None, 5)
    """
    address, *options = text.split() or [""]
    read = _parse_url if "://" in address else _parse_compact
    server = read(address, text)
    named: set[str] = set()
    for option in options:
        name, equals, value = option.partition("=")
        if name in named:
            raise ValueError(f"{one_line(name)} is twice in {shown(text)}: give it once")
        named.add(name)
        server = _with(server, name, value if equals else None, text)
    return server


def show_server(server: ServerAddress) -> str:
    """A server as `parse_server` reads it back."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    port = "" if server.port is None else f":{server.port}"
    parts = [f"{host}{port}:{server.weight}"]
    if server.scheme is not None:
        parts = [f"{server.scheme}://{host}{port}", f"weight={server.weight}"]
    if server.max_connections is not None:
        parts.append(f"max_connections={server.max_connections}")
    return " ".join([*parts, "backup"] if server.backup else parts)


def _parse_compact(address: str, text: str) -> ServerAddress:
    found = _COMPACT.fullmatch(address)
    if found is None:
        raise ValueError(f"{shown(text)} is not a server: {_FORMS}")
    host, first, second = found["host"], found["first"], found["second"]
    if second is not None:
        return ServerAddress(_host(host, text), _port(first, text), None, _weight(second, text))
    if first is None:
        return ServerAddress(_host(host, text))
    return ServerAddress(_host(host, text), weight=_weight(first, text, f"{host}:{first}:1"))


def _parse_url(address: str, text: str) -> ServerAddress:
    found = _URL.fullmatch(address)
    if found is None:
        raise ValueError(f"{shown(text)} is not a server: {_FORMS}")
    port = None if found["port"] is None else _port(found["port"], text)
    return ServerAddress(_host(found["host"], text), port, found["scheme"].lower())


def _with(server: ServerAddress, name: str, value: str | None, text: str) -> ServerAddress:
    """The server with what stands behind its address."""
    if name == "backup" and value is None:
        return server._replace(backup=True)
    if name == "weight" and value is not None and server.scheme is not None:
        return server._replace(weight=_weight(value, text))
    if name == "max_connections" and value is not None:
        return server._replace(max_connections=_limit(value, text))
    if name == "weight":
        raise ValueError(f"a weight at the wrong place in {shown(text)}: {_FORMS}")
    raise ValueError(
        f"{shown(name)} in {shown(text)} is not known: {_FORMS}, with {_OPTIONS} behind it"
    )


def _host(host: str, text: str) -> str:
    try:
        return normal_host(host)
    except ValueError as error:
        raise ValueError(f"the host in {shown(text)} {error}") from None


def _port(digits: str, text: str) -> int:
    port = whole_number(digits)
    if not 1 <= port <= 65535:
        raise ValueError(
            f"port {one_line(digits)} in {shown(text)} is out of range: use one from 1 to 65535"
        )
    return port


def _limit(digits: str, text: str) -> int:
    if re.fullmatch(r"[0-9]{1,7}", digits) is None or int(digits) > MAX_CONNECTIONS:
        raise ValueError(
            f"max_connections in {shown(text)} is not right: use 0 (any) to {MAX_CONNECTIONS}"
        )
    return int(digits)


def _weight(digits: str, text: str, hint: str = "") -> int:
    """The weight; a number that looks like a port gets the form with a port as its hint."""
    if re.fullmatch(r"[+-]?[0-9]+", digits) is None:
        raise ValueError(
            f"weight {shown(digits)} in {shown(text)} is not a whole number: use 1 to 1000"
        )
    weight = whole_number(digits)
    if 1 <= weight <= MAX_WEIGHT:
        return weight
    cure = f"use one from 1 to {MAX_WEIGHT}"
    if hint and MAX_WEIGHT < weight <= 65535:
        cure += f"; if {digits} is a port, write {hint}"
    raise ValueError(f"weight {one_line(digits)} in {shown(text)} is out of range: {cure}")
