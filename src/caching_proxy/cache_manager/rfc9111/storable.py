"""Whether a response may be stored by this shared cache (RFC 9111 3)."""

from __future__ import annotations

from typing import NamedTuple

from caching_proxy.cache_manager.rfc9111.freshness import (
    HEURISTICALLY_CACHEABLE,
    Lifetime,
    LifetimeSource,
    assigned_lifetime,
    expires_lifetime,
    initial_age,
    response_date,
)
from caching_proxy.cache_manager.rfc9111.rules import Rules
from caching_proxy.cache_manager.rfc9111.terms import NotStorable, Terms, terms_of
from caching_proxy.cache_manager.rfc9111.validation import can_validate
from caching_proxy.http.ranges import strong_validator
from caching_proxy.http.section import FieldSection

_NO_LIFETIME = Lifetime(0, LifetimeSource.NONE)

OF_THE_REQUEST = frozenset(
    {NotStorable.AUTHORIZATION, NotStorable.COOKIE, NotStorable.REQUEST_NO_STORE}
)
"""Reasons that say nothing of the response itself, nor of what is stored."""


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


def judge_storing(
    method: bytes,
    request: FieldSection,
    status: int,
    response: FieldSection,
    rules: Rules,
    requested_at: int,
    received_at: int,
) -> Storable | NotStorable:
    """The verdict on a response to `request`.

    What is not fresh, or is to be validated before every use, is stored if it can be validated or
    if the origin lets it be served stale. A part (206) is judged like the whole; that its content
    is as long as Content-Range says is for the caller to see. `requested_at` is when the request
    was sent upstream, `received_at` when the response head came, both in seconds since 1970.
    """
    terms = terms_of(method, request, status, response, rules)
    return apply_terms(terms, response, requested_at, received_at)


def apply_terms(
    terms: Terms | NotStorable, response: FieldSection, requested_at: int, received_at: int
) -> Storable | NotStorable:
    """The verdict on a response whose terms are known; the times are those of judge_storing."""
    if not isinstance(terms, Terms):
        return terms
    date = response_date(response, received_at)
    stated = terms.stated
    if stated is None and terms.heeds_expires:
        stated = expires_lifetime(response.combined(b"expires"), date, received_at)
    if stated is None and terms.unsafe:
        return NotStorable.NO_LIFETIME
    lifetime = terms.imposed or stated or terms.granted
    if lifetime is None:
        modified = response.combined(b"last-modified")
        lifetime = assigned_lifetime(terms.status, terms.public, modified, date, terms.ttl)
    age = initial_age(response, date, requested_at, received_at)
    found = _describe(terms, lifetime or _NO_LIFETIME, age, date)
    if lifetime is None and not (terms.public or terms.status in HEURISTICALLY_CACHEABLE):
        return _reason(found)  # RFC 9111 3 does not let it be stored, validator or not
    # Cookies hint at an answer for one user. Of one that is set only the origin can say that it is
    # for everybody, for a time; of an answer to a request with one the operator may as well.
    lasting = stated is not None and age < stated.seconds and not terms.origin_no_cache
    if terms.sets_cookie and not lasting:
        return NotStorable.SET_COOKIE  # a 304 would not take a stored cookie back
    if terms.asked_with_cookie and not (terms.imposed or stated or terms.no_cache):
        return NotStorable.COOKIE
    if found.age < found.lifetime and not found.no_cache:
        return _refused_as_part(terms, response, found) or found
    return _refused_by_validators(terms, response, found, received_at) or _guarded(terms, found)


def _describe(terms: Terms, lifetime: Lifetime, age: int, date: int) -> Storable:
    return Storable(
        lifetime.seconds,
        lifetime.source,
        age,
        date,
        terms.must_revalidate,
        terms.no_cache,
        terms.stale_while_revalidate,
        terms.stale_if_error,
        terms.excluded,
    )


def _usable_stale(found: Storable) -> bool:
    """Whether the origin lets it be served stale as it is, for a time."""
    granted = max(found.stale_while_revalidate, found.stale_if_error)
    return not found.must_revalidate and found.age - found.lifetime < granted


def _validators(response: FieldSection, found: Storable) -> tuple[bytes | None, bytes | None]:
    """The entity tag and modification date that are stored."""
    etag = None if b"etag" in found.excluded else response.combined(b"etag")
    if b"last-modified" in found.excluded:
        return etag, None
    return etag, response.combined(b"last-modified")


def _refused_as_part(terms: Terms, response: FieldSection, found: Storable) -> NotStorable | None:
    """A part without a strong validator can be put beside no other."""
    if terms.status != 206:
        return None
    strong = strong_validator(*_validators(response, found), found.date)
    return NotStorable.PARTIAL if strong is None else None


def _refused_by_validators(
    terms: Terms, response: FieldSection, found: Storable, received_at: int
) -> NotStorable | None:
    """What nobody may have unasked is stored where it can be validated, or served stale."""
    refused = _refused_as_part(terms, response, found)
    if refused is not None or _usable_stale(found):
        return refused
    # RFC 9110 13.2.1: other statuses come whatever the preconditions are
    if terms.status < 300 and can_validate(*_validators(response, found), received_at):
        return None
    return _reason(found)


def _guarded(terms: Terms, found: Storable) -> Storable:
    """Without the operator's windows where cookies came."""
    if not terms.asked_with_cookie:
        return found
    revalidating, if_error = terms.origin_windows
    return found._replace(stale_while_revalidate=revalidating, stale_if_error=if_error)


def _reason(found: Storable) -> NotStorable:
    """Why a response of no use without validation is not stored."""
    if found.no_cache:
        return NotStorable.NO_CACHE
    return NotStorable.NO_LIFETIME if found.source is LifetimeSource.NONE else NotStorable.STALE
