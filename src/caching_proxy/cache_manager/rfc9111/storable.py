"""Whether a response may be stored by this shared cache (RFC 9111 3)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import NamedTuple

from caching_proxy.cache_manager.rfc9111.directives import (
    NO_DIRECTIVES,
    Directives,
    parse_cache_control,
)
from caching_proxy.cache_manager.rfc9111.freshness import (
    HEURISTICALLY_CACHEABLE,
    Lifetime,
    LifetimeSource,
    TimeToLive,
    assigned_lifetime,
    explicit_lifetime,
    initial_age,
    response_date,
)
from caching_proxy.cache_manager.rfc9111.targeted import targeted_directives
from caching_proxy.cache_manager.rfc9111.validation import can_validate, unstored_fields
from caching_proxy.cache_manager.rfc9111.vary import selecting_names
from caching_proxy.http.ranges import parse_content_range, strong_validator
from caching_proxy.http.section import FieldSection

# RFC 9110 9.3.3: responses to these are stored only where the origin states their freshness.
_UNSAFE = frozenset({b"POST", b"PUT"})
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

# Without these a stored response would be taken for something else.
_INSEPARABLE = frozenset({b"vary", b"content-type", b"content-encoding", b"content-range"})
_NO_LIFETIME = Lifetime(0, LifetimeSource.NONE)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """What the operator decides about some responses; all times are whole seconds.

    `override` goes before what the origin states, `ttl` holds where it states nothing, and so do
    the two windows; None leaves it to what holds for all.
    """

    override: int | None = None
    ttl: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None


@dataclass(frozen=True, slots=True)
class ResponseRule:
    """Lifetimes of the responses that have one of the statuses and one of the media types.

    None stands for any. A type ends in `/` where any subtype will do.
    """

    statuses: frozenset[int] | None
    types: tuple[bytes, ...] | None
    lifetimes: Lifetimes

    def fits(self, status: int, content_type: bytes | None) -> bool:
        """Whether it is for this response."""
        if self.statuses is not None and status not in self.statuses:
            return False
        if self.types is None:
            return True
        kind = (content_type or b"").partition(b";")[0].strip(b" \t").lower()
        return any(kind.startswith(t) if t.endswith(b"/") else kind == t for t in self.types)


_AS_FOR_ALL = Lifetimes()


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decides about storing.

    `targets`: the targeted fields to obey, names in lower case, most applicable first (RFC 9213).
    `methods`: those whose responses are stored; content of the request has to be in the cache key.
    `obeys_requests`: no-store of a request counts. `obeys_origin`: Cache-Control, Expires and
    targeted fields of the response count. `lifetimes` are those of all responses that none of
    `by_response` is for; of these the first that fits counts.
    """

    ttl: TimeToLive
    targets: tuple[bytes, ...] = (b"cdn-cache-control",)
    methods: frozenset[bytes] = frozenset({b"GET"})
    obeys_requests: bool = True
    obeys_origin: bool = True
    lifetimes: Lifetimes = _AS_FOR_ALL
    by_response: tuple[ResponseRule, ...] = ()

    def lifetimes_of(self, status: int, response: FieldSection) -> Lifetimes:
        """What the operator decides about this response."""
        content_type = response.combined(b"content-type") if self.by_response else None
        for rule in self.by_response:
            if rule.fits(status, content_type):
                return rule.lifetimes
        return self.lifetimes


class Storable(NamedTuple):
    """A response that may be stored; all times are whole seconds.

    Its current age is `age` plus the time since receipt; it is fresh while that is below
    `lifetime`, which may be so from the start or never. `date` is Date or the time of receipt.
    `must_revalidate`: never to be served stale; `no_cache`: to be validated before every use.
    `stale_while_revalidate` and `stale_if_error` are how long the origin lets it be served stale:
    0 not at all, -1 (stale_if_error) where it says nothing. `excluded`: names, in lower case, of
    fields that are not to be stored.
    """

    lifetime: int
    source: LifetimeSource
    age: int
    date: int
    must_revalidate: bool
    no_cache: bool
    stale_while_revalidate: int
    stale_if_error: int
    excluded: frozenset[bytes]


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
    TAGS = b"too-many-tags"


OF_THE_REQUEST = frozenset(
    {NotStorable.AUTHORIZATION, NotStorable.COOKIE, NotStorable.REQUEST_NO_STORE}
)
"""Reasons that say nothing of the response itself, nor of what is stored."""


def judge_storing(
    method: bytes,
    request: FieldSection,
    status: int,
    response: FieldSection,
    rules: Rules,
    requested_at: int,
    received_at: int,
) -> Storable | NotStorable:
    """The verdict on a response to `request`, the cheap and frequent refusals first.

    What is not fresh, or is to be validated before every use, is stored if it can be validated or
    if the origin lets it be served stale. A part (206) is judged like the whole; that its content
    is as long as Content-Range says is for the caller to see. `requested_at` is when the request
    was sent upstream, `received_at` when the response head came, both in seconds since 1970.
    """
    if method not in rules.methods:
        return NotStorable.METHOD
    targeted = targeted_directives(response, rules.targets) if rules.obeys_origin else NO_DIRECTIVES
    directives = (
        parse_cache_control(response.combined(b"cache-control")) if targeted is None else targeted
    )
    refusal = (
        _refused_by_directives(directives, status)
        or _refused_by_status(method, status, response)
        or _refused_by_request(request, directives, rules.obeys_requests)
        or _refused_by_vary(response)
    )
    if refusal is not None:
        return refusal

    date = response_date(response, received_at)
    given = rules.lifetimes_of(status, response)
    expires = response.combined(b"expires") if targeted is None else None
    stated = explicit_lifetime(directives, expires, date, received_at)
    if stated is None and method in _UNSAFE:
        return NotStorable.NO_LIFETIME
    age = initial_age(response, date, requested_at, received_at)
    lasting = stated is not None and age < stated.seconds and not directives.no_cache
    if given.override is not None:
        stated = Lifetime(given.override, LifetimeSource.OVERRIDE_TTL)
        directives = replace(directives, no_cache=False)
    lifetime = (
        stated
        or _given_lifetime(given)
        or assigned_lifetime(
            status, directives.public, response.combined(b"last-modified"), date, rules.ttl
        )
    )
    found = _describe(directives, lifetime or _NO_LIFETIME, age, date, response, given)
    if lifetime is None and not (directives.public or status in HEURISTICALLY_CACHEABLE):
        return _reason(found)  # RFC 9111 3 does not let it be stored, validator or not
    return (
        _refused_by_cookies(request, response, lasting, stated is not None, found)
        or _refused_by_validators(status, response, found, received_at)
        or _guarded(request, directives, found)
    )


def _given_lifetime(given: Lifetimes) -> Lifetime | None:
    return None if given.ttl is None else Lifetime(given.ttl, LifetimeSource.ROUTE_TTL)


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


def _is_one_part(response: FieldSection) -> bool:
    """Whether a 206 holds one range of a representation of known length (RFC 9110 15.3.7.1)."""
    content_type = response.combined(b"content-type") or b""
    value = response.combined(b"content-range")
    if value is None or content_type.lower().startswith(b"multipart/byteranges"):
        return False
    part = parse_content_range(value)
    return part is not None and part.length is not None


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


def _refused_by_vary(response: FieldSection) -> NotStorable | None:
    return NotStorable.VARY if selecting_names(response.combined(b"vary")) is None else None


def _describe(
    directives: Directives,
    lifetime: Lifetime,
    age: int,
    date: int,
    response: FieldSection,
    given: Lifetimes,
) -> Storable:
    never_stale = (
        directives.must_revalidate
        or directives.proxy_revalidate
        or directives.no_cache
        or directives.s_maxage is not None  # RFC 9111 5.2.2.10
    )
    revalidating = directives.stale_while_revalidate
    if revalidating is None:
        revalidating = given.stale_while_revalidate
    if_error = directives.stale_if_error
    if if_error is None:
        if_error = given.stale_if_error
    excluded = unstored_fields(response.combined(b"connection"))
    if directives.private_fields or directives.no_cache_fields:
        excluded |= directives.private_fields | directives.no_cache_fields
    return Storable(
        lifetime.seconds,
        lifetime.source,
        age,
        date,
        must_revalidate=never_stale,
        no_cache=directives.no_cache,
        stale_while_revalidate=revalidating or 0,
        stale_if_error=-1 if if_error is None else if_error,
        excluded=excluded,
    )


def _usable_unasked(found: Storable) -> bool:
    """Whether it may be used for a time without asking the origin."""
    return found.age < found.lifetime and not found.no_cache


def _usable_stale(found: Storable) -> bool:
    """Whether the origin lets it be served stale as it is, for a time."""
    granted = max(found.stale_while_revalidate, found.stale_if_error)
    return not found.must_revalidate and found.age - found.lifetime < granted


def _refused_by_cookies(
    request: FieldSection,
    response: FieldSection,
    lasting: bool,
    stated: bool,
    found: Storable,
) -> NotStorable | None:
    """Cookies hint at an answer for one user.

    Of one that is set only the origin can say that it is for everybody, for a time (`lasting`); of
    an answer to a request with one, the operator may as well (`stated`).
    """
    sets = response.combined(b"set-cookie") is not None and b"set-cookie" not in found.excluded
    if sets and not lasting:
        return NotStorable.SET_COOKIE  # a 304 would not take a stored cookie back
    if request.combined(b"cookie") is not None and not (stated or found.no_cache):
        return NotStorable.COOKIE
    return None


def _refused_by_validators(
    status: int, response: FieldSection, found: Storable, received_at: int
) -> NotStorable | None:
    etag, last_modified = [
        None if name in found.excluded else response.combined(name)
        for name in (b"etag", b"last-modified")
    ]
    if status == 206 and strong_validator(etag, last_modified, found.date) is None:
        return NotStorable.PARTIAL
    if _usable_unasked(found) or _usable_stale(found):
        return None
    # RFC 9110 13.2.1: other statuses come whatever the preconditions are
    if status < 300 and can_validate(etag, last_modified, received_at):
        return None
    return _reason(found)


def _guarded(request: FieldSection, directives: Directives, found: Storable) -> Storable:
    """Without the operator's windows where cookies came and nobody may have it unasked."""
    if request.combined(b"cookie") is None or _usable_unasked(found):
        return found
    return found._replace(
        stale_while_revalidate=directives.stale_while_revalidate or 0,
        stale_if_error=directives.stale_if_error or 0,
    )


def _reason(found: Storable) -> NotStorable:
    """Why a response of no use without validation is not stored."""
    if found.no_cache:
        return NotStorable.NO_CACHE
    return NotStorable.NO_LIFETIME if found.source is LifetimeSource.NONE else NotStorable.STALE
