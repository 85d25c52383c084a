"""Stored responses validated with the origin (RFC 9111 4.3, 3.2; RFC 9110 13)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from .support.cache_status import ours
from .support.clock import Clock
from .support.messages import Request, Response
from .support.scripted_origin import Exchange, ScriptedOrigin, answer
from .support.stand import StartProxy, TimedStand
from .support.validated import (
    BOTH,
    EARLIER,
    LATER,
    MODIFIED,
    STRONG,
    check_validated,
    go_stale,
    minute,
    preconditions,
    unchanged,
)

VALIDATORS: dict[str, Mapping[str, str]] = {
    "strong": STRONG,
    "weak": {"ETag": 'W/"v1"'},
    "empty": {"ETag": '""'},
    "unquoted": {"ETag": "v1"},
    "date": {"Last-Modified": MODIFIED},
    "both": BOTH,
}
# --- the request that validates -------------------------------------------------------------------


@pytest.mark.parametrize("case", VALIDATORS)
def test_a_stale_response_is_validated_with_all_its_validators(
    timed: TimedStand, case: str
) -> None:
    """RFC 9111 4.3.1; the validators go as they came."""
    target, validators = f"/validated/{case}", VALIDATORS[case]
    go_stale(timed, target, minute(validators), unchanged(validators))
    check_validated(timed.proxy.get(target))
    expected = {
        "if-none-match": validators.get("ETag"),
        "if-modified-since": validators.get("Last-Modified"),
    }
    first, second = timed.origin.seen(target)
    assert preconditions(first) == {}
    assert preconditions(second) == {name: value for name, value in expected.items() if value}


def test_nothing_to_validate_with_is_an_ordinary_request(timed: TimedStand) -> None:
    go_stale(timed, "/without", minute({}), minute({}, b"second"))
    response = timed.proxy.get("/without")
    assert (response.cache, response.body) == ("MISS", b"second")
    assert ours(response)["fwd"] == "stale"
    assert preconditions(timed.origin.seen("/without")[1]) == {}


def test_a_fresh_response_is_not_validated(timed: TimedStand) -> None:
    timed.origin.on("/fresh", minute())
    timed.proxy.get("/fresh")
    timed.clock.advance(59)
    assert timed.proxy.get("/fresh").cache == "HIT"
    assert len(timed.origin.requests) == 1


STALE_ON_ARRIVAL = {
    "no-cache": {"Cache-Control": "no-cache", **STRONG},
    "no-cache-beside-max-age": {"Cache-Control": "max-age=600, no-cache", **STRONG},
    "max-age-0": {"Cache-Control": "max-age=0", **STRONG},
    "expired": {"Expires": EARLIER, "Last-Modified": MODIFIED},
    "age": {"Cache-Control": "max-age=60", "Age": "60", **STRONG},
    "targeted": {"Cache-Control": "max-age=600", "CDN-Cache-Control": "no-cache", **STRONG},
}


@pytest.mark.parametrize("case", STALE_ON_ARRIVAL)
def test_what_must_be_validated_each_time_is_stored_and_validated_each_time(
    timed: TimedStand, case: str
) -> None:
    """RFC 9111 5.2.2.4: no-cache does not forbid to store."""
    target, fields = f"/each-time/{case}", STALE_ON_ARRIVAL[case]
    timed.origin.on(target, answer("200 OK", fields, b"first"), answer("304 Not Modified", fields))
    responses = [timed.proxy.get(target) for _ in range(3)]
    assert [response.cache for response in responses] == ["MISS", "HIT", "HIT"]
    assert {response.body for response in responses} == {b"first"}
    assert [ours(response).get("fwd-status") for response in responses[1:]] == ["304", "304"]
    asked = [bool(preconditions(request)) for request in timed.origin.seen(target)]
    assert asked == [False, True, True]


@pytest.mark.parametrize("value", ["no-cache", "no-cache, max-age=600", "max-age=0"])
def test_what_must_be_validated_and_cannot_be_is_not_reused(timed: TimedStand, value: str) -> None:
    target = f"/never/{value.replace(', ', '-')}"
    fields = {"Cache-Control": value}
    timed.origin.on(target, answer("200 OK", fields, b"1"), answer("200 OK", fields, b"2"))
    responses = [timed.proxy.get(target) for _ in range(2)]
    assert [response.cache for response in responses] == ["MISS", "MISS"]
    assert [response.body for response in responses] == [b"1", b"2"]


# --- 304: what becomes of the stored response -----------------------------------------------------

STORED_FIELDS = {
    **BOTH,
    "Content-Type": "text/plain",
    "Content-Encoding": "gzip",
    "X-Foo": "old",
    "X-Kept": "kept",
}
NEW_FIELDS = {
    **STRONG,
    "Content-Type": "text/html",
    "Content-Encoding": "br",
    "Content-Length": "999",
    "X-Foo": "new",
    "X-New": "new",
}
UPDATED = {
    "cache-control": "max-age=600",
    "content-type": "text/html",
    "content-encoding": "gzip",
    "content-length": "5",
    "etag": '"v1"',
    "last-modified": MODIFIED,
    "x-foo": "new",
    "x-kept": "kept",
    "x-new": "new",
}


def test_304_updates_the_stored_fields(timed: TimedStand) -> None:
    """RFC 9111 3.2: each field of the 304, but what describes the octets that are stored."""
    go_stale(timed, "/updated", minute(STORED_FIELDS), unchanged(NEW_FIELDS, 600))
    for _ in range(2):
        response = timed.proxy.get("/updated")
        assert (response.status, response.cache, response.body) == (200, "HIT", b"first")
        assert {name: response.fields.all(name) for name in UPDATED} == {
            name: [value] for name, value in UPDATED.items()
        }
        timed.clock.advance(10)
    assert len(timed.origin.requests) == 2


def test_304_replaces_all_lines_of_a_field(timed: TimedStand) -> None:
    lines = b"X-Many: 1\r\nX-Many: 2\r\n\r\n"
    stored = minute().replace(b"\r\n\r\n", b"\r\n" + lines, 1)
    go_stale(timed, "/lines", stored, unchanged({**BOTH, "X-Many": "3"}))
    assert timed.proxy.get("/lines").fields.all("x-many") == ["3"]
    assert timed.proxy.get("/lines").fields.all("x-many") == ["3"]


def test_304_of_one_connection_leaves_no_trace_of_that_connection(timed: TimedStand) -> None:
    """RFC 9111 3.1: hop-by-hop fields and those that Connection names are not stored."""
    hop = {**BOTH, "Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=5"}
    go_stale(timed, "/hop", minute(), unchanged(hop))
    for _ in range(2):
        response = timed.proxy.get("/hop")
        assert response.cache == "HIT"
        assert not {"x-hop", "keep-alive"} & {name for name, _ in response.fields.lines}


def test_304_makes_a_response_fresh_again_from_then_on(timed: TimedStand) -> None:
    date = {**BOTH, "Date": timed.clock.date(60)}
    go_stale(timed, "/again", minute(), unchanged(date, 600), minute({}, b"second"))
    check_validated(timed.proxy.get("/again"))
    timed.clock.advance(599)
    response = timed.proxy.get("/again")
    assert (response.cache, response.body) == ("HIT", b"first")
    assert response.fields.all("age") == ["599"]
    assert response.fields.all("date") == [date["Date"]]
    assert ours(response)["ttl"] == "1"
    timed.clock.advance(1)
    assert timed.proxy.get("/again").body == b"second"


def test_304_without_date_makes_it_fresh_as_well(timed: TimedStand) -> None:
    """RFC 9110 6.6.1: the time of receipt stands in for the Date."""
    dated = {**BOTH, "Date": timed.clock.date()}
    go_stale(timed, "/dateless", minute(dated), unchanged())
    check_validated(timed.proxy.get("/dateless"))
    timed.clock.advance(59)
    response = timed.proxy.get("/dateless")
    assert (response.cache, response.fields["age"]) == ("HIT", "59")
    assert len(timed.origin.requests) == 2


def test_the_age_of_a_304_counts(timed: TimedStand) -> None:
    go_stale(timed, "/aged", minute(), unchanged({**BOTH, "Age": "50"}))
    check_validated(timed.proxy.get("/aged"))
    timed.clock.advance(9)
    response = timed.proxy.get("/aged")
    assert (response.cache, response.fields["age"]) == ("HIT", "59")
    timed.clock.advance(1)
    timed.proxy.get("/aged")
    assert len(timed.origin.requests) == 3


def test_304_that_says_nothing_of_freshness_keeps_the_stored_lifetime(timed: TimedStand) -> None:
    go_stale(timed, "/silent", minute(), answer("304 Not Modified", STRONG))
    check_validated(timed.proxy.get("/silent"))
    timed.clock.advance(59)
    assert timed.proxy.get("/silent").cache == "HIT"
    assert len(timed.origin.requests) == 2


def test_304_without_validators_confirms_the_ones_that_were_sent(timed: TimedStand) -> None:
    go_stale(timed, "/bare", minute(), unchanged({}))
    check_validated(timed.proxy.get("/bare"))
    assert timed.proxy.get("/bare").fields["etag"] == '"v1"'
    assert len(timed.origin.requests) == 2


def test_304_with_a_weak_tag_confirms_the_strong_one_of_the_same_text(timed: TimedStand) -> None:
    """RFC 9111 4.3.4, the second case; a server that compresses weakens its tags."""
    go_stale(timed, "/weakened", minute(STRONG), unchanged({"ETag": 'W/"v1"'}))
    check_validated(timed.proxy.get("/weakened"))
    assert timed.proxy.get("/weakened").cache == "HIT"
    assert len(timed.origin.requests) == 2


def test_304_with_the_same_tag_and_another_date_updates_the_date(timed: TimedStand) -> None:
    go_stale(timed, "/touched", minute(), unchanged({**STRONG, "Last-Modified": LATER}))
    check_validated(timed.proxy.get("/touched"))
    timed.clock.advance(60)
    timed.proxy.get("/touched")
    sent = preconditions(timed.origin.seen("/touched")[2])
    assert sent == {"if-none-match": '"v1"', "if-modified-since": LATER}


@pytest.mark.parametrize("directive", ["no-store", "private"])
def test_304_that_forbids_storing_ends_the_stored_response(
    timed: TimedStand, directive: str
) -> None:
    target = f"/ended/{directive}"
    forbids = answer("304 Not Modified", {**BOTH, "Cache-Control": directive})
    go_stale(timed, target, minute(), forbids, minute({}, b"second"))
    response = timed.proxy.get(target)
    assert (response.status, response.body) == (200, b"first")
    response = timed.proxy.get(target)
    assert (response.cache, response.body) == ("MISS", b"second")
    assert preconditions(timed.origin.seen(target)[2]) == {}


OTHERS: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "strong": (STRONG, {"ETag": '"v2"'}),
    "strong-for-weak": ({"ETag": 'W/"v1"'}, {"ETag": '"v2"'}),
    "strong-for-weak-of-the-same-text": ({"ETag": 'W/"v1"'}, {"ETag": '"v1"'}),
    "weak": (STRONG, {"ETag": 'W/"v2"'}),
    "strong-and-same-date": (BOTH, {"ETag": '"v2"', "Last-Modified": MODIFIED}),
    "date": ({"Last-Modified": MODIFIED}, {"Last-Modified": LATER}),
    "tag-for-date": ({"Last-Modified": MODIFIED}, {"ETag": '"v2"'}),
}


@pytest.mark.parametrize("case", OTHERS)
def test_304_with_other_validators_confirms_nothing(timed: TimedStand, case: str) -> None:
    """RFC 9111 4.3.4: it must not update the stored response; the whole is fetched instead."""
    target, (stored, other) = f"/other/{case}", OTHERS[case]
    second = minute(other, b"second")
    go_stale(timed, target, minute(stored), unchanged({**other, "X-Foo": "no"}), second)
    response = timed.proxy.get(target)
    assert (response.status, response.cache, response.body) == (200, "MISS", b"second")
    assert "x-foo" not in response.fields
    assert preconditions(timed.origin.seen(target)[2]) == {}
    assert timed.proxy.get(target).body == b"second"


@pytest.mark.parametrize("client", [{}, {"If-None-Match": '"v1"'}])
def test_an_origin_that_never_sends_the_whole_is_not_asked_for_ever(
    timed: TimedStand, client: dict[str, str]
) -> None:
    target = f"/only-304/{len(client)}"
    go_stale(timed, target, minute(), unchanged({"ETag": '"v2"'}))
    response = timed.proxy.get(target, client)
    assert response.body != b"first"
    assert client or response.status != 304, "a 304 that the client did not ask for"
    assert len(timed.origin.seen(target)) <= 3


# --- other answers to the request that validates --------------------------------------------------


def test_a_whole_response_replaces_the_stored_one(timed: TimedStand) -> None:
    go_stale(timed, "/replaced", minute(), minute({"ETag": '"v2"'}, b"second"))
    first, second = timed.proxy.get("/replaced"), timed.proxy.get("/replaced")
    assert [(first.cache, first.body), (second.cache, second.body)] == [
        ("MISS", b"second"),
        ("HIT", b"second"),
    ]
    assert second.fields["etag"] == '"v2"'
    assert "last-modified" not in second.fields


def test_a_whole_response_that_may_not_be_stored_ends_the_stored_one(timed: TimedStand) -> None:
    secret = answer("200 OK", {"Cache-Control": "no-store"}, b"second")
    go_stale(timed, "/no-longer", minute(), secret)
    assert timed.proxy.get("/no-longer").body == b"second"
    assert timed.proxy.get("/no-longer", {"Cache-Control": "max-stale"}).body == b"second"


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone", "301 Moved Permanently"])
def test_a_final_answer_of_another_status_replaces_the_stored_one(
    timed: TimedStand, status: str
) -> None:
    target = f"/gone/{status[:3]}"
    fields = {"Cache-Control": "max-age=60", "Location": "/elsewhere"}
    go_stale(timed, target, minute(), answer(status, fields, b"gone"))
    responses = [timed.proxy.get(target) for _ in range(2)]
    assert [response.cache for response in responses] == ["MISS", "HIT"]
    assert {(response.status, response.body) for response in responses} == {
        (int(status[:3]), b"gone")
    }


def test_a_stale_404_gives_way_to_what_is_there_now(timed: TimedStand) -> None:
    missing = answer("404 Not Found", {"Cache-Control": "max-age=60"}, b"missing")
    go_stale(timed, "/missing", missing, minute())
    response = timed.proxy.get("/missing")
    assert (response.status, response.cache, response.body) == (200, "MISS", b"first")


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable"])
def test_an_error_is_passed_on_where_stale_is_forbidden_and_replaces_nothing(
    timed: TimedStand, status: str
) -> None:
    """RFC 9111 4.3.3, 5.2.2.2."""
    target = f"/error/{status[:3]}"
    fields = {"Cache-Control": "max-age=60, must-revalidate", **BOTH}
    stored = answer("200 OK", fields, b"first")
    error = answer(status, {}, b"error")
    go_stale(timed, target, stored, error, answer("304 Not Modified", fields))
    response = timed.proxy.get(target)
    assert (response.status, response.cache, response.body) == (int(status[:3]), "MISS", b"error")
    check_validated(timed.proxy.get(target))


# --- several variants -----------------------------------------------------------------------------


def flavours(exchange: Exchange) -> None:
    """Salt for salt and sour, sweet for everything else; each with a tag of its own."""
    wanted = exchange.request.fields.get("x-flavour")
    flavour = "salt" if wanted in ("salt", "sour") else "sweet"
    fields = {"Cache-Control": "max-age=60", "Vary": "X-Flavour", "ETag": f'"{flavour}"'}
    if f'"{flavour}"' in (exchange.request.fields.get("if-none-match") or ""):
        exchange.send(answer("304 Not Modified", fields))
    else:
        exchange.send(answer("200 OK", fields, flavour.encode()))


def _taste(timed: TimedStand, target: str, flavour: str) -> Response:
    return timed.proxy.get(target, {"X-Flavour": flavour})


def test_each_variant_is_validated_for_itself(timed: TimedStand) -> None:
    timed.origin.on("/flavours", flavours)
    for flavour in ("salt", "sweet"):
        assert _taste(timed, "/flavours", flavour).cache == "MISS"
    timed.clock.advance(60)
    for flavour in ("sweet", "salt"):
        response = _taste(timed, "/flavours", flavour)
        check_validated(response, flavour.encode())
        assert response.fields["etag"] == f'"{flavour}"'
        tags = timed.origin.requests[-1].fields["if-none-match"]
        assert f'"{flavour}"' in tags


def test_304_selects_among_the_variants(timed: TimedStand) -> None:
    """RFC 9111 4.1, 4.3.4: whichever tags were offered, the body is that of the 304's tag."""
    timed.origin.on("/selected", flavours)
    for flavour in ("salt", "sweet"):
        _taste(timed, "/selected", flavour)
    for flavour, body in (("sour", b"salt"), ("bitter", b"sweet"), ("sour", b"salt")):
        response = _taste(timed, "/selected", flavour)
        assert (response.status, response.body) == (200, body)
        assert response.fields.all("etag") == [f'"{body.decode()}"']


def test_304_for_one_variant_with_the_tag_of_another(timed: TimedStand) -> None:
    """What salt was is sweet now: the stored body of the old tag must not be served."""
    swapped = {"X-Flavour": "salt"}

    def changed(exchange: Exchange) -> None:
        fields = {"Cache-Control": "max-age=60", "Vary": "X-Flavour", "ETag": '"sweet"'}
        if '"sweet"' in (exchange.request.fields.get("if-none-match") or ""):
            exchange.send(answer("304 Not Modified", fields))
        else:
            exchange.send(answer("200 OK", fields, b"sweet"))

    timed.origin.on("/swapped", flavours)
    for flavour in ("salt", "sweet"):
        _taste(timed, "/swapped", flavour)
    timed.clock.advance(60)
    timed.origin.on("/swapped", changed)
    for _ in range(2):
        response = timed.proxy.get("/swapped", swapped)
        assert (response.status, response.body) == (200, b"sweet")


def test_a_variant_of_another_language_is_not_mistaken_for_the_one_that_was_confirmed(
    timed: TimedStand,
) -> None:
    """The keyed fields make variants as Vary does."""

    def spoken(exchange: Exchange) -> None:
        language = exchange.request.fields["accept-language"]
        fields = {"Cache-Control": "max-age=60", "ETag": f'"{language}"'}
        matches = f'"{language}"' in (exchange.request.fields.get("if-none-match") or "")
        exchange.send(
            answer("304 Not Modified", fields)
            if matches
            else answer("200 OK", fields, language.encode())
        )

    timed.origin.on("/spoken", spoken)
    for language in ("de", "en", "de", "en", "fr"):
        response = timed.proxy.get("/spoken", {"Accept-Language": language})
        assert response.body == language.encode()
        timed.clock.advance(40)


def test_validation_over_a_connection_that_stays_open(
    start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock
) -> None:
    """Neither side loses its place in the stream after a 304."""
    proxy = start_proxy(clock=clock)
    origin.on("/kept-open", minute(), unchanged())
    with proxy.client() as client:
        for expected in ("MISS", "HIT", "HIT", "HIT"):
            response = client.get("/kept-open", {"If-None-Match": '"x"'})
            assert (response.status, response.cache, response.body) == (200, expected, b"first")
            clock.advance(60)
    assert len({id(connection) for connection in origin.served_on}) == 1


# --- what is said to one --------------------------------------------------------------------------

OWN = {"X-Own": "alice", "Set-Cookie": "id=alice"}
# The request that validates, what is stored, and the fields that everybody has afterwards.
PERSONAL = {
    "a cookie is set": ({}, {"Cache-Control": "max-age=60"}, {"X-Own"}),
    "a cookie came": ({"Cookie": "id=alice"}, {}, set()),
    "the origin speaks for all": (
        {"Cookie": "id=alice"},
        {"Cache-Control": "max-age=3600"},
        {"X-Own"},
    ),
    "credentials": ({"Authorization": "Basic YTpi"}, {"Cache-Control": "max-age=60"}, None),
    "credentials, public": (
        {"Authorization": "Basic YTpi"},
        {"Cache-Control": "public, max-age=60"},
        {"X-Own"},
    ),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("case", PERSONAL)
def test_what_a_validation_says_to_one_goes_to_that_one_alone(
    timed: TimedStand, case: str, method: str
) -> None:
    """RFC 9111 3.5; `None`: nothing is updated at all, and the next one asks for itself."""
    fields, word, shared = PERSONAL[case]
    target = f"/personal/{method}/{case.replace(' ', '-')}"
    asked: list[Request] = []

    def reply(exchange: Exchange) -> None:
        asked.append(exchange.request)
        personal = OWN if len(asked) == 1 else {}
        exchange.send(answer("304 Not Modified", {**STRONG, **word, **personal}))

    timed.origin.on(target, answer("200 OK", {**STRONG, **word}, b"first"), reply)
    timed.proxy.get(target)
    timed.clock.advance(3600)
    own = timed.proxy.request(method, target, fields)
    assert {name: own.fields[name] for name in OWN} == OWN
    later = timed.proxy.get(target)
    assert (later.status, later.cache, later.body) == (200, "HIT", b"first")
    assert {name for name in OWN if name in later.fields} == (shared or set())
    assert len(asked) == (2 if shared is None else 1)
