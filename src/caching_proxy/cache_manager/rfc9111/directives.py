"""The directives of Cache-Control (RFC 9111 5.2), of requests and of responses alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from caching_proxy.http.memo import memoised
from caching_proxy.http.section import FieldSection

FOREVER = 2**31  # seconds; RFC 9111 1.3: what greater numbers count as

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEMBER = re.compile(
    rb"(" + _TOKEN + rb")(?:=(?:(" + _TOKEN + rb')|"((?:[^"\\]|\\.)*)"))?[ \t]*(?:,[ \t,]*|\Z)'
    # or, outside the grammar, what can be read of it up to the next comma
    rb"|(" + _TOKEN + rb")?[^,]*[ \t,]*",
    re.DOTALL,
)
_FIELD_NAME = re.compile(_TOKEN)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)

_FLAGS = frozenset(
    {
        *(b"no-store", b"public", b"must-revalidate", b"proxy-revalidate"),
        *(b"must-understand", b"only-if-cached", b"immutable"),
    }
)
QUALIFIED = frozenset({b"no-cache", b"private"})
"""Directives whose argument, if they have one, is a list of field names."""
_DURATIONS = frozenset(
    {
        *(b"max-age", b"s-maxage", b"max-stale", b"min-fresh"),
        *(b"stale-while-revalidate", b"stale-if-error"),
    }
)


@dataclass(frozen=True, slots=True)
class Directives:
    """What one field asks for; durations are whole seconds, at most FOREVER.

    `no_cache` and `private` stand for the unqualified forms; the field names of the qualified ones
    (RFC 9111 5.2.2.4, 5.2.2.7) are in `no_cache_fields` and `private_fields`, in lower case.
    `immutable` changes nothing in a cache that asks for a fresh response only when the client
    wants it to (RFC 8246 2.1).
    """

    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    s_maxage: int | None = None
    max_stale: int | None = None
    min_fresh: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    immutable: bool = False
    no_cache_fields: frozenset[bytes] = frozenset()
    private_fields: frozenset[bytes] = frozenset()


NO_DIRECTIVES = Directives()
_PRAGMA_NO_CACHE = Directives(no_cache=True)


def parse_cache_control(value: bytes | None) -> Directives:
    """The directives of a combined Cache-Control value (None: there is no such field).

    Of contradicting durations the most restrictive one holds; one that is not a number of seconds
    counts as 0 (RFC 9111 4.2.1). An argument of no-cache or private that is not a list of field
    names counts as none. What is outside the grammar ends at the next comma, and what can be read
    of it holds; unknown directives are ignored. Never raises.
    """
    return NO_DIRECTIVES if value is None else _parse(value)


def request_directives(request: FieldSection) -> Directives:
    """The directives of a request; `Pragma: no-cache` counts where Cache-Control is absent.

    RFC 9111 5.4 deprecates Pragma; HTTP/1.0 clients and reload buttons still send it.
    """
    value = request.combined(b"cache-control")
    if value is not None:
        return _parse_request(value)
    pragma = request.combined(b"pragma")
    if pragma is not None and _parse_request(pragma).no_cache:
        return _PRAGMA_NO_CACHE
    return NO_DIRECTIVES


@memoised
def _parse_request(value: bytes) -> Directives:
    """No-cache has no argument in requests (RFC 9111 5.2.1.4); one that is there is ignored."""
    directives = _parse(value)
    return replace(directives, no_cache=True) if directives.no_cache_fields else directives


@memoised
def _parse(value: bytes) -> Directives:
    return collect_directives(_members(value))


def _members(value: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    for found in _MEMBER.finditer(value.lstrip(b" \t,")):
        name, token, quoted, malformed = found.groups()
        if name is not None:
            yield name.lower(), quoted if token is None else token
        elif malformed is not None:
            yield malformed.lower(), b""


def collect_directives(members: Iterable[tuple[bytes, bytes | None]]) -> Directives:
    """Directives from names in lower case and their arguments (None: without)."""
    found: dict[str, Any] = {}
    qualified: dict[str, set[bytes]] = {}
    for name, argument in members:
        attribute = name.decode().replace("-", "_")
        if name in _FLAGS:
            found[attribute] = True
        elif name in QUALIFIED:
            fields = _field_names(argument)
            if fields:
                qualified.setdefault(attribute + "_fields", set()).update(fields)
            else:
                found[attribute] = True
        elif name in _DURATIONS:
            seconds = _duration(name, argument)
            stricter = max if name == b"min-fresh" else min
            found[attribute] = stricter(seconds, found.get(attribute, seconds))
    found.update((attribute, frozenset(fields)) for attribute, fields in qualified.items())
    return Directives(**found) if found else NO_DIRECTIVES


def _field_names(argument: bytes | None) -> set[bytes]:
    """The field names listed, in lower case; none where anything else is listed as well."""
    if argument is None:
        return set()
    members = _QUOTED_PAIR.sub(rb"\1", argument).lower().split(b",")
    names = {name for member in members if (name := member.strip(b" \t"))}
    return names if all(_FIELD_NAME.fullmatch(name) for name in names) else set()


def _duration(name: bytes, argument: bytes | None) -> int:
    if argument is None:
        return FOREVER if name == b"max-stale" else 0
    seconds = parse_delta_seconds(argument)
    return 0 if seconds is None else seconds


def parse_delta_seconds(value: bytes) -> int | None:
    """A delta-seconds (RFC 9111 1.3), at most FOREVER; None when `value` is not made of digits."""
    if not value.isdigit():
        return None
    digits = value.lstrip(b"0")
    return FOREVER if len(digits) > 10 else min(int(digits or b"0"), FOREVER)
