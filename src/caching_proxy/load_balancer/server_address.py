"""One upstream server as `--servers` names it."""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT_WEIGHT = 1
MAX_WEIGHT = 1000

_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_COMPACT = re.compile(
    rf"(?P<host>{_HOST})(?::(?P<first>[+-]?[0-9]+))?(?::(?P<second>[+-]?[0-9]+))?", re.ASCII
)
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>[0-9]+))?/?(?:\s+weight=(?P<weight>\S+))?",
    re.ASCII | re.IGNORECASE,
)
_FORMS = "write HOST:WEIGHT, HOST:PORT:WEIGHT or 'http://HOST:PORT weight=5'"


class ServerAddress(NamedTuple):
    """An upstream server; a scheme or port of None is the origin's.

    `host` is in lower case and without the brackets of an IPv6 address.
    """

    host: str
    port: int | None = None
    scheme: str | None = None
    weight: int = DEFAULT_WEIGHT


def parse_server(text: str) -> ServerAddress:
    """Read one value of `--servers`; ValueError (cause and cure in one line) when it is none.

    >>> parse_server("localhost:9001:5")
    ServerAddress(host='localhost', port=9001, scheme=None, weight=5)
    """
    stripped = text.strip()
    if "://" in stripped:
        return _parse_url(stripped)
    found = _COMPACT.fullmatch(stripped)
    if found is None:
        raise ValueError(f"{text!r} is not a server: {_FORMS}")
    host, first, second = found["host"], found["first"], found["second"]
    if second is not None:
        return ServerAddress(_host(host), _port(first, text), None, _weight(second, text))
    if first is None:
        return ServerAddress(_host(host))
    return ServerAddress(_host(host), weight=_weight(first, text, hint=f"{host}:{first}:1"))


def _parse_url(text: str) -> ServerAddress:
    found = _URL.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a server: {_FORMS}")
    port = None if found["port"] is None else _port(found["port"], text)
    weight = DEFAULT_WEIGHT if found["weight"] is None else _weight(found["weight"], text)
    return ServerAddress(_host(found["host"]), port, found["scheme"].lower(), weight)


def _host(host: str) -> str:
    return host.strip("[]").lower()


def _port(digits: str, text: str) -> int:
    port = int(digits)
    if not 1 <= port <= 65535:
        raise ValueError(f"port {digits} in {text!r} is out of range: use one from 1 to 65535")
    return port


def _weight(digits: str, text: str, hint: str = "") -> int:
    """The weight; a number that looks like a port gets the form with a port as its hint."""
    if re.fullmatch(r"[+-]?[0-9]+", digits) is None:
        raise ValueError(f"weight {digits!r} in {text!r} is not a whole number: use 1 to 1000")
    weight = int(digits)
    if 1 <= weight <= MAX_WEIGHT:
        return weight
    cure = f"use one from 1 to {MAX_WEIGHT}"
    if hint and MAX_WEIGHT < weight <= 65535:
        cure += f"; if {digits} is a port, write {hint}"
    raise ValueError(f"weight {digits} in {text!r} is out of range: {cure}")
