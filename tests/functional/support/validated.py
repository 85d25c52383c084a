"""A stored response with validators, and what a validation of it looks like."""

from __future__ import annotations

from collections.abc import Mapping

from .cache_status import ours
from .messages import Request, Response
from .scripted_origin import Script, answer
from .stand import TimedStand

MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"
LATER = "Thu, 02 Jan 2025 00:00:00 GMT"
EARLIER = "Tue, 31 Dec 2024 23:59:59 GMT"
STRONG = {"ETag": '"v1"'}
BOTH = {**STRONG, "Last-Modified": MODIFIED}
_PRECONDITIONS = (
    "if-none-match",
    "if-modified-since",
    "if-match",
    "if-unmodified-since",
    "if-range",
    "range",
)


def minute(fields: Mapping[str, str] = BOTH, body: bytes = b"first") -> bytes:
    """A response that is fresh for a minute."""
    return answer("200 OK", {"Cache-Control": "max-age=60", **fields}, body)


def unchanged(fields: Mapping[str, str] = BOTH, seconds: int = 60) -> bytes:
    """A 304 that makes it fresh again."""
    return answer("304 Not Modified", {"Cache-Control": f"max-age={seconds}", **fields})


def preconditions(request: Request) -> dict[str, str]:
    """The preconditions of a request as the origin got it."""
    found = ((name, request.fields.get(name)) for name in _PRECONDITIONS)
    return {name: value for name, value in found if value is not None}


def go_stale(timed: TimedStand, target: str, *answers: bytes | Script) -> None:
    """Store the first answer, which is fresh for a minute; the rest are for what comes then."""
    timed.origin.on(target, *answers)
    assert timed.proxy.get(target).cache == "MISS"
    timed.clock.advance(60)


def check_validated(response: Response, body: bytes = b"first") -> None:
    """The stored response, after the origin has confirmed it."""
    assert (response.status, response.cache, response.body) == (200, "HIT", body)
    status = ours(response)
    assert "hit" not in status
    assert (status["fwd"], status["fwd-status"]) == ("stale", "304")
