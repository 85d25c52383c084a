"""Whether a response may be stored by this shared cache (RFC 9111 3)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from caching_proxy.cache_manager.rfc9111.directives import Directives, parse_cache_control
from caching_proxy.cache_manager.rfc9111.freshness import (
    Lifetime,
    LifetimeSource,
    TimeToLive,
    assigned_lifetime,
    explicit_lifetime,
    initial_age,
    response_date,
)
from caching_proxy.cache_manager.rfc9111.targeted import targeted_directives
from caching_proxy.http.memo import memoised
from caching_proxy.http.section import FieldSection

KEYED_FIELDS = frozenset({b"accept", b"accept-encoding", b"accept-language"})
"""Request fields that are part of every cache key, so that `Vary` may name them."""

# Answers to something in the request that is not in the cache key: Range, Expect, preconditions,
# credentials for a proxy; and those that RFC 6585 forbids to store.
_NEVER_STORED = frozenset({304, 407, 412, 416, 417, 428, 429, 431, 511})

# Final statuses of RFC 9110 whose caching rules are kept here (must-understand, RFC 9111 5.2.2.3).
_UNDERSTOOD = frozenset(
    {
        *(200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308),
        *(400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 421, 422, 426),
        *(500, 501, 502, 503, 504, 505),
    }
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decides about storing.

    `targets`: the targeted fields to obey, names in lower case, most applicable first (RFC 9213).
    """

    ttl: TimeToLive
    targets: tuple[bytes, ...] = (b"cdn-cache-control",)


class Storable(NamedTuple):
    """A response that may be stored and is fresh on arrival; all times are whole seconds.

    Its current age is `age` plus the time since receipt; it is fresh while that is below
    `lifetime`. `date` is Date or the time of receipt; `must_revalidate`: never to be served stale.
    """

    lifetime: int
    source: LifetimeSource
    age: int
    date: int
    must_revalidate: bool


class NotStorable(enum.Enum):
    """Why a response is not stored; the value is a token for the detail of Cache-Status."""

    METHOD = b"method"
    STATUS = b"status"
    PARTIAL = b"partial"
    NO_STORE = b"no-store"
    NOT_UNDERSTOOD = b"must-understand"
    REQUEST_NO_STORE = b"request-no-store"
    PRIVATE = b"private"
    NO_CACHE = b"no-cache"
    AUTHORIZATION = b"authorization"
    VARY = b"vary"
    COOKIE = b"cookie"
    SET_COOKIE = b"set-cookie"
    NO_LIFETIME = b"no-lifetime"
    STALE = b"stale"


def judge_storing(
    method: bytes,
    request: FieldSection,
    status: int,
    response: FieldSection,
    rules: Rules,
    requested_at: int,
    received_at: int,
) -> Storable | NotStorable:
    """The verdict on a complete response to `request`, the cheap and frequent refusals first.

    `requested_at` is when the request was sent upstream, `received_at` when the response head came,
    both in seconds since 1970.
    """
    if method != b"GET":
        return NotStorable.METHOD
    targeted = targeted_directives(response, rules.targets)
    directives = (
        parse_cache_control(response.combined(b"cache-control")) if targeted is None else targeted
    )
    refusal = (
        _refused_by_directives(directives, status)
        or _refused_by_status(status)
        or _refused_by_request(request, directives)
        or _refused_by_vary(response)
    )
    if refusal is not None:
        return refusal

    date = response_date(response, received_at)
    expires = response.combined(b"expires") if targeted is None else None
    lifetime = explicit_lifetime(directives, expires, date, received_at) or _unstated_lifetime(
        request, status, response, directives, date, rules.ttl
    )
    if not isinstance(lifetime, Lifetime):
        return lifetime
    age = initial_age(response, date, requested_at, received_at)
    if age >= lifetime.seconds:
        return NotStorable.STALE
    must_revalidate = (
        directives.must_revalidate
        or directives.proxy_revalidate
        or directives.s_maxage is not None  # RFC 9111 5.2.2.10
    )
    return Storable(lifetime.seconds, lifetime.source, age, date, must_revalidate)


def _refused_by_directives(directives: Directives, status: int) -> NotStorable | None:
    if directives.must_understand:
        if status not in _UNDERSTOOD:
            return NotStorable.NOT_UNDERSTOOD
    elif directives.no_store:
        return NotStorable.NO_STORE
    if directives.private:
        return NotStorable.PRIVATE
    return NotStorable.NO_CACHE if directives.no_cache else None


def _refused_by_status(status: int) -> NotStorable | None:
    if status == 206:
        return NotStorable.PARTIAL
    return NotStorable.STATUS if status < 200 or status in _NEVER_STORED else None


def _refused_by_request(request: FieldSection, directives: Directives) -> NotStorable | None:
    if parse_cache_control(request.combined(b"cache-control")).no_store:
        return NotStorable.REQUEST_NO_STORE
    if request.combined(b"authorization") is None:
        return None
    # RFC 9111 3.5
    shared = directives.public or directives.must_revalidate or directives.s_maxage is not None
    return None if shared else NotStorable.AUTHORIZATION


def _refused_by_vary(response: FieldSection) -> NotStorable | None:
    vary = response.combined(b"vary")
    return None if vary is None or _varies_by_key(vary) else NotStorable.VARY


@memoised
def _varies_by_key(vary: bytes) -> bool:
    names = (name.strip(b" \t").lower() for name in vary.split(b","))
    return all(name in KEYED_FIELDS for name in names if name)


def _unstated_lifetime(
    request: FieldSection,
    status: int,
    response: FieldSection,
    directives: Directives,
    date: int,
    ttl: TimeToLive,
) -> Lifetime | NotStorable:
    """What the configuration gives; nothing with cookies, which hint at an answer for one user."""
    if response.combined(b"set-cookie") is not None:
        return NotStorable.SET_COOKIE
    if request.combined(b"cookie") is not None:
        return NotStorable.COOKIE
    lifetime = assigned_lifetime(
        status, directives.public, response.combined(b"last-modified"), date, ttl
    )
    return NotStorable.NO_LIFETIME if lifetime is None else lifetime
