"""A client's conditions, and its HEAD, beside what is stored (RFC 9111 4.3.2, 4.3.5)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from .support.cache_status import ours
from .support.scripted_origin import NO_FIELDS, Exchange, Script, answer
from .support.stand import TimedStand
from .support.validated import (
    BOTH,
    EARLIER,
    LATER,
    MODIFIED,
    STRONG,
    go_stale,
    minute,
    preconditions,
    unchanged,
)

CLIENTS: list[tuple[dict[str, str], int]] = [
    ({"If-None-Match": '"x"'}, 200),
    ({"If-None-Match": '"x", "y"'}, 200),
    ({"If-None-Match": '"v1"'}, 304),
    ({"If-None-Match": 'W/"v1"'}, 304),
    ({"If-None-Match": '"x", "v1"'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-Modified-Since": MODIFIED}, 304),
    ({"If-Modified-Since": LATER}, 304),
    ({"If-Modified-Since": EARLIER}, 200),
    ({"If-Modified-Since": "yesterday"}, 200),
    ({"If-None-Match": '"x"', "If-Modified-Since": LATER}, 200),
    ({"If-None-Match": '"v1"', "If-Modified-Since": EARLIER}, 304),
]


@pytest.mark.parametrize("fields, status", CLIENTS)
def test_the_clients_condition_is_answered_by_us_and_ours_by_the_origin(
    timed: TimedStand, fields: dict[str, str], status: int
) -> None:
    """RFC 9111 4.3.2; RFC 9110 13.2.2 for the precedence."""
    target = f"/mine/{CLIENTS.index((fields, status))}"
    go_stale(timed, target, minute(), unchanged())
    response = timed.proxy.get(target, fields)
    assert (response.status, response.cache) == (status, "HIT")
    assert response.body == (b"" if status == 304 else b"first")
    assert response.fields["etag"] == '"v1"'
    sent = preconditions(timed.origin.seen(target)[1])
    assert sent == {"if-none-match": '"v1"', "if-modified-since": MODIFIED}


@pytest.mark.parametrize(
    "fields, status",
    [
        ({"If-None-Match": '"v1"'}, 200),
        ({"If-None-Match": '"v2"'}, 304),
        ({"If-None-Match": '"v1", "v2"'}, 304),
        ({"If-Modified-Since": MODIFIED}, 200),
    ],
)
def test_the_clients_condition_is_judged_by_what_has_replaced_the_stored_response(
    timed: TimedStand, fields: dict[str, str], status: int
) -> None:
    target = f"/replaced-mine/{len(fields)}-{next(iter(fields.values())).encode().hex()}"
    new = {"ETag": '"v2"', "Last-Modified": LATER}
    go_stale(timed, target, minute(), minute(new, b"second"))
    response = timed.proxy.get(target, fields)
    assert (response.status, response.cache) == (status, "MISS")
    assert response.body == (b"" if status == 304 else b"second")
    hit = timed.proxy.get(target)
    assert (hit.status, hit.cache, hit.body) == (200, "HIT", b"second")


def test_the_clients_date_is_never_sent_where_only_a_tag_is_stored(timed: TimedStand) -> None:
    go_stale(timed, "/tag-only", minute(STRONG), unchanged(STRONG))
    timed.proxy.get("/tag-only", {"If-Modified-Since": LATER, "If-None-Match": '"x"'})
    assert preconditions(timed.origin.seen("/tag-only")[1]) == {"if-none-match": '"v1"'}


@pytest.mark.parametrize("seconds, status", [(0, 304), (1, 304), (-1, 200)])
def test_the_date_stands_in_for_last_modified(timed: TimedStand, seconds: int, status: int) -> None:
    """RFC 9111 4.3.2."""
    target = f"/date-for-modified/{seconds}"
    timed.origin.on(target, minute({"Date": timed.clock.date()}))
    timed.proxy.get(target)
    response = timed.proxy.get(target, {"If-Modified-Since": timed.clock.date(seconds)})
    assert (response.status, response.cache) == (status, "HIT")


ON_A_MISS: list[tuple[dict[str, str], int]] = [
    ({"If-None-Match": '"v1"'}, 304),
    ({"If-None-Match": '"x", W/"v1"'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"x"'}, 200),
    ({"If-Modified-Since": MODIFIED}, 304),
    ({"If-Modified-Since": EARLIER}, 200),
]


@pytest.mark.parametrize("fields, status", ON_A_MISS)
def test_a_condition_on_a_miss_does_not_reach_the_origin(
    timed: TimedStand, fields: dict[str, str], status: int
) -> None:
    """The whole response comes, and the client's condition is judged by it."""
    target = f"/on-a-miss/{ON_A_MISS.index((fields, status))}"
    timed.origin.on(target, minute())
    response = timed.proxy.get(target, fields)
    assert (response.status, response.cache) == (status, "MISS")
    assert response.body == (b"" if status == 304 else b"first")
    assert response.fields["etag"] == '"v1"'
    found = ours(response)
    assert found["fwd"] == "uri-miss"
    assert found.get("fwd-status", str(status)) == "200"
    assert preconditions(timed.origin.seen(target)[0]) == {}


def test_a_condition_on_a_miss_fills_the_cache(timed: TimedStand) -> None:
    timed.origin.on("/filled", minute())
    assert timed.proxy.get("/filled", {"If-None-Match": '"v1"'}).status == 304
    hit = timed.proxy.get("/filled")
    assert (hit.status, hit.cache, hit.body) == (200, "HIT", b"first")


def test_a_condition_on_a_miss_leaves_other_statuses_alone(timed: TimedStand) -> None:
    """RFC 9110 13.2.1: a condition means nothing where the answer would be no 2xx without it."""
    timed.origin.on("/not-there", answer("404 Not Found", BOTH, b"none"))
    for cache in ("MISS", "HIT"):
        response = timed.proxy.get("/not-there", {"If-None-Match": '"v1"'})
        assert (response.status, response.cache, response.body) == (404, cache, b"none")


FOR_THE_ORIGIN = [
    {"If-Match": '"v0"'},
    {"If-Match": "*"},
    {"If-Unmodified-Since": EARLIER},
    {"If-Match": '"v0"', "If-None-Match": '"v1"'},
    {"If-Unmodified-Since": EARLIER, "If-Modified-Since": LATER},
]


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "miss"])
@pytest.mark.parametrize("fields", FOR_THE_ORIGIN, ids=repr)
def test_conditions_that_are_for_the_origin_reach_it_untouched(
    timed: TimedStand, fields: dict[str, str], stored: bool
) -> None:
    """RFC 9111 4.3.2: If-Match and If-Unmodified-Since are not a cache's to judge."""
    target = f"/for-the-origin/{FOR_THE_ORIGIN.index(fields)}/{stored}"
    if stored:
        timed.origin.on(target, minute())
        timed.proxy.get(target)
    timed.origin.on(target, answer("412 Precondition Failed", STRONG, b"failed"), minute())
    response = timed.proxy.get(target, fields)
    assert (response.status, response.cache, response.body) == (412, "MISS", b"failed")
    expected = {name.lower(): value for name, value in fields.items()}
    assert preconditions(timed.origin.seen(target)[-1]) == expected
    after = timed.proxy.get(target)
    assert (after.status, after.cache) == (200, "HIT" if stored else "MISS")


# --- HEAD -----------------------------------------------------------------------------------------


def known(tag: str, fields: Mapping[str, str] = NO_FIELDS, body: bytes = b"first") -> Script:
    """An origin that answers conditions, with GET and HEAD alike."""

    def script(exchange: Exchange) -> None:
        lines = {"Cache-Control": "max-age=60", "ETag": tag, **fields}
        head, end, _ = answer("200 OK", lines, body).partition(b"\r\n\r\n")
        if tag in (exchange.request.fields.get("if-none-match") or ""):
            exchange.send(answer("304 Not Modified", lines))
        else:
            exchange.send(head, end, b"" if exchange.request.method == "HEAD" else body)

    return script


def test_head_for_a_stale_response_is_answered_and_makes_it_fresh(timed: TimedStand) -> None:
    """RFC 9111 4.3.5, or 4.3.4 when the HEAD was made conditional."""
    go_stale(timed, "/head", minute(STRONG), known('"v1"', {"X-Foo": "new"}))
    head = timed.proxy.request("HEAD", "/head")
    assert (head.status, head.fields["content-length"]) == (200, "5")
    assert head.fields["x-foo"] == "new"
    response = timed.proxy.get("/head")
    assert (response.status, response.cache, response.body) == (200, "HIT", b"first")
    assert response.fields["x-foo"] == "new"
    assert len(timed.origin.requests) == 2


def head_only(fields: Mapping[str, str]) -> bytes:
    """The answer to a HEAD; the fields tell of a body that does not come."""
    return answer("200 OK", {"Cache-Control": "max-age=600", "Content-Length": "5", **fields})


def test_head_with_the_same_validators_updates_the_stored_get(timed: TimedStand) -> None:
    timed.origin.on("/head-same", minute(), head_only({**BOTH, "X-Foo": "new"}), minute({}, b"no"))
    timed.proxy.get("/head-same")
    timed.clock.advance(50)
    assert timed.proxy.request("HEAD", "/head-same", {"Cache-Control": "no-cache"}).status == 200
    timed.clock.advance(599)
    response = timed.proxy.get("/head-same")
    assert (response.cache, response.body) == ("HIT", b"first")
    assert (response.fields["age"], response.fields["x-foo"]) == ("599", "new")


HEAD_DIFFERENT: dict[str, Mapping[str, str]] = {
    "etag": {**BOTH, "ETag": '"v2"'},
    "weak-etag": {**BOTH, "ETag": 'W/"v2"'},
    "last-modified": {"Last-Modified": LATER},
    "content-length": {**BOTH, "Content-Length": "6"},
}


@pytest.mark.parametrize("case", HEAD_DIFFERENT)
def test_head_that_differs_makes_the_stored_get_stale(timed: TimedStand, case: str) -> None:
    """RFC 9111 4.3.5."""
    target = f"/head-different/{case}"
    timed.origin.on(target, minute(), head_only(HEAD_DIFFERENT[case]), minute({}, b"second"))
    timed.proxy.get(target)
    head = timed.proxy.request("HEAD", target, {"Cache-Control": "no-cache"})
    assert (head.status, head.cache) == (200, "MISS")
    response = timed.proxy.get(target)
    assert (response.cache, response.body) == ("MISS", b"second")


@pytest.mark.parametrize("stored", [True, False], ids=["stale", "miss"])
@pytest.mark.parametrize("tag, status", [('"v1"', 304), ('"x"', 200)])
def test_a_condition_with_head(timed: TimedStand, tag: str, status: int, stored: bool) -> None:
    target = f"/head-condition/{status}/{stored}"
    timed.origin.on(target, known('"v1"'))
    if stored:
        timed.proxy.get(target)
        timed.clock.advance(60)
    assert timed.proxy.request("HEAD", target, {"If-None-Match": tag}).status == status
    response = timed.proxy.get(target)
    assert (response.status, response.body) == (200, b"first")
