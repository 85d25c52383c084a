"""What the operator decides about storing, where RFC 9111 leaves it to the cache."""

from __future__ import annotations

from dataclasses import dataclass

from caching_proxy.cache_manager.rfc9111.freshness import TimeToLive


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

    def lifetimes_of(self, status: int, content_type: bytes | None) -> Lifetimes:
        """What the operator decides about a response of this status and media type."""
        for rule in self.by_response:
            if rule.fits(status, content_type):
                return rule.lifetimes
        return self.lifetimes
