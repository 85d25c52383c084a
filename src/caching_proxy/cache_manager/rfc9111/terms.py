"""What a response and its request say about storing, whatever the time (RFC 9111 3).

What depends on times is in storable.py: the terms are the same for many responses, and can be
remembered.
"""

from __future__ import annotations

from dataclasses import dataclass

from caching_proxy.cache_manager.rfc9111.directives import (
    NO_DIRECTIVES,
    Directives,
    parse_cache_control,
)
from caching_proxy.cache_manager.rfc9111.freshness import (
    Lifetime,
    LifetimeSource,
    TimeToLive,
    stated_lifetime,
)
from caching_proxy.cache_manager.rfc9111.rules import Rules
from caching_proxy.cache_manager.rfc9111.targeted import targeted_directives
from caching_proxy.cache_manager.rfc9111.validation import unstored_fields
from caching_proxy.cache_manager.rfc9111.vary import selecting_names
from caching_proxy.cache_manager.rfc9111.verdict import Verdict
from caching_proxy.http.ranges import parse_content_range
from caching_proxy.http.section import FieldSection

# Answers to something in the request that is not in the cache key: Range, Expect, preconditions,
# credentials for a proxy; and those that RFC 6585 forbids to store.
_NEVER_STORED = frozenset({304, 407, 412, 416, 417, 428, 429, 431, 511})

# Final statuses of RFC 9110 whose caching rules are kept here (must-understand, RFC 9111 5.2.2.3).
_UNDERSTOOD = frozenset(
    {
        *(200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 307, 308),
        *(400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 421, 422, 426),
        *(500, 501, 502, 503, 504, 505),
    }
)

# RFC 9110 9.3.3: responses to these are stored only where the origin states their freshness.
_UNSAFE = frozenset({b"POST", b"PUT"})

# Without these a stored response would be taken for something else.
_INSEPARABLE = frozenset({b"vary", b"content-type", b"content-encoding", b"content-range"})


class NotStorable(Verdict):
    """Why a response is not stored; `token` is for the detail of Cache-Status."""

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
    TAGS = b"too-many-tags"

    def __init__(self, token: bytes) -> None:
        self.token = token


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a response may be stored; all times are whole seconds.

    `unsafe`: its method is one whose responses are stored only where the origin states a lifetime.
    `stated` is the lifetime that directives state; without one Expires counts where
    `heeds_expires`. The operator's `imposed` goes before what the origin states, `granted` holds
    where it states nothing. `origin_no_cache` is what the origin says, `no_cache` what counts;
    `origin_windows` are the stale ones that the origin grants, the two before those that count, as
    Storable has them. `excluded` are names of fields that are not stored; `sets_cookie`: Set-Cookie
    is stored.
    """

    status: int
    public: bool
    ttl: TimeToLive
    unsafe: bool
    stated: Lifetime | None
    heeds_expires: bool
    imposed: Lifetime | None
    granted: Lifetime | None
    origin_no_cache: bool
    no_cache: bool
    must_revalidate: bool
    stale_while_revalidate: int
    stale_if_error: int
    origin_windows: tuple[int, int]
    excluded: frozenset[bytes]
    sets_cookie: bool
    asked_with_cookie: bool


def terms_of(
    method: bytes, request: FieldSection, status: int, response: FieldSection, rules: Rules
) -> Terms | NotStorable:
    """The terms of a response to `request`, the cheap and frequent refusals first.

    It depends on the method and status, on what `rules` are, on the fields Cache-Control, Vary,
    Connection, Content-Type (where the rules are by type, or in a 206), Content-Range (in a 206)
    and the targeted ones of the response, on Cache-Control of the request, and on whether there is
    Set-Cookie in the response, and Cookie and Authorization in the request; on nothing else.
    """
    if method not in rules.methods:
        return NotStorable.METHOD
    targeted: Directives | None = NO_DIRECTIVES
    if rules.obeys_origin:
        targeted = targeted_directives(map(response.combined, rules.targets))
    directives = targeted or parse_cache_control(response.combined(b"cache-control"))
    refusal = (
        _refused_by_directives(directives, status)
        or _refused_by_status(method, status, response)
        or _refused_by_request(request, directives, rules.obeys_requests)
    )
    if refusal is not None:
        return refusal
    if selecting_names(response.combined(b"vary")) is None:
        return NotStorable.VARY
    return _describe(method, request, status, response, rules, directives, targeted is None)


def _is_one_part(response: FieldSection) -> bool:
    """Whether a 206 holds one range of a representation of known length (RFC 9110 15.3.7.1)."""
    content_type = response.combined(b"content-type") or b""
    value = response.combined(b"content-range")
    if value is None or content_type.lower().startswith(b"multipart/byteranges"):
        return False
    part = parse_content_range(value)
    return part is not None and part.length is not None


def _refused_by_directives(directives: Directives, status: int) -> NotStorable | None:
    if directives.must_understand:
        if status not in _UNDERSTOOD:
            return NotStorable.NOT_UNDERSTOOD
    elif directives.no_store:
        return NotStorable.NO_STORE
    if directives.private or directives.private_fields & _INSEPARABLE:
        return NotStorable.PRIVATE
    return NotStorable.NO_CACHE if directives.no_cache_fields & _INSEPARABLE else None


def _refused_by_status(method: bytes, status: int, response: FieldSection) -> NotStorable | None:
    if status == 206 and not (method == b"GET" and _is_one_part(response)):
        return NotStorable.PARTIAL
    return NotStorable.STATUS if status < 200 or status in _NEVER_STORED else None


def _refused_by_request(
    request: FieldSection, directives: Directives, obeys: bool
) -> NotStorable | None:
    if obeys and parse_cache_control(request.combined(b"cache-control")).no_store:
        return NotStorable.REQUEST_NO_STORE
    if request.combined(b"authorization") is None:
        return None
    # RFC 9111 3.5
    shared = directives.public or directives.must_revalidate or directives.s_maxage is not None
    return None if shared else NotStorable.AUTHORIZATION


def _describe(
    method: bytes,
    request: FieldSection,
    status: int,
    response: FieldSection,
    rules: Rules,
    directives: Directives,
    heeds_expires: bool,
) -> Terms:
    content_type = response.combined(b"content-type") if rules.by_response else None
    given = rules.lifetimes_of(status, content_type)
    no_cache = directives.no_cache and given.override is None
    excluded = unstored_fields(response.combined(b"connection"))
    if directives.private_fields or directives.no_cache_fields:
        excluded |= directives.private_fields | directives.no_cache_fields
    return Terms(
        status=status,
        public=directives.public,
        ttl=rules.ttl,
        unsafe=method in _UNSAFE,
        stated=stated_lifetime(directives),
        heeds_expires=heeds_expires,
        imposed=_lifetime(given.override, LifetimeSource.OVERRIDE_TTL),
        granted=_lifetime(given.ttl, LifetimeSource.ROUTE_TTL),
        origin_no_cache=directives.no_cache,
        no_cache=no_cache,
        must_revalidate=(
            directives.must_revalidate
            or directives.proxy_revalidate
            or no_cache
            or directives.s_maxage is not None  # RFC 9111 5.2.2.10
        ),
        stale_while_revalidate=_first(
            directives.stale_while_revalidate, given.stale_while_revalidate, 0
        ),
        stale_if_error=_first(directives.stale_if_error, given.stale_if_error, -1),
        origin_windows=(directives.stale_while_revalidate or 0, directives.stale_if_error or 0),
        excluded=excluded,
        sets_cookie=response.combined(b"set-cookie") is not None and b"set-cookie" not in excluded,
        asked_with_cookie=request.combined(b"cookie") is not None,
    )


def _lifetime(seconds: int | None, source: LifetimeSource) -> Lifetime | None:
    return None if seconds is None else Lifetime(seconds, source)


def _first(stated: int | None, given: int | None, default: int) -> int:
    if stated is not None:
        return stated
    return default if given is None else given
