"""Whether a stored response may answer a request (RFC 9111 4, 5.2.1; RFC 5861)."""

from __future__ import annotations

import enum

from caching_proxy.cache_manager.rfc9111.directives import Directives
from caching_proxy.cache_manager.rfc9111.verdict import Verdict


class Reuse(Verdict):
    """What to do with a request whose cache key is known."""

    FRESH = enum.auto()
    """Answer with the stored response."""
    STALE_ALLOWED = enum.auto()
    """Answer with the stored response, which is stale: the client takes it (max-stale)."""
    STALE_WHILE_REVALIDATE = enum.auto()
    """Answer with the stored response, which is stale, and revalidate it in the background."""
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


UNASKED = frozenset((Reuse.FRESH, Reuse.STALE_WHILE_REVALIDATE))
"""Verdicts on what may be used without asking the origin first."""


def judge_reuse(
    wanted: Directives,
    lifetime: int,
    age: int,
    must_revalidate: bool,
    no_cache: bool,
    stale_while_revalidate: int,
) -> Reuse:
    """The verdict on a stored response, given its lifetime and current age in seconds.

    `wanted` are the request's directives; the last three are what was found when it was stored
    (`Storable`). A window of n seconds is open while the response is stale for less than n.
    """
    if wanted.no_store and not wanted.only_if_cached:
        return Reuse.PASS
    verdict = Reuse.STALE
    if not no_cache:
        window = 0 if must_revalidate else stale_while_revalidate
        verdict = _within_limits(wanted, age, age - lifetime, must_revalidate, window)
    if wanted.only_if_cached and verdict in (Reuse.STALE, Reuse.REFUSED):
        return Reuse.UNSATISFIABLE
    return verdict


def judge_miss(wanted: Directives) -> Reuse:
    """The verdict when nothing is stored: MISS, PASS or UNSATISFIABLE."""
    if wanted.only_if_cached:
        return Reuse.UNSATISFIABLE
    return Reuse.PASS if wanted.no_store else Reuse.MISS


def may_serve_on_error(staleness: int, must_revalidate: bool, granted: int, default: int) -> bool:
    """Whether a stored response may answer in place of a 500, 502, 503 or 504 (RFC 5861 4).

    `staleness` is age minus lifetime in seconds, negative while the response is fresh. `granted` is
    the origin's stale-if-error; where it says nothing (-1) the operator's `default` holds. With n
    seconds the response may be stale for less than n, with 0 not at all. The request's own
    stale-if-error is not asked: no client extends what origin and operator allow to everybody.
    """
    limit = default if granted < 0 else granted
    return not must_revalidate and staleness < limit


def _within_limits(
    wanted: Directives, age: int, staleness: int, must_revalidate: bool, window: int
) -> Reuse:
    fresh = staleness < 0
    refused = Reuse.REFUSED if fresh else Reuse.STALE
    if wanted.no_cache or _is_older(age, wanted.max_age):
        return refused
    if wanted.min_fresh is not None and -staleness < wanted.min_fresh:
        return refused
    if fresh:
        return Reuse.FRESH
    if wanted.max_stale is None:
        # RFC 9111 5.2.1.1: with max-age alone the client wants nothing stale; so with min-fresh.
        asks_for_fresh = wanted.max_age is not None or wanted.min_fresh is not None
        within = staleness < window and not asks_for_fresh
        return Reuse.STALE_WHILE_REVALIDATE if within else Reuse.STALE
    if must_revalidate or staleness > wanted.max_stale:
        return Reuse.STALE
    return Reuse.STALE_WHILE_REVALIDATE if staleness < window else Reuse.STALE_ALLOWED


def _is_older(age: int, max_age: int | None) -> bool:
    """Whether a request's max-age refuses this age; 0 asks for validation within a second too."""
    return max_age is not None and (age > max_age or max_age == 0)
