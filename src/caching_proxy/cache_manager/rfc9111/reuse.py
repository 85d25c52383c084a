"""Whether a stored response may answer a request (RFC 9111 4, 5.2.1)."""

from __future__ import annotations

import enum

from caching_proxy.cache_manager.rfc9111.directives import NO_DIRECTIVES, Directives


class Reuse(enum.Enum):
    """What to do with a request whose cache key is known."""

    FRESH = enum.auto()
    """Answer with the stored response."""
    STALE_ALLOWED = enum.auto()
    """Answer with the stored response, which is stale: the client takes it (max-stale)."""
    STALE = enum.auto()
    """Go forward, conditionally where a validator is stored: the stored response is stale."""
    REFUSED = enum.auto()
    """Go forward like that: the response is fresh, but not fresh enough for this request."""
    MISS = enum.auto()
    """Go forward: nothing is stored."""
    PASS = enum.auto()
    """Go forward and store nothing: the request says no-store."""
    UNSATISFIABLE = enum.auto()
    """Answer with 504 (Gateway Timeout): only-if-cached, and nothing stored can be used."""


def judge_reuse(wanted: Directives, lifetime: int, age: int, must_revalidate: bool) -> Reuse:
    """The verdict on a stored response, given its lifetime and current age in seconds.

    `wanted` are the request's directives, `must_revalidate` is what was found when it was stored.
    """
    if wanted is NO_DIRECTIVES:
        return Reuse.FRESH if age < lifetime else Reuse.STALE
    if wanted.no_store and not wanted.only_if_cached:
        return Reuse.PASS
    verdict = _within_limits(wanted, lifetime, age, must_revalidate)
    if wanted.only_if_cached and verdict in (Reuse.STALE, Reuse.REFUSED):
        return Reuse.UNSATISFIABLE
    return verdict


def judge_miss(wanted: Directives) -> Reuse:
    """The verdict when nothing is stored: MISS, PASS or UNSATISFIABLE."""
    if wanted.only_if_cached:
        return Reuse.UNSATISFIABLE
    return Reuse.PASS if wanted.no_store else Reuse.MISS


def _within_limits(wanted: Directives, lifetime: int, age: int, must_revalidate: bool) -> Reuse:
    fresh = age < lifetime
    refused = Reuse.REFUSED if fresh else Reuse.STALE
    if wanted.no_cache or (wanted.max_age is not None and age > wanted.max_age):
        return refused
    if wanted.min_fresh is not None and lifetime - age < wanted.min_fresh:
        return refused
    if fresh:
        return Reuse.FRESH
    staleness = age - lifetime
    if wanted.max_stale is None or must_revalidate or staleness > wanted.max_stale:
        return Reuse.STALE
    return Reuse.STALE_ALLOWED
