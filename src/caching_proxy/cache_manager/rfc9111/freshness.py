"""How long a response stays fresh, and how old it is on arrival (RFC 9111 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from caching_proxy.cache_manager.rfc9111.directives import (
    FOREVER,
    Directives,
    parse_delta_seconds,
)
from caching_proxy.cache_manager.rfc9111.verdict import Verdict
from caching_proxy.http.dates import parse_http_date
from caching_proxy.http.section import FieldSection

HEURISTICALLY_CACHEABLE = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""RFC 9110 15.1."""

_NEGATIVE = frozenset({404, 405, 410, 414, 501})
_HEURISTIC_DIVISOR = 10  # RFC 9111 4.2.2: 10% of the time since the last modification


@dataclass(frozen=True, slots=True)
class TimeToLive:
    """Lifetimes in whole seconds for responses that do not state their own.

    With `positive` 0 neither is used and the heuristic of RFC 9111 4.2.2 applies.
    """

    positive: int
    negative: int


class LifetimeSource(Verdict):
    """What a freshness lifetime rests on."""

    S_MAXAGE = b"s-maxage"
    MAX_AGE = b"max-age"
    EXPIRES = b"expires"
    OVERRIDE_TTL = b"override-ttl"
    ROUTE_TTL = b"ttl"
    CACHE_TTL = b"cache-ttl"
    NEGATIVE_TTL = b"negative-ttl"
    HEURISTIC = b"heuristic"
    NONE = b"none"
    """Nothing states or gives one: 0."""


class Lifetime(NamedTuple):
    """A freshness lifetime in whole seconds, 0 to FOREVER, and what it rests on."""

    seconds: int
    source: LifetimeSource


def response_date(response: FieldSection, received_at: int) -> int:
    """When the response was originated: its Date, or the time of receipt (RFC 9110 6.6.1)."""
    value = response.combined(b"date")
    date = None if value is None else parse_http_date(value, received_at)
    return received_at if date is None else date


def stated_lifetime(directives: Directives) -> Lifetime | None:
    """The lifetime that directives state, None when they state none (RFC 9111 4.2.1)."""
    if directives.s_maxage is not None:
        return Lifetime(directives.s_maxage, LifetimeSource.S_MAXAGE)
    if directives.max_age is not None:
        return Lifetime(directives.max_age, LifetimeSource.MAX_AGE)
    return None


def expires_lifetime(expires: bytes | None, date: int, received_at: int) -> Lifetime | None:
    """The lifetime that a combined Expires value states, None without one (RFC 9111 4.2.1).

    An invalid one, several lines among them, means already expired (RFC 9111 5.3).
    """
    if expires is None:
        return None
    expiry = parse_http_date(expires, received_at)
    return Lifetime(0 if expiry is None else _bounded(expiry - date), LifetimeSource.EXPIRES)


def assigned_lifetime(
    status: int, public: bool, last_modified: bytes | None, date: int, ttl: TimeToLive
) -> Lifetime | None:
    """The lifetime of a response that states none, None when it gets none.

    The configured ones, or with `ttl.positive` 0 the heuristic of RFC 9111 4.2.2; `public` makes
    any status heuristically cacheable (RFC 9111 5.2.2.9).
    """
    cacheable = status in HEURISTICALLY_CACHEABLE
    if ttl.positive > 0:
        if status in _NEGATIVE:
            return Lifetime(_bounded(ttl.negative), LifetimeSource.NEGATIVE_TTL)
        return Lifetime(_bounded(ttl.positive), LifetimeSource.CACHE_TTL) if cacheable else None
    if last_modified is None or not (cacheable or public):
        return None
    modified = parse_http_date(last_modified, date)
    if modified is None:
        return None
    return Lifetime(_bounded((date - modified) // _HEURISTIC_DIVISOR), LifetimeSource.HEURISTIC)


def initial_age(response: FieldSection, date: int, requested_at: int, received_at: int) -> int:
    """The age on arrival, corrected_initial_age of RFC 9111 4.2.3, at most FOREVER.

    Of several Age lines the first counts; an invalid one makes the response stale (RFC 9111 5.1).
    """
    age_value = 0
    if response.combined(b"age") is not None:
        parsed = parse_delta_seconds(response.values(b"age")[0])
        if parsed is None:
            return FOREVER
        age_value = parsed
    apparent_age = received_at - date
    corrected_age = age_value + received_at - requested_at
    return _bounded(apparent_age if apparent_age > corrected_age else corrected_age)


def _bounded(seconds: int) -> int:
    if seconds < 0:
        return 0
    return seconds if seconds < FOREVER else FOREVER
