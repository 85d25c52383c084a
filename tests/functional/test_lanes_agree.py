"""The hit lane takes its decisions from the same rules: both lanes answer alike.

The same request goes to two URLs that were primed alike: once plain, so that the hit lane may take
it, once with `Connection: x`, which means nothing and is never plain enough for that lane. That
the plain ones do take it where something fresh is stored is shown by who asks for a verdict.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.reuse import Reuse, judge_reuse
from caching_proxy.configuration import configure
from caching_proxy.proxy_server import lookup

from .support.clock import Clock
from .support.in_process import in_process
from .support.messages import Response
from .support.raw_client import RawClient
from .support.scripted_origin import ScriptedOrigin, answer, fresh
from .support.stand import StartProxy, TimedStand
from .support.waiting import wait_until

Lines = list[tuple[str, str]]

MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"
LATER = "Thu, 01 Jan 2026 00:00:00 GMT"
VALID = {"ETag": '"v1"', "Last-Modified": MODIFIED, "Content-Type": "text/plain"}
FRESH = {**VALID, "Cache-Control": "max-age=600"}
OTHER_LANE = ("Connection", "x")
FROM_ORIGIN = answer("200 OK", {"Cache-Control": "no-store"}, b"from the origin")

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
    "a part": ("206 Partial Content", {**FRESH, "Content-Range": "bytes 0-9/20"}, 5),
    "301": ("301 Moved Permanently", {**FRESH, "Location": "/x"}, 5),
    "404": ("404 Not Found", FRESH, 5),
    "204": ("204 No Content", FRESH, 5),
}

AGENT = {"User-Agent": "a/1 (b, c)"}
REQUESTS: dict[str, tuple[str, dict[str, str]]] = {
    "plain": ("GET", AGENT),
    "HEAD": ("HEAD", AGENT),
    "another agent": ("GET", {"User-Agent": "a/2"}),
    "odd spelling": ("GET", {"uSER-aGENT": "  a/1 (b, c)\t"}),
    "other spaces": ("GET", {"User-Agent": "a/1 (b,c)"}),
    "an empty agent": ("GET", {"User-Agent": ""}),
    "no agent": ("GET", {}),
    "a type": ("GET", {**AGENT, "Accept": "text/html, */*;q=0.1"}),
    "a coding": ("GET", {**AGENT, "Accept-Encoding": "GZIP , br"}),
    "a language": ("GET", {**AGENT, "Accept-Language": "de-DE, en;q=0.5"}),
    "the tag": ("GET", {**AGENT, "If-None-Match": '"v1"'}),
    "the tag, weak": ("GET", {**AGENT, "If-None-Match": 'W/"v1"'}),
    "a list of tags": ("GET", {**AGENT, "If-None-Match": '"v0", "v1"'}),
    "another tag": ("GET", {**AGENT, "If-None-Match": '"v0"'}),
    "any tag": ("GET", {**AGENT, "If-None-Match": "*"}),
    "the date": ("GET", {**AGENT, "If-Modified-Since": MODIFIED}),
    "a later date": ("GET", {**AGENT, "If-Modified-Since": LATER}),
    "no date": ("GET", {**AGENT, "If-Modified-Since": "yesterday"}),
    "tag and date": ("GET", {**AGENT, "If-None-Match": '"v0"', "If-Modified-Since": LATER}),
    "another tag, the date": ("GET", {"If-None-Match": '"v0"', "If-Modified-Since": MODIFIED}),
    "HEAD with the tag": ("HEAD", {**AGENT, "If-None-Match": '"v1"'}),
    "a range": ("GET", {**AGENT, "Range": "bytes=1-2"}),
    "several ranges": ("GET", {**AGENT, "Range": "bytes=0-0,-1"}),
    "no range": ("GET", {**AGENT, "Range": "lines=1-2"}),
    "If-Range": ("GET", {**AGENT, "Range": "bytes=1-2", "If-Range": '"v1"'}),
    "If-Range alone": ("GET", {**AGENT, "If-Range": '"v1"'}),
    "If-Match": ("GET", {**AGENT, "If-Match": '"v1"'}),
    "If-Unmodified-Since": ("GET", {**AGENT, "If-Unmodified-Since": LATER}),
    "X-HTTP-Method": ("GET", {**AGENT, "X-HTTP-Method": "PUT"}),
    "X-HTTP-Method-Override": ("GET", {**AGENT, "X-HTTP-Method-Override": "PUT"}),
    "X-Method-Override": ("GET", {**AGENT, "X-Method-Override": "PUT"}),
    "no-cache": ("GET", {**AGENT, "Cache-Control": "no-cache"}),
    "Pragma": ("GET", {**AGENT, "Pragma": "no-cache"}),
    "max-age": ("GET", {**AGENT, "Cache-Control": "max-age=100"}),
    "only-if-cached": ("GET", {**AGENT, "Cache-Control": "only-if-cached"}),
    "with credentials": ("GET", {**AGENT, "Authorization": "Basic YQ=="}),
    "with a cookie": ("GET", {**AGENT, "Cookie": "a=1"}),
}
# Those that the hit lane answers where "fresh" is stored; all others it leaves to the other lane.
PLAIN = {"plain", "HEAD", "another agent", "odd spelling", "other spaces", "an empty agent"}
PLAIN |= {"no agent", "a type", "a coding", "a language", "the tag", "the date"}
PLAIN |= {"HEAD with the tag", "with a cookie"}
# Those that go to the origin whatever is stored, so that nobody asks for a verdict.
PASSED = {"If-Match", "If-Unmodified-Since", "X-HTTP-Method", "X-HTTP-Method-Override"}
PASSED |= {"X-Method-Override"}
_NUMBERS = itertools.count()


def negotiated(fields: Lines) -> Lines:
    """Those of the fields that are in every key."""
    return [line for line in fields if line[0].lower().startswith("accept")]


def ask(
    client: RawClient, method: str, target: str, fields: Lines, version: str = "1.1"
) -> Response:
    """One exchange with field lines that may repeat."""
    lines = [f"{method} {target} HTTP/{version}", f"Host: {client.authority}"]
    lines += [f"{name}: {value}" for name, value in fields]
    client.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    return client.response(method)


def told(response: Response, target: str) -> tuple[int, bytes, Lines]:
    """Status, body and field lines, but for what is each URL's or response's own."""
    key = response.fields.get("x-cache-key") or target
    _, _, boundary = (response.fields.get("content-type") or "").partition("boundary=")
    own = [(key, "KEY"), (target, "TARGET"), *[(boundary, "BOUNDARY")] * bool(boundary)]

    def general() -> Iterator[tuple[str, str]]:
        for name, value in response.fields.lines:
            for text, word in own:
                value = value.replace(text, word)
            yield name, value

    body = response.body.replace(boundary.encode(), b"BOUNDARY") if boundary else response.body
    return response.status, body, sorted(general())


def prime(timed: TimedStand, first: bytes, then: bytes, fields: Lines) -> list[str]:
    """Let the proxy see the response under two URLs; the origin answers everything after alike."""
    targets = [f"/agree/{next(_NUMBERS)}" for _ in range(2)]
    for target in targets:
        timed.origin.on(target, first, then)
        with timed.proxy.client() as client:
            ask(client, "GET", target, fields)
    return targets


def prime_named(timed: TimedStand, stored: str, fields: dict[str, str]) -> list[str]:
    status, own, age = STORED[stored]
    body = b"" if status.startswith("204") else b"0123456789"
    primer = [*AGENT.items(), *negotiated(list(fields.items()))]
    primer += [("Range", "bytes=0-9")] * (stored == "a part")
    first = answer(status, {**own, "Date": timed.clock.date()}, body)
    targets = prime(timed, first, FROM_ORIGIN, primer)
    timed.clock.advance(age)
    return targets


def soften(timed: TimedStand, targets: list[str]) -> None:
    for target in targets:
        timed.proxy.request("PURGE", target, {"Soft-Purge": "1"})


def counted(timed: TimedStand) -> tuple[int, int]:
    stats = timed.proxy.stats()
    return stats["hits"], stats["misses"]


def compare(timed: TimedStand, targets: list[str], method: str, fields: Lines) -> None:
    """The other lane first, so that the hit lane knows the negotiated fields in this spelling."""
    found = []
    for target, more in zip(targets, ([OTHER_LANE], []), strict=True):
        with timed.proxy.client() as client:
            found.append(told(ask(client, method, target, [*fields, *more]), target))
            client.half_close()
            client.expect_closed()
    assert found[1] == found[0]


@pytest.mark.parametrize("soft", [False, True], ids=["", "purged softly"])
@pytest.mark.parametrize("stored", STORED)
def test_both_lanes_answer_alike(timed: TimedStand, stored: str, soft: bool) -> None:
    for method, fields in REQUESTS.values():
        targets = prime_named(timed, stored, fields)
        if soft:
            soften(timed, targets)
        compare(timed, targets, method, list(fields.items()))


@pytest.mark.parametrize("stored", STORED)
def test_an_old_client_gets_the_same(timed: TimedStand, stored: str) -> None:
    """HTTP/1.0 goes the other lane as well; its connection ends, and that is all the difference."""
    found = []
    for target, version in zip(prime_named(timed, stored, AGENT), ("1.1", "1.0"), strict=True):
        with timed.proxy.client() as client:
            response = ask(client, "GET", target, list(AGENT.items()), version)
        status, body, fields = told(response, target)
        found.append((status, body, [line for line in fields if line[0] != "connection"]))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", REQUESTS)
def test_both_lanes_count_alike(timed: TimedStand, name: str) -> None:
    method, fields = REQUESTS[name]
    targets = prime_named(timed, "fresh", fields)
    counts = [counted(timed)]
    for target, more in zip(targets, ([OTHER_LANE], []), strict=True):
        with timed.proxy.client() as client:
            ask(client, method, target, [*fields.items(), *more])
        counts.append(counted(timed))
    one, other = (
        [now - before for now, before in zip(after, begin, strict=True)]
        for begin, after in itertools.pairwise(counts)
    )
    assert one == other and sum(one) == 1


@pytest.mark.parametrize("name", ["plain", "HEAD", "the tag"])
def test_both_lanes_log_alike(
    origin: ScriptedOrigin, start_proxy: StartProxy, clock: Clock, name: str
) -> None:
    proxy = start_proxy("--access-log", "-", clock=clock)
    method, fields = REQUESTS[name]
    origin.on("/logged", answer("200 OK", FRESH, b"0123456789"))
    proxy.get("/logged")
    for more in ([OTHER_LANE], []):
        with proxy.client() as client:
            ask(client, method, "/logged", [*fields.items(), *more])

    def logged() -> list[str]:
        return [line for line in proxy.output if "/logged" in line]

    wait_until(lambda: len(logged()) == 3, "the lines of the access log")
    _, one, other = logged()
    assert one == other and one.endswith(" HIT")


# -- any of them with any other

statuses = st.sampled_from(["200 OK"] * 6 + ["203 Non", "204 None", "301 M", "404 No", "410 Gone"])
controls = st.sampled_from(
    [
        *("max-age=600", "max-age=9", "max-age=0", "no-cache", "max-age=600, no-cache", "private"),
        *("max-age=600, must-revalidate", "max-age=9, stale-while-revalidate=60", "s-maxage=600"),
        *("max-age=9, stale-if-error=60", 'max-age=600, no-cache="X-Own"', "public, max-age=600"),
        *("max-age=99999999999999999999", "max-age=600, immutable", "no-store", "x"),
    ]
)
varies = st.sampled_from(
    [
        *("User-Agent", "user-agent , X-None", "Accept, User-Agent", "*", "Cookie", ",,Cookie,"),
        *("Accept-Encoding", "Accept-Language", "X-Forwarded-For", "Host", "Range", "X-Own"),
    ]
)
stored_fields = st.fixed_dictionaries(
    {"Cache-Control": controls},
    optional={
        "ETag": st.sampled_from(['"v1"', 'W/"v1"', "v1"]),
        "Last-Modified": st.sampled_from([MODIFIED, "never"]),
        "Vary": varies,
        "Age": st.sampled_from(["7", "x", "1000"]),
        "Expires": st.sampled_from([LATER, "0", "Wed, 01 Jan 2031 00:10:00 GMT"]),
        "CDN-Cache-Control": st.sampled_from(["max-age=5", "no-cache", "?"]),
        "Content-Language": st.sampled_from(["de", "en"]),
        "Set-Cookie": st.just("a=1"),
        "Connection": st.just("X-Own"),
        "X-Own": st.just("1"),
        "Via": st.just("1.0 other"),
        "Cache-Tag": st.just("a"),
    },
)
request_lines = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *AGENT.items(),
                *(
                    ("user-agent", "a/1  (b, c)"),
                    ("USER-AGENT", "\ta/1 (b, c) "),
                    ("Cookie", "a=1"),
                ),
                *(("Cookie", "b=2"), ("Accept", "*/*"), ("accept", "text/html,*/*;q=0.1")),
                *(("Accept-Encoding", "gzip, br"), ("Accept-Encoding", "BR,gzip"), ("Age", "5")),
                *(("Accept-Language", "de, en;q=0.5"), ("Accept-Language", "EN;q=0.5,de")),
                *(("X-None", ""), ("X-Forwarded-For", "192.0.2.1"), ("X_Forwarded_For", "a")),
            ]
        ),
        st.sampled_from(
            [
                *(("If-None-Match", '"v1"'), ("If-None-Match", 'W/"v1"'), ("If-None-Match", "*")),
                *(("If-None-Match", '"v0", "v1"'), ("If-None-Match", "v1"), ("If-None-Match", "")),
                *(("If-Modified-Since", MODIFIED), ("If-Modified-Since", LATER)),
                *(("If-Modified-Since", "never"), ("If-Match", '"v1"'), ("If-Range", '"v1"')),
                *(("If-Unmodified-Since", LATER), ("Range", "bytes=1-2"), ("Range", "bytes=99-")),
                *(
                    ("Cache-Control", "max-age=5"),
                    ("Cache-Control", "max-stale"),
                    ("TE", "trailers"),
                ),
                *(
                    ("Cache-Control", "no-store"),
                    ("Cache-Control", "min-fresh=595"),
                    ("Via", "1.1 a"),
                ),
                *(("Pragma", "no-cache"), ("Authorization", "Basic YQ=="), ("Max-Forwards", "0")),
                *(("X-HTTP-Method-Override", "PUT"), ("Connection", "keep-alive")),
            ]
        ),
    ),
    max_size=4,
)
ages = st.sampled_from([-5, 0, 1, 8, 9, 10, 69, 70, 599, 600, 1_000_000])
afterwards = st.sampled_from(
    [
        FROM_ORIGIN,
        answer("304 Not Modified", {"ETag": '"v1"', "Cache-Control": "max-age=600", "X-New": "1"}),
        answer("503 Service Unavailable", {"Cache-Control": "no-store"}, b"not now"),
    ]
)


@settings(
    max_examples=200, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    status=statuses,
    own=stored_fields,
    size=st.sampled_from([0, 10, 20_000]),
    then=afterwards,
    age=ages,
    method=st.sampled_from(["GET", "GET", "GET", "HEAD"]),
    fields=request_lines,
    like=st.sampled_from(["the request", "its negotiation"]),
    soft=st.sampled_from([False, False, False, True]),
)
def test_whatever_is_stored_and_asked(
    shared_timed_stand: TimedStand,
    status: str,
    own: dict[str, str],
    size: int,
    then: bytes,
    age: int,
    method: str,
    fields: Lines,
    like: str,
    soft: bool,
) -> None:
    timed = shared_timed_stand
    body = b"" if status.startswith("204") else b"x" * size
    first = answer(status, {**own, "Date": timed.clock.date()}, body)
    primer = fields if like == "the request" else [*AGENT.items(), *negotiated(fields)]
    targets = prime(timed, first, then, primer)
    timed.clock.advance(age)
    if soft:
        soften(timed, targets)
    compare(timed, targets, method, fields)


# -- that there is something to compare


def test_the_table_has_hits_and_misses(timed: TimedStand) -> None:
    """The comparison above is not one of equal refusals alone."""
    caches = {
        (stored, name): timed.proxy.request(
            method, prime_named(timed, stored, fields)[0], fields
        ).cache
        for stored in ("fresh", "just stale", "varies", "a part")
        for name, (method, fields) in REQUESTS.items()
    }
    assert caches["fresh", "plain"] == caches["varies", "plain"] == "HIT"
    assert caches["fresh", "the tag"] == caches["fresh", "HEAD"] == "HIT"
    assert caches["a part", "a range"] == "HIT"
    assert caches["just stale", "plain"] == caches["varies", "another agent"] == "MISS"
    assert caches["fresh", "no-cache"] == caches["a part", "plain"] == "MISS"


async def test_what_is_plain_takes_the_hit_lane(
    origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other lane asks for a verdict on what is stored; the hit lane has it from the entry."""
    verdicts: list[Reuse] = []

    def witness(*found: Any) -> Reuse:
        verdicts.append(judge_reuse(*found))
        return verdicts[-1]

    monkeypatch.setattr(lookup, "judge_reuse", witness)

    def others(name: str, *more: tuple[str, str]) -> int:
        """How many verdicts one request of that name takes."""
        method, fields = REQUESTS[name]
        target = f"/lane/{name.replace(' ', '-')}"
        with RawClient(("127.0.0.1", port)) as client:
            origin.on(target, answer("200 OK", FRESH, b"0123456789"), fresh(b"another"))
            ask(client, "GET", target, [*AGENT.items(), *negotiated(list(fields.items()))])
            before = len(verdicts)
            assert ask(client, method, target, [*fields.items(), *more]).status < 500
            return len(verdicts) - before

    async with in_process(configure({"origin": origin.url}, {})) as port:
        taken = {name for name in REQUESTS if await asyncio.to_thread(others, name) == 0}
        left = {name for name in REQUESTS if await asyncio.to_thread(others, name, OTHER_LANE) == 0}
    assert taken == PLAIN | PASSED
    assert left == PASSED
