"""Parts that are stored, put together and completed (RFC 9111 3.3, 3.4; RFC 9110 15.3.7.3)."""

from __future__ import annotations

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
from .support.messages import FieldLines, IncompleteError
from .support.scripted_origin import Exchange, ScriptedOrigin, answer
from .support.stand import Stand, StartProxy

KB = 1 << 10
NOTHING = FieldLines()


def has(stand: Stand, target: str, *asked: str) -> None:
    """Store these parts of a document under this target."""
    stand.origin.on(target, Document())
    for value in asked:
        assert ranged(stand, target, value).status == 206


def test_a_range_that_is_not_stored_is_asked_for(stand: Stand) -> None:
    stand.origin.on("/asked", Document())
    response = ranged(stand, "/asked", "10-19")
    check_part(response, 10, 19)
    assert (response.cache, ours(response)["fwd"]) == ("MISS", "uri-miss")
    assert stand.origin.requests[0].fields["range"] == "bytes=10-19"


@pytest.mark.parametrize(
    ("stored", "asked", "first", "last"),
    [
        ("10-19", "10-19", 10, 19),
        ("10-19", "12-15", 12, 15),
        ("10-19", "19-19", 19, 19),
        ("80-", "80-89", 80, 89),
        ("80-89", "85-", 85, 89),
        ("80-89", "-5", 85, 89),
        ("-10", "80-500", 80, 89),
        ("0-89", "30-39", 30, 39),
    ],
)
def test_a_stored_part_answers_for_what_it_holds(
    stand: Stand, stored: str, asked: str, first: int, last: int
) -> None:
    target = f"/held?{stored},{asked}"
    has(stand, target, stored)
    response = ranged(stand, target, asked)
    check_part(response, first, last)
    assert (response.cache, ours(response)["hit"]) == ("HIT", "?1")
    assert len(stand.origin.requests) == 1


def test_the_fields_of_a_stored_part_come_back(stand: Stand) -> None:
    given = {"X-Own": "kept", "Content-Language": "de", "Vary": "X-Nothing"}
    named = {name.replace("-", "_"): value for name, value in given.items()}
    stand.origin.on("/part-fields", Document(**named))  # type: ignore[arg-type]
    for cache in ("MISS", "HIT"):
        response = ranged(stand, "/part-fields", "0-9")
        assert response.cache == cache
        for name, value in {**given, "ETag": V1, "Content-Type": "text/plain"}.items():
            assert response.fields.all(name) == [value]


@pytest.mark.parametrize("value", ["5-25", "0-10", "20-30", "-5", "0-", "40-49"])
def test_what_is_not_held_is_never_made_up(stand: Stand, value: str) -> None:
    target = f"/gap?{value}"
    has(stand, target, "0-9", "20-29")
    response = ranged(stand, target, value)
    first, last = {"-5": (85, 89), "0-": (0, 89)}.get(value) or map(int, value.split("-"))
    check_part(response, first, last)
    assert response.cache == "MISS"
    for held, place in (("0-9", (0, 9)), ("20-29", (20, 29))):
        check_part(ranged(stand, target, held), *place)


@pytest.mark.parametrize(
    "asked", [("0-44", "45-89"), ("45-", "0-44"), ("0-59", "30-89"), ("0-9", "-10", "10-79")]
)
def test_parts_that_make_a_whole_are_one(stand: Stand, asked: tuple[str, ...]) -> None:
    """RFC 9110 15.3.7.3: then it is a complete 200."""
    target = f"/combined?{'+'.join(asked)}"
    has(stand, target, *asked)
    whole, part = stand.proxy.get(target), ranged(stand, target, "5-84")
    check_whole(whole)
    assert whole.fields.all("content-length") == ["90"]
    check_part(part, 5, 84)
    assert (whole.cache, part.cache) == ("HIT", "HIT")
    assert len(stand.origin.requests) == len(asked)


def test_parts_that_touch_are_one_part(stand: Stand) -> None:
    has(stand, "/touching", "10-19", "20-29", "25-39")
    response = ranged(stand, "/touching", "15-35")
    check_part(response, 15, 35)
    assert response.cache == "HIT"


def test_several_ranges_of_stored_parts(stand: Stand) -> None:
    has(stand, "/several", "0-9", "20-29")
    response = ranged(stand, "/several", "0-4,20-24")
    assert list(parts(response)) == [(0, 4), (20, 24)]
    assert response.cache == "HIT"


def test_newer_fields_replace_stored_ones(stand: Stand) -> None:
    """RFC 9110 15.3.7.3."""
    stand.origin.on("/renewed", Document(X_Own="old"), Document(X_Own="new"))
    ranged(stand, "/renewed", "0-44")
    ranged(stand, "/renewed", "45-89")
    assert stand.proxy.get("/renewed").fields.all("x-own") == ["new"]


def test_another_validator_replaces_what_was_held(stand: Stand) -> None:
    has(stand, "/replaced", "0-44")
    stand.origin.on("/replaced", Document(NEW, V2))
    check_part(ranged(stand, "/replaced", "45-89"), 45, 89, NEW)
    check_part(ranged(stand, "/replaced", "0-9"), 0, 9, NEW)
    check_whole(stand.proxy.get("/replaced"), NEW)


# --- whole requests that need the rest ------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "rest"), [("0-44", ("45-89", "45-")), ("45-89", ("0-44",)), ("80-", ("0-79",))]
)
def test_the_rest_is_fetched_for_a_whole(stand: Stand, stored: str, rest: tuple[str, ...]) -> None:
    target = f"/completed?{stored}"
    has(stand, target, stored)
    response = stand.proxy.get(target)
    check_whole(response)
    assert (ours(response)["fwd"], ours(response)["fwd-status"]) == ("partial", "206")
    request = stand.origin.seen(target)[1]
    assert request.fields["range"] in [f"bytes={value}" for value in rest]
    assert request.fields["if-range"] == V1
    again = stand.proxy.get(target)
    check_whole(again)
    assert again.cache == "HIT"


@pytest.mark.parametrize("stored", [("20-29",), ("10-19", "40-49", "70-79")])
def test_a_whole_with_parts_in_its_middle(stand: Stand, stored: tuple[str, ...]) -> None:
    target = f"/middle/{len(stored)}"
    has(stand, target, *stored)
    for cache in ("MISS", "HIT"):
        response = stand.proxy.get(target)
        check_whole(response)
        assert response.cache == cache


def test_a_whole_that_has_changed_replaces_the_part(stand: Stand) -> None:
    has(stand, "/outdated", "0-44")
    stand.origin.on("/outdated", Document(NEW, V2))
    for cache in ("MISS", "HIT"):
        response = stand.proxy.get("/outdated")
        check_whole(response, NEW)
        assert (response.cache, response.fields["etag"]) == (cache, V2)


SHORT = NEW[:20]
REFUSALS = {
    "unsatisfiable": answer("416 Range Not Satisfiable", {"Content-Range": "bytes */20"}),
    "another state": Document(NEW, V2).part(45, 89),
    "another length": Document(NEW[:80]).part(45, 79),
    "another place": Document().part(30, 44),
    "no place": answer("206 Partial Content", {"ETag": V1}, b"x" * 45),
    "no validator": Document(etag=None).part(45, 89, b"x" * 45),
    "too little": Document().part(45, 89, b"x" * 20),
    "too much": Document().part(45, 89, b"x" * 60),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_rest_that_does_not_fit_is_not_put_together(stand: Stand, case: str) -> None:
    """The client did not ask for a range: it gets a whole, never a mixture; an error once."""
    target = f"/refused/{list(REFUSALS).index(case)}"
    has(stand, target, "0-44")

    def reply(exchange: Exchange) -> None:
        asks_for_part = "range" in exchange.request.fields
        exchange.send(REFUSALS[case] if asks_for_part else Document(SHORT, V2).reply(NOTHING))

    stand.origin.on(target, reply)
    response = stand.proxy.get(target)
    if case == "unsatisfiable" or response.status != 502:
        check_whole(response, SHORT)
    check_whole(stand.proxy.get(target), SHORT)


def test_a_document_that_is_gone_is_gone_as_a_whole(stand: Stand) -> None:
    has(stand, "/gone", "0-44")
    stand.origin.on("/gone", answer("404 Not Found", {"Cache-Control": "no-store"}, b"gone"))
    response = stand.proxy.get("/gone")
    assert (response.status, response.body) == (404, b"gone")


def test_a_rest_that_is_cut_breaks_the_whole(stand: Stand) -> None:
    def cut(exchange: Exchange) -> None:
        exchange.send(Document().part(45, 89)[:-20])
        exchange.close()

    has(stand, "/rest-cut", "0-44")
    stand.origin.on("/rest-cut", cut, Document())
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/rest-cut"))
        with pytest.raises(IncompleteError) as broken:
            client.response()
    assert DOC.startswith(broken.value.body)
    check_whole(stand.proxy.get("/rest-cut"))


def test_a_stale_part_is_not_used_unvalidated(stand: Stand) -> None:
    stand.origin.on("/stale-part", Document(Cache_Control="max-age=0"), Document(NEW, V2))
    check_part(ranged(stand, "/stale-part", "0-9"), 0, 9)
    response = ranged(stand, "/stale-part", "0-9")
    if response.status == 206:
        check_part(response, 0, 9, NEW)
    else:
        check_whole(response, NEW)


def test_unsafe_methods_invalidate_parts(stand: Stand) -> None:
    has(stand, "/part-changed", "0-9")
    stand.origin.on("/part-changed", answer("204 No Content"), Document(NEW, V2))
    stand.proxy.request("POST", "/part-changed")
    check_part(ranged(stand, "/part-changed", "0-9"), 0, 9, NEW)


# --- parts that are not kept, or lie --------------------------------------------------------------

NOT_KEPT = {
    "no validator": {"etag": None},
    "weak validator": {"etag": WEAK},
    "no-store": {"Cache_Control": "no-store"},
    "private": {"Cache_Control": "private, max-age=600"},
    "Vary: *": {"Vary": "*"},
}


@pytest.mark.parametrize("case", NOT_KEPT)
def test_parts_that_are_not_stored(stand: Stand, case: str) -> None:
    target = f"/not-kept/{list(NOT_KEPT).index(case)}"
    stand.origin.on(target, Document(**NOT_KEPT[case]))  # type: ignore[arg-type]
    for _ in range(2):
        response = ranged(stand, target, "0-9")
        check_part(response, 0, 9)
        assert response.cache == "MISS"
    assert len(stand.origin.requests) == 2


JUNK = b"x" * 10
LIES = {
    "another place": Document().part(0, 9),
    "too little": Document().part(10, 19, JUNK[:5]),
    "too much": Document().part(10, 19, JUNK * 2),
    "no place": answer("206 Partial Content", {"Cache-Control": "max-age=600", "ETag": V1}, JUNK),
    "backwards": Document().part(10, 19, JUNK, Content_Range="bytes 19-10/90"),
    "beyond its end": Document().part(10, 19, JUNK, Content_Range="bytes 10-19/19"),
    "no number": Document().part(10, 19, JUNK, Content_Range="bytes 10-19/many"),
    "huge": Document().part(10, 19, JUNK, Content_Range=f"bytes 10-19/{'9' * 40}"),
    "another unit": Document().part(10, 19, JUNK, Content_Range="octets 10-19/90"),
    "unsatisfied": Document().part(10, 19, JUNK, Content_Range="bytes */90"),
    "two places": Document().part(10, 19, JUNK, Content_Range="bytes 10-19/90, bytes 0-9/90"),
    "unknown length": Document().part(10, 19, Content_Range="bytes 10-19/*"),
    "another length": Document().part(10, 19, JUNK, Content_Range="bytes 10-19/20"),
    "several parts": Document().part(
        10, 19, b"--b\r\nContent-Range: bytes 10-19/90\r\n\r\n+,-./01234\r\n--b--\r\n",
        Content_Type="multipart/byteranges; boundary=b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_206_that_lies_corrupts_nothing(stand: Stand, case: str) -> None:
    """It may be passed on as it is; what it brought is never taken for what it is not."""
    target = f"/lie/{list(LIES).index(case)}"
    stand.origin.on(target, LIES[case], Document())
    assert ranged(stand, target, "10-19").status in (206, 502)
    for value, first, last in (("0-9", 0, 9), ("10-19", 10, 19), ("15-29", 15, 29)):
        response = ranged(stand, target, value)
        check_part(response, first, last)
    check_whole(stand.proxy.get(target))


def test_a_206_that_nobody_asked_for_is_not_taken_for_the_whole(stand: Stand) -> None:
    stand.origin.on("/unasked", Document().part(0, 9), Document())
    response = stand.proxy.get("/unasked")
    assert response.status in (206, 502)
    for _ in range(2):
        check_whole(stand.proxy.get("/unasked"))


def test_an_origin_without_ranges_fills_the_store(stand: Stand) -> None:
    def whole(exchange: Exchange) -> None:
        exchange.send(Document().reply(NOTHING))

    stand.origin.on("/rangeless", whole)
    response = ranged(stand, "/rangeless", "10-19")
    if response.status == 206:
        check_part(response, 10, 19)
    else:
        check_whole(response)
    part = ranged(stand, "/rangeless", "10-19")
    check_part(part, 10, 19)
    assert part.cache == stand.proxy.get("/rangeless").cache == "HIT"


@pytest.mark.parametrize("status", ["404 Not Found", "416 Range Not Satisfiable"])
def test_other_answers_to_a_range_pass_through(stand: Stand, status: str) -> None:
    target = f"/other/{status[:3]}"
    fields = {"Cache-Control": "max-age=600", "Content-Range": "bytes */5"}
    stand.origin.on(target, answer(status, fields, b"other"), Document())
    response = ranged(stand, target, "10-19")
    assert (response.status, response.body, response.cache) == (int(status[:3]), b"other", "MISS")
    whole = stand.proxy.get(target)
    assert whole.status in ((404, 200) if status.startswith("404") else (200,))


@pytest.mark.parametrize(("condition", "status"), [(V1, 206), (V2, 200)])
def test_a_clients_if_range_goes_to_the_origin(stand: Stand, condition: str, status: int) -> None:
    target = f"/if-range-miss/{status}"
    stand.origin.on(target, Document())
    response = ranged(stand, target, "10-19", {"If-Range": condition})
    if status == 206:
        check_part(response, 10, 19)
    else:
        check_whole(response)
    request = stand.origin.requests[0]
    assert (request.fields["range"], request.fields["if-range"]) == ("bytes=10-19", condition)
    again = ranged(stand, target, "10-19", {"If-Range": condition})
    assert again.status == status
    assert status == 206 or stand.proxy.get(target).cache == "HIT"


def test_several_ranges_pass_through(stand: Stand) -> None:
    parts = LIES["several parts"]
    stand.origin.on("/multipart", parts, Document())
    response = ranged(stand, "/multipart", "10-19,30-39")
    assert (response.status, response.body) == (206, parts.partition(b"\r\n\r\n")[2])
    assert stand.origin.requests[0].fields["range"] == "bytes=10-19,30-39"
    check_whole(stand.proxy.get("/multipart"))


def test_parts_of_what_is_too_large_stream_through(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    body = bodies.body("too large", 200 * KB)
    stand = Stand(origin, start_proxy("--max-object", "100KB"))
    origin.on("/large", Document(body))
    for first, last in ((0, 150 * KB - 1), (100 * KB, 200 * KB - 1)):
        check_part(ranged(stand, "/large", f"{first}-{last}"), first, last, body)
    check_whole(stand.proxy.get("/large"), body)


def test_without_memory_ranges_pass_through(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    stand = Stand(origin, start_proxy("--memory", "0"))
    origin.on("/", Document())
    for _ in range(2):
        response = ranged(stand, "/", "10-19")
        check_part(response, 10, 19)
        assert response.cache == "MISS"
