"""Requirements of RFC 9111 that no other file shows (docs/reference/rfc9111.md: all of them)."""

from __future__ import annotations

import gzip
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from .support import bodies
from .support.clock import Clock
from .support.document import DOC, V1, Document, check_part, check_whole, ranged
from .support.messages import Response
from .support.proxy import ProxyProcess
from .support.scripted_origin import NO_FIELDS, Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy, TimedStand
from .support.validated import (
    BOTH,
    EARLIER,
    LATER,
    MODIFIED,
    STRONG,
    minute,
    preconditions,
    unchanged,
)

MB = 1 << 20
EXPLICIT = {"Cache-Control": "max-age=600"}


# --- storing (3) ----------------------------------------------------------------------------------

# One condition of section 3 not met: method, fields of the request, the answer.
UNMET = {
    "method": ("POST", {}, answer("200 OK", EXPLICIT, b"old")),
    "no final status": (
        "GET",
        {},
        answer("103 Early Hints", EXPLICIT).replace(b"Content-Length: 0\r\n", b"")
        + answer("200 OK", {"Cache-Control": "no-store"}, b"old"),
    ),
    "206": ("GET", {"Range": "bytes=0-2"}, answer("206 Partial Content", EXPLICIT, b"old")),
    "must-understand": (
        "GET",
        {},
        answer("299 Unheard Of", {"Cache-Control": "max-age=600, must-understand"}, b"old"),
    ),
    "no-store": ("GET", {}, answer("200 OK", {"Cache-Control": "max-age=600, no-store"}, b"old")),
    "private": ("GET", {}, answer("200 OK", {"Cache-Control": "max-age=600, private"}, b"old")),
    "Authorization": (
        "GET",
        {"Authorization": "Basic YTpi"},
        answer("200 OK", EXPLICIT, b"old"),
    ),
    "nothing that allows it": ("GET", {}, answer("403 Forbidden", {}, b"old")),
}


@pytest.mark.parametrize("case", ["nothing", *UNMET])
def test_a_response_is_stored_only_where_every_condition_holds(stand: Stand, case: str) -> None:
    target = f"/unmet/{list(UNMET).index(case) if case in UNMET else ''}"
    method, fields, first = UNMET.get(case, ("GET", {}, fresh(b"old")))
    stand.origin.on(target, first, fresh(b"new"))
    assert stand.proxy.request(method, target, fields).body == b"old"
    response = stand.proxy.get(target)
    expected = ("MISS", b"new") if case in UNMET else ("HIT", b"old")
    assert (response.cache, response.body) == expected


def test_trailers_are_not_stored(stand: Stand) -> None:
    """RFC 9111 3.1."""
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n"
    stand.origin.on("/trailers", head + b"4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n")
    for cache in ("MISS", "HIT"):
        response = stand.proxy.get("/trailers")
        assert (response.cache, response.body) == (cache, b"body")
        assert "x-sum" not in response.fields
    assert not response.trailers.lines


def test_no_transform(stand: Stand) -> None:
    """RFC 9111 5.2.2.6: the octets and their coding come as they were sent."""
    content = gzip.compress(DOC * 10, mtime=0)
    coded = {"Content-Encoding": "gzip", "Content-Type": "text/plain", **STRONG}
    fields = {"Cache-Control": "max-age=600, no-transform", **coded}
    stand.origin.on("/untransformed", answer("200 OK", fields, content))
    for cache in ("MISS", "HIT"):
        response = stand.proxy.get("/untransformed", {"Accept-Encoding": "identity"})
        assert (response.cache, response.body) == (cache, content)
        assert {name: response.fields[name] for name in fields} == fields
    part = ranged(stand, "/untransformed", "3-9", {"Accept-Encoding": "identity"})
    assert (part.status, part.body) == (206, content[3:10])


# --- no-store leaves nothing behind (5.2.1.5, 5.2.2.5) --------------------------------------------

LARGE = 48 * MB


def _written_files(proxy: ProxyProcess) -> list[str]:
    """The files on disk that the process may write to, its standard streams aside."""
    found = []
    for entry in Path(f"/proc/{proxy.process.pid}/fd").iterdir():
        flags = re.search(
            r"flags:\s+([0-7]+)", Path(f"{entry.parent}info/{entry.name}").read_text()
        )
        assert flags is not None
        writes = int(flags[1], 8) & (os.O_WRONLY | os.O_RDWR)
        if int(entry.name) > 2 and writes and entry.is_file():
            found.append(str(entry.readlink()))
    return found


@pytest.mark.parametrize("side", ["request", "response"])
def test_no_store_keeps_nothing_in_memory_or_in_files(
    start_proxy: StartProxy, origin: ScriptedOrigin, side: str
) -> None:
    proxy = start_proxy("--max-object", f"{2 * LARGE}")
    asked, promised = {}, "max-age=600, no-store"
    if side == "request":
        asked, promised = {"Cache-Control": "no-store"}, "max-age=600"
    content = bodies.body("secret", LARGE)
    origin.on("/large", answer("200 OK", {"Cache-Control": promised}, content))
    proxy.get("/warm-up")
    before = proxy.memory()
    files: list[list[str]] = []

    def take(_: bytes) -> None:
        if not files:
            files.append(_written_files(proxy))

    with proxy.client() as client:
        response = client.get("/large", asked, sink=take)
    assert response.sha256 == bodies.digest("secret", LARGE)
    assert files == [[]] and not _written_files(proxy)
    assert (proxy.stats()["entries"], proxy.stats()["memory_bytes"]) == (0, 0)
    assert proxy.memory() - before < LARGE // 2


# --- incomplete responses (3.3) -------------------------------------------------------------------


def test_parts_in_a_unit_that_is_not_understood_are_not_stored(stand: Stand) -> None:
    lines = Document().part(0, 9, b"ten  lines", Content_Range="lines 0-9/90")
    stand.origin.on("/lines", lines, lines, Document())
    for _ in range(2):
        response = stand.proxy.get("/lines", {"Range": "lines=0-9"})
        assert (response.status, response.cache, response.body) == (206, "MISS", b"ten  lines")
        assert response.fields["content-range"] == "lines 0-9/90"
    sent = [request.fields.get("range") for request in stand.origin.seen("/lines")]
    assert sent == ["lines=0-9"] * 2
    check_part(ranged(stand, "/lines", "0-9"), 0, 9)
    check_whole(stand.proxy.get("/lines"))


def test_a_part_does_not_answer_head(stand: Stand) -> None:
    """HEAD asks for the fields of the whole, which a 206 need not have brought."""
    document = Document()
    bare = document.part(0, 9).replace(b"Content-Type: text/plain\r\n", b"")
    stand.origin.on("/head-of-part", bare, document)
    check_part(ranged(stand, "/head-of-part", "0-9"), 0, 9)
    response = stand.proxy.request("HEAD", "/head-of-part")
    assert (response.status, response.cache) == (200, "MISS")
    assert response.fields["content-type"] == "text/plain"


# --- constructing responses (4, 4.1) --------------------------------------------------------------

ASKING: dict[str, tuple[str, Mapping[str, str], int]] = {
    "GET": ("GET", NO_FIELDS, 200),
    "HEAD": ("HEAD", NO_FIELDS, 200),
    "304": ("GET", {"If-None-Match": V1}, 304),
    "206": ("GET", {"Range": "bytes=1-2"}, 206),
    "several ranges": ("GET", {"Range": "bytes=0-0,2-2"}, 206),
    "stale": ("GET", {"Cache-Control": "max-stale"}, 200),
}


@pytest.mark.parametrize("case", ASKING)
def test_every_answer_from_the_store_has_one_age(timed: TimedStand, case: str) -> None:
    """RFC 9111 4: in place of any other."""
    method, fields, status = ASKING[case]
    target = f"/one-age/{list(ASKING).index(case)}"
    timed.origin.on(target, minute({**STRONG, "Age": "10"}))
    timed.proxy.get(target)
    seconds = 60 if case == "stale" else 30
    timed.clock.advance(seconds)
    response = timed.proxy.request(method, target, fields)
    assert (response.status, response.cache) == (status, "HIT")
    assert response.fields.all("age") == [str(10 + seconds)]


@pytest.mark.parametrize("seconds, expected", [(-5, b"first"), (5, b"second")])
def test_of_several_that_match_the_most_recent_by_date_answers(
    timed: TimedStand, seconds: int, expected: bytes
) -> None:
    """RFC 9111 4: not the one that came last."""
    target = f"/most-recent/{seconds}"
    timed.origin.on(
        target,
        minute({"Vary": "X-One", "Date": timed.clock.date()}),
        minute({"Vary": "X-Two", "Date": timed.clock.date(seconds)}, b"second"),
    )
    timed.proxy.get(target, {"X-One": "1"})
    timed.proxy.get(target, {"X-One": "2"})
    response = timed.proxy.get(target, {"X-One": "1"})
    assert (response.cache, response.body) == ("HIT", expected)


def _streaming(
    stand: Stand, target: str, fields: Mapping[str, str]
) -> tuple[threading.Event, list[Exchange]]:
    """A script whose first answer stops behind its head until the event; later ones are whole."""
    go, asked = threading.Event(), []

    def script(exchange: Exchange) -> None:
        asked.append(exchange)
        whole = answer("200 OK", fields, b"first" if len(asked) == 1 else b"later")
        head, end, body = whole.partition(b"\r\n\r\n")
        exchange.send(head + end)
        if len(asked) == 1:
            exchange.wait(go, "the test to let the body go")
        exchange.send(body)

    stand.origin.on(target, script)
    return go, asked


def _join_late(stand: Stand, target: str, go: threading.Event, seconds: int = 0) -> Response:
    """What a client gets that asks while the body of another's answer is on its way."""
    with stand.proxy.client() as first, stand.proxy.client() as late:
        first.send(first.head("GET", target))
        head = first.response_head()
        if isinstance(stand, TimedStand):
            stand.clock.advance(seconds)
        late.send(late.head("GET", target))
        stand.proxy.barrier()
        go.set()
        assert first.finish(head).body == b"first"
        return late.response()


@pytest.mark.parametrize(
    "value", ["no-cache", "no-cache, max-age=600", "max-age=0", "max-age=0, must-revalidate"]
)
def test_what_is_to_be_validated_each_time_answers_no_later_request(
    timed: TimedStand, value: str
) -> None:
    """RFC 9111 4, 5.2.2.4: it was made before this request came, on its way or not."""
    target = f"/on-its-way/{value.encode().hex()}"
    go, asked = _streaming(timed, target, {"Cache-Control": value, **STRONG})
    assert _join_late(timed, target, go).body == b"later"
    assert len(asked) == 2


def test_what_has_become_stale_on_its_way_answers_no_later_request(timed: TimedStand) -> None:
    """RFC 9111 4."""
    fields = {"Cache-Control": "max-age=60", **STRONG}
    go, asked = _streaming(timed, "/slow-body", fields)
    assert _join_late(timed, "/slow-body", go, 60).body == b"later"
    assert len(asked) == 2


# --- freshness (4.2) ------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["EAST-05:30", "WEST+08:00"])
def test_the_local_time_zone_counts_for_nothing(
    start_proxy: StartProxy,
    origin: ScriptedOrigin,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    zone: str,
) -> None:
    """RFC 9111 4.2."""
    monkeypatch.setenv("TZ", zone)
    proxy = start_proxy("--cache-ttl", "0", clock=clock)
    origin.on("/expires", answer("200 OK", {"Expires": clock.date(60)}))
    origin.on("/old", answer("200 OK", {**EXPLICIT, "Date": clock.date(-30)}))
    origin.on("/modified", answer("200 OK", {"Last-Modified": clock.date(-600)}))
    targets = ("/expires", "/old", "/modified")
    for target in targets:
        proxy.get(target)
    clock.advance(59)
    ages = [(r.cache, r.fields.get("age")) for r in map(proxy.get, targets)]
    assert ages == [("HIT", "59"), ("HIT", "89"), ("HIT", "59")]
    clock.advance(1)
    assert [r.cache for r in map(proxy.get, targets)] == ["MISS", "HIT", "MISS"]


# --- stale is forbidden (5.2.2.2) -----------------------------------------------------------------


def test_must_revalidate_and_a_silent_origin_is_504(
    start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock
) -> None:
    proxy = start_proxy("--origin-head-timeout", "0.5", clock=clock)
    stored = minute({"Cache-Control": "max-age=60, must-revalidate", **STRONG})
    origin.on("/", stored, Exchange.wait_for_close)
    proxy.get("/")
    clock.advance(60)
    response = proxy.get("/", {"Cache-Control": "max-stale"})
    assert (response.status, response.cache) == (504, "MISS")


def test_must_revalidate_and_an_origin_that_refuses_is_502(
    start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock
) -> None:
    proxy = start_proxy(clock=clock)
    origin.on("/", answer("200 OK", {"Cache-Control": "max-age=60, must-revalidate", **STRONG}))
    proxy.get("/")
    origin.close()
    clock.advance(60)
    response = proxy.get("/", {"Cache-Control": "max-stale"})
    assert (response.status, response.cache) == (502, "MISS")


# --- validation (4.3) -----------------------------------------------------------------------------


def test_a_condition_is_judged_by_a_stored_part(stand: Stand) -> None:
    """RFC 9111 4.3.2: a 206 as well as a 200."""
    stand.origin.on("/part", Document())
    ranged(stand, "/part", "0-9")
    known = ranged(stand, "/part", "0-9", {"If-None-Match": V1})
    assert (known.status, known.cache, known.body) == (304, "HIT", b"")
    check_part(ranged(stand, "/part", "0-9", {"If-None-Match": '"x"'}), 0, 9)
    assert len(stand.origin.requests) == 1


@pytest.mark.parametrize("value", ["20-29", "5-15", "0-", "-5", None])
def test_the_tag_of_a_part_is_not_offered_for_more_than_it_holds(
    timed: TimedStand, value: str | None
) -> None:
    """RFC 9111 4.3.2: 304 would leave the client with what is not there."""
    target = f"/tag-of-part/{value}"
    timed.origin.on(target, Document(Cache_Control="max-age=60"))
    ranged(timed, target, "0-9")
    timed.clock.advance(60)
    fields = {"If-None-Match": '"x"'}
    if value is None:
        check_whole(timed.proxy.get(target, fields))
    else:
        assert ranged(timed, target, value, fields).status == 206
    assert len(timed.origin.seen(target)) == 2
    sent = preconditions(timed.origin.seen(target)[1])
    assert not {"if-none-match", "if-modified-since"} & set(sent)


@pytest.mark.parametrize("fields", [{"If-None-Match": V1}, {"If-Modified-Since": LATER}], ids=repr)
def test_a_condition_of_another_method_is_the_origins(
    timed: TimedStand, fields: dict[str, str]
) -> None:
    """RFC 9111 4.3.2: no stored response can satisfy POST."""
    target = f"/post/{len(fields['If-None-Match']) if 'If-None-Match' in fields else 'date'}"
    timed.origin.on(target, minute(), answer("200 OK", BOTH, b"posted"))
    timed.proxy.get(target)
    response = timed.proxy.request("POST", target, fields)
    assert (response.status, response.body) == (200, b"posted")
    sent = {name.lower(): value for name, value in fields.items()}
    assert preconditions(timed.origin.seen(target)[1]) == sent


@pytest.mark.parametrize("value", ["no-store", "private", "max-age=0"])
def test_a_date_is_no_condition_on_what_is_not_stored_and_was_never_modified(
    timed: TimedStand, value: str
) -> None:
    """RFC 9111 4.3.2; RFC 9110 13.1.3: without Last-Modified If-Modified-Since is ignored.

    Only for a stored response does its Date stand in: this one is new.
    """
    target = f"/new-each-time/{value}"
    timed.origin.on(target, answer("200 OK", {"Cache-Control": value}, b"new"))
    response = timed.proxy.get(target, {"If-Modified-Since": timed.clock.date()})
    assert (response.status, response.body) == (200, b"new")


@pytest.mark.parametrize("seconds, status", [(0, 304), (-1, 200)])
def test_the_time_of_receipt_stands_in_for_date(
    timed: TimedStand, seconds: int, status: int
) -> None:
    """RFC 9111 4.3.2: where there is neither Last-Modified nor Date."""
    target = f"/received/{seconds}"
    timed.origin.on(target, minute({}))
    timed.proxy.get(target)
    since = timed.clock.date(seconds)
    timed.clock.advance(30)
    response = timed.proxy.get(target, {"If-Modified-Since": since})
    assert (response.status, response.cache) == (status, "HIT")


@pytest.mark.parametrize("since", [MODIFIED, EARLIER])
def test_if_none_match_goes_before_if_modified_since(timed: TimedStand, since: str) -> None:
    target = f"/before/{since[:3]}"
    timed.origin.on(target, minute())
    timed.proxy.get(target)
    fields = {"If-None-Match": '"x"', "If-Modified-Since": since}
    assert timed.proxy.get(target, fields).status == 200
    assert timed.proxy.get(target, {**fields, "If-None-Match": V1}).status == 304


def test_a_304_updates_every_variant_with_its_tag(timed: TimedStand) -> None:
    """RFC 9111 4.3.4: all stored responses that have the same strong validator."""
    fields = {"Vary": "X-Flavour", **STRONG}
    flavours = [{"X-Flavour": flavour} for flavour in ("salt", "sweet", "sour")]
    timed.origin.on("/same-tag", minute(fields))
    for flavour in flavours:
        assert timed.proxy.get("/same-tag", flavour).cache == "MISS"
    timed.clock.advance(60)
    timed.origin.on("/same-tag", unchanged({**fields, "X-New": "1"}))
    for flavour in flavours:
        response = timed.proxy.get("/same-tag", flavour)
        assert (response.cache, response.fields.get("x-new")) == ("HIT", "1")
    assert len(timed.origin.requests) == len(flavours) + 1


# --- invalidation (4.4) ---------------------------------------------------------------------------


def test_a_method_that_is_not_known_changes_nothing(stand: Stand) -> None:
    """RFC 9111 4.4: it is refused before it could be answered by the origin."""
    stand.origin.on("/method", fresh(b"old"))
    stand.proxy.get("/method")
    assert stand.proxy.request("FROBNICATE", "/method").status == 501
    assert stand.proxy.get("/method").cache == "HIT"
    assert len(stand.origin.requests) == 1
