"""Range requests (RFC 9110 14) answered from what is stored whole."""

from __future__ import annotations

import threading
from email.utils import formatdate

import pytest

from .support import bodies
from .support.cache_status import ours
from .support.document import (
    DOC,
    NEW,
    V1,
    V2,
    WEAK,
    Document,
    check_part,
    check_whole,
    parts,
    ranged,
)
from .support.scripted_origin import Exchange, ScriptedOrigin, answer
from .support.stand import Stand, StartProxy
from .support.waiting import DEADLINE

DATE = "Wed, 01 Jan 2025 00:00:00 GMT"


def stored(stand: Stand, target: str = "/stored", **fields: str) -> str:
    """The target of a document that is stored whole."""
    fields = {"Last_Modified": DATE, **fields}
    stand.origin.on(target, Document(**fields))  # type: ignore[arg-type]
    assert stand.proxy.get(target).body == DOC
    return target


# --- from a stored whole --------------------------------------------------------------------------

SINGLE = [
    ("bytes=0-9", 0, 9),
    ("bytes=0-0", 0, 0),
    ("bytes=89-89", 89, 89),
    ("bytes=0-89", 0, 89),
    ("bytes=80-", 80, 89),
    ("bytes=0-", 0, 89),
    ("bytes=-5", 85, 89),
    ("bytes=-90", 0, 89),
    ("bytes=-500", 0, 89),
    ("bytes=80-1000", 80, 89),
    ("bytes=80-99999999999999999999999999", 80, 89),
    ("bytes=-99999999999999999999999999", 0, 89),
    ("bytes=007-0009", 7, 9),
    ("BYTES=1-2", 1, 2),
    ("bytes= 1-2", 1, 2),
    ("bytes=,1-2 ,", 1, 2),
]


@pytest.mark.parametrize("lane", [{}, {"Connection": "x"}], ids=["plain", "not plain"])
@pytest.mark.parametrize(("value", "first", "last"), SINGLE)
def test_a_range(stand: Stand, value: str, first: int, last: int, lane: dict[str, str]) -> None:
    response = stand.proxy.get(stored(stand), {"Range": value, **lane})
    check_part(response, first, last)
    assert response.cache == "HIT"


def test_the_fields_of_a_part_are_those_of_the_whole(stand: Stand) -> None:
    """RFC 9110 15.3.7."""
    given = {
        "Date": formatdate(usegmt=True),
        "Expires": "Thu, 01 Jan 2099 00:00:00 GMT",
        "Content-Location": "/stored.txt",
        "Vary": "X-Nothing",
        "Last-Modified": DATE,
        "Content-Language": "de",
        "X-Own": "kept",
    }
    target = stored(stand, "/fields", **{k.replace("-", "_"): v for k, v in given.items()})
    whole, part = stand.proxy.get(target), ranged(stand, target, "0-9")
    check_part(part, 0, 9)
    for name in (*given, "ETag", "Cache-Control", "Content-Type", "Via", "X-Cache", "X-Cache-Key"):
        assert part.fields.all(name) == whole.fields.all(name) != []
    assert len(part.fields.all("age")) == 1
    assert ours(part)["hit"] == "?1"


MULTIPLE = [
    ("0-9,20-29", [(0, 9), (20, 29)]),
    ("0-0,-1", [(0, 0), (89, 89)]),
    ("50-59, 0-9", [(50, 59), (0, 9)]),
    (" 0-9, 40-49, -10", [(0, 9), (40, 49), (80, 89)]),
    (",".join(f"{n}-{n}" for n in range(0, 80, 5)), [(n, n) for n in range(0, 80, 5)]),
]


@pytest.mark.parametrize(("value", "expected"), MULTIPLE)
def test_several_ranges_in_the_order_asked(
    stand: Stand, value: str, expected: list[tuple[int, int]]
) -> None:
    response = ranged(stand, stored(stand), value)
    assert list(parts(response)) == expected
    assert response.cache == "HIT"


@pytest.mark.parametrize("value", ["0-10,5-15", "0-9,10-19", "10-19,0-9", "0-5,0-5"])
def test_overlapping_and_adjacent_ranges(stand: Stand, value: str) -> None:
    """One by one or joined (RFC 9110 15.3.7.2)."""
    wanted = set()
    for first, last in (spec.split("-") for spec in value.split(",")):
        wanted |= set(range(int(first), int(last) + 1))
    found = parts(ranged(stand, stored(stand), value))
    assert set().union(*(range(first, last + 1) for first, last in found)) == wanted


@pytest.mark.parametrize("value", ["0-9,500-", "500-600,0-9", "-0,0-9"])
def test_what_cannot_be_satisfied_is_left_out(stand: Stand, value: str) -> None:
    response = ranged(stand, stored(stand), value)
    if "content-range" in response.fields:
        check_part(response, 0, 9)
    else:
        assert list(parts(response)) == [(0, 9)]


@pytest.mark.parametrize("value", ["90-", "90-90", "1000-2000", "-0", "90-,-0", "9" * 30 + "-"])
def test_an_unsatisfiable_range(stand: Stand, value: str) -> None:
    response = ranged(stand, stored(stand), value)
    assert response.status == 416
    assert response.fields.all("content-range") == ["bytes */90"]
    assert response.cache == "HIT"


IGNORED = [
    *("bytes=9-0", "bytes=a-b", "bytes=", "bytes", "bytes=-", "bytes=--1", "bytes=1--2", "=0-1"),
    *("bytes=0-1,x", "bytes=0-1,5-4", "bytes=0 -1", "bytes=0-1;a", "bytes=,", "bytes=+1-2", "0-1"),
    *("bytes=0x1-2", "octets=0-1", "seconds=0-1", "bytes=0-1, bytes=4-5", "bytes=1-2-3"),
    *("bytes:0-1", "bytes=0-1 4-5", "bytes=" + ",".join(f"{n}-{n}" for n in range(17))),
]


@pytest.mark.parametrize("first_asked", [True, False], ids=["stored", "not stored"])
@pytest.mark.parametrize("value", IGNORED)
def test_what_is_no_range_is_ignored(stand: Stand, value: str, first_asked: bool) -> None:
    target = stored(stand) if first_asked else f"/ignored?{IGNORED.index(value)}"
    stand.origin.on("/ignored", Document())
    check_whole(stand.proxy.get(target, {"Range": value}))
    again = stand.proxy.get(target)
    check_whole(again)
    assert again.cache == "HIT"


def test_max_ranges_is_a_setting(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    stand = Stand(origin, start_proxy("--max-ranges", "2"))
    target = stored(stand)
    assert list(parts(ranged(stand, target, "0-1,4-5"))) == [(0, 1), (4, 5)]
    check_whole(ranged(stand, target, "0-1,4-5,8-9"))


def test_a_small_request_does_not_make_a_large_answer(stand: Stand) -> None:
    """RFC 9110 17.15: many ranges that overlap."""
    size = 100_000
    stand.origin.on("/amplified", Document(bytes(size)))
    stand.proxy.get("/amplified")
    response = ranged(stand, "/amplified", ",".join(["0-"] * 16))
    assert response.status in (200, 206, 416) and response.size < 2 * size


@pytest.mark.parametrize("value", ["bytes=0-9", "bytes=90-", "bytes=-5"])
def test_head_has_no_ranges(stand: Stand, value: str) -> None:
    """RFC 9110 14.2: GET alone."""
    response = stand.proxy.request("HEAD", stored(stand), {"Range": value})
    assert (response.status, response.fields["content-length"]) == (200, "90")
    assert "content-range" not in response.fields and response.cache == "HIT"


@pytest.mark.parametrize("status", ["404 Not Found", "301 Moved Permanently"])
def test_only_a_200_has_ranges(stand: Stand, status: str) -> None:
    target = f"/status/{status[:3]}"
    stand.origin.on(target, answer(status, {"Cache-Control": "max-age=600"}, DOC))
    stand.proxy.get(target)
    for value in ("0-9", "90-"):
        response = ranged(stand, target, value)
        assert (response.status, response.body) == (int(status[:3]), DOC)
        assert response.cache == "HIT"


@pytest.mark.parametrize("value", ["0-", "0-9", "-5"])
def test_nothing_has_no_ranges(stand: Stand, value: str) -> None:
    stand.origin.on("/empty", Document(b""))
    stand.proxy.get("/empty")
    response = ranged(stand, "/empty", value)
    if response.status == 416:
        assert value != "-5" and response.fields["content-range"] == "bytes */0"
    else:
        assert (response.status, response.body) == (200, b"")


def test_a_range_of_a_large_body(stand: Stand) -> None:
    body = bodies.body("large", 3_000_000)
    stand.origin.on("/large", Document(body))
    stand.proxy.get("/large")
    check_part(ranged(stand, "/large", "1000000-2999999"), 1_000_000, 2_999_999, body)


IF_RANGE = [
    (V1, V1, 206),
    (V1, V2, 200),
    (V1, WEAK, 200),
    (V1, "v1", 200),
    (V1, f"{V1}, {V2}", 200),
    (V1, "*", 200),
    (WEAK, WEAK, 200),
    (WEAK, V1, 200),
    (V1, "Tue, 31 Dec 2024 23:59:59 GMT", 200),
    (V1, "Thu, 01 Jan 2026 00:00:00 GMT", 200),
    (V1, "yesterday", 200),
    (None, DATE, 206),
    (None, V1, 200),
    (None, "Thu, 02 Jan 2025 00:00:00 GMT", 200),
]


@pytest.mark.parametrize(("etag", "condition", "status"), IF_RANGE)
def test_if_range(stand: Stand, etag: str | None, condition: str, status: int) -> None:
    """RFC 9110 13.1.5."""
    target = f"/if-range/{(V1, WEAK, None).index(etag)}"
    stand.origin.on(target, Document(etag=etag, Last_Modified=DATE))
    stand.proxy.get(target)
    for value in ("0-9", "500-"):
        response = ranged(stand, target, value, {"If-Range": condition})
        if status == 200:
            check_whole(response)
        elif value == "500-":
            assert response.status == 416
        else:
            check_part(response, 0, 9)
        assert response.cache == "HIT"
    check_whole(stand.proxy.get(target, {"If-Range": condition}))


def test_a_date_that_may_be_of_two_states_is_no_condition(stand: Stand) -> None:
    """RFC 9110 8.8.2.2: Last-Modified in the second of Date is weak."""
    now = formatdate(usegmt=True)
    stand.origin.on("/weak-date", Document(etag=None, Date=now, Last_Modified=now))
    stand.proxy.get("/weak-date")
    check_whole(ranged(stand, "/weak-date", "0-9", {"If-Range": now}))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"If-None-Match": V1}, 304),
        ({"If-None-Match": V2}, 206),
        ({"If-None-Match": V1, "If-Range": V2}, 304),
        ({"If-Modified-Since": DATE}, 304),
        ({"If-Modified-Since": "Tue, 31 Dec 2024 23:59:59 GMT"}, 206),
    ],
)
def test_other_conditions_go_first(stand: Stand, fields: dict[str, str], status: int) -> None:
    """RFC 9110 13.2.2, 14.2."""
    target = stored(stand)
    response = ranged(stand, target, "0-9", fields)
    assert (response.status, response.cache) == (status, "HIT")
    assert ranged(stand, target, "500-", fields).status == (304 if status == 304 else 416)


def test_a_range_of_a_stale_whole_is_validated(stand: Stand) -> None:
    target = stored(stand, "/stale", Cache_Control="max-age=0")
    response = ranged(stand, target, "0-9")
    check_part(response, 0, 9)
    assert (response.cache, ours(response)["fwd"]) == ("HIT", "stale")
    assert ours(response)["fwd-status"] == "304"
    assert stand.origin.seen(target)[1].fields["if-none-match"] == V1


def test_a_range_of_a_whole_that_has_changed(stand: Stand) -> None:
    target = stored(stand, "/stale-changed", Cache_Control="max-age=0")
    stand.origin.on(target, Document(NEW, V2))
    response = ranged(stand, target, "0-9")
    if response.status == 206:
        check_part(response, 0, 9, NEW)
    else:
        check_whole(response, NEW)
    check_whole(stand.proxy.get(target), NEW)


def test_a_range_while_the_whole_is_on_its_way(stand: Stand) -> None:
    halfway, answered = threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> None:
        whole = Document().reply(exchange.request.fields)
        exchange.send(whole[:-45])
        halfway.set()
        exchange.wait(answered, "the range to be answered")
        exchange.send(whole[-45:])

    stand.origin.on("/meanwhile", slow, Document())
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/meanwhile"))
        assert halfway.wait(DEADLINE)
        check_part(ranged(stand, "/meanwhile", "80-89"), 80, 89)
        answered.set()
        check_whole(client.response())
    response = stand.proxy.get("/meanwhile")
    check_whole(response)
    assert response.cache == "HIT"
