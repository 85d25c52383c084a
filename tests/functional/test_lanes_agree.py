"""The hit lane takes its decisions from the same rules: both lanes answer alike.

The same request goes to two URLs that were primed alike: once plain, so that the hit lane may take
it, once with `Connection: x`, which means nothing and is never plain enough for that lane.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from .support.messages import Response
from .support.scripted_origin import answer
from .support.stand import TimedStand

MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"
LATER = "Thu, 01 Jan 2026 00:00:00 GMT"
VALID = {"ETag": '"v1"', "Last-Modified": MODIFIED, "Content-Type": "text/plain"}
FRESH = {**VALID, "Cache-Control": "max-age=600"}
OTHER_LANE = {"Connection": "x"}

# What is stored: status, fields, and how long ago in seconds.
STORED: dict[str, tuple[str, dict[str, str], int]] = {
    "fresh": ("200 OK", FRESH, 5),
    "at its last second": ("200 OK", FRESH, 599),
    "just stale": ("200 OK", FRESH, 600),
    "no-cache": ("200 OK", {**VALID, "Cache-Control": "no-cache"}, 5),
    "stale, must-revalidate": (
        "200 OK",
        {**FRESH, "Cache-Control": "max-age=9, must-revalidate"},
        9,
    ),
    "stale while revalidating": (
        "200 OK",
        {**VALID, "Cache-Control": "max-age=9, stale-while-revalidate=60"},
        20,
    ),
    "without validators": ("200 OK", {"Cache-Control": "max-age=600"}, 5),
    "weak": ("200 OK", {**FRESH, "ETag": 'W/"v1"'}, 5),
    "varies": ("200 OK", {**FRESH, "Vary": "User-Agent"}, 5),
    "varies by several": ("200 OK", {**FRESH, "Vary": "X-None, User-Agent, Accept"}, 5),
    "qualified": (
        "200 OK",
        {**FRESH, "Cache-Control": 'max-age=600, private="X-Own"', "X-Own": "1"},
        5,
    ),
    "301": ("301 Moved Permanently", {**FRESH, "Location": "/x"}, 5),
    "404": ("404 Not Found", FRESH, 5),
    "204": ("204 No Content", FRESH, 5),
}

AGENT = {"User-Agent": "a/1 (b, c)"}
REQUESTS: dict[str, tuple[str, dict[str, str]]] = {
    "plain": ("GET", AGENT),
    "HEAD": ("HEAD", AGENT),
    "another agent": ("GET", {"User-Agent": "a/2"}),
    "odd spelling": ("GET", {"user-agent": "a/1 (b, c)"}),
    "no agent": ("GET", {}),
    "the tag": ("GET", {**AGENT, "If-None-Match": '"v1"'}),
    "the tag, weak": ("GET", {**AGENT, "If-None-Match": 'W/"v1"'}),
    "a list of tags": ("GET", {**AGENT, "If-None-Match": '"v0", "v1"'}),
    "another tag": ("GET", {**AGENT, "If-None-Match": '"v0"'}),
    "any tag": ("GET", {**AGENT, "If-None-Match": "*"}),
    "the date": ("GET", {**AGENT, "If-Modified-Since": MODIFIED}),
    "a later date": ("GET", {**AGENT, "If-Modified-Since": LATER}),
    "no date": ("GET", {**AGENT, "If-Modified-Since": "yesterday"}),
    "tag and date": ("GET", {**AGENT, "If-None-Match": '"v0"', "If-Modified-Since": LATER}),
    "HEAD with the tag": ("HEAD", {**AGENT, "If-None-Match": '"v1"'}),
    "a range": ("GET", {**AGENT, "Range": "bytes=1-2"}),
    "no range": ("GET", {**AGENT, "Range": "lines=1-2"}),
    "no-cache": ("GET", {**AGENT, "Cache-Control": "no-cache"}),
    "max-age": ("GET", {**AGENT, "Cache-Control": "max-age=100"}),
    "only-if-cached": ("GET", {**AGENT, "Cache-Control": "only-if-cached"}),
    "with credentials": ("GET", {**AGENT, "Authorization": "Basic YQ=="}),
    "with a cookie": ("GET", {**AGENT, "Cookie": "a=1"}),
}
_NUMBERS = itertools.count()


def lines(response: Response, target: str) -> Iterator[tuple[str, str]]:
    """The field lines, but for the key, which the two URLs have each for itself."""
    key = response.fields["x-cache-key"]
    for name, value in response.fields.lines:
        yield name, value.replace(key, "KEY").replace(target, "TARGET")


def prime(timed: TimedStand, stored: str, soft: bool) -> list[str]:
    """Store the response under two URLs; the origin answers everything after it alike."""
    status, fields, age = STORED[stored]
    targets = [f"/agree/{next(_NUMBERS)}" for _ in range(2)]
    body = b"" if status.startswith("204") else b"0123456789"
    own = {**fields, "Date": timed.clock.date()}
    then = answer("200 OK", {"Cache-Control": "no-store"}, b"from the origin")
    for target in targets:
        timed.origin.on(target, answer(status, own, body), then)
        timed.proxy.get(target, AGENT)
    timed.clock.advance(age)
    if soft:
        for target in targets:
            timed.proxy.request("PURGE", target, {"Soft-Purge": "1"})
    return targets


@pytest.mark.parametrize("soft", [False, True], ids=["", "purged softly"])
@pytest.mark.parametrize("stored", STORED)
def test_both_lanes_answer_alike(timed: TimedStand, stored: str, soft: bool) -> None:
    for name, (method, fields) in REQUESTS.items():
        found = []
        for target, more in zip(prime(timed, stored, soft), ({}, OTHER_LANE), strict=True):
            response = timed.proxy.request(method, target, {**fields, **more})
            found.append((response.status, response.body, sorted(lines(response, target))))
        assert found[0] == found[1], name


def test_the_table_has_hits_and_misses(timed: TimedStand) -> None:
    """The comparison above is not one of equal refusals alone."""
    caches = {
        (stored, name): timed.proxy.request(method, prime(timed, stored, False)[0], fields).cache
        for stored in ("fresh", "just stale", "varies")
        for name, (method, fields) in REQUESTS.items()
    }
    assert caches["fresh", "plain"] == caches["varies", "plain"] == "HIT"
    assert caches["fresh", "the tag"] == caches["fresh", "HEAD"] == "HIT"
    assert caches["just stale", "plain"] == caches["varies", "another agent"] == "MISS"
    assert caches["fresh", "no-cache"] == "MISS"
