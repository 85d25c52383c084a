"""What a client asks of the cache (RFC 9111 5.2.1, 5.4), and that it may be ignored."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from .support.cache_status import ours
from .support.clock import Clock
from .support.messages import Response
from .support.scripted_origin import ScriptedOrigin, answer
from .support.stand import StartProxy, TimedStand
from .support.validated import (
    BOTH,
    MODIFIED,
    check_validated,
    go_stale,
    minute,
    preconditions,
    unchanged,
)

LANES: dict[str, dict[str, str]] = {"plain": {}, "llhttp-lane": {"Connection": "x"}}
OURS = {"if-none-match": '"v1"', "if-modified-since": MODIFIED}


def asking(value: str) -> dict[str, str]:
    """Request fields with that Cache-Control."""
    return {"Cache-Control": value}


def aged(timed: TimedStand, target: str, seconds: int, *answers: bytes) -> None:
    """Store what is fresh for a minute and let it age; then come the answers, or 304."""
    timed.origin.on(target, minute(), *(answers or [unchanged()]))
    assert timed.proxy.get(target).cache == "MISS"
    timed.clock.advance(seconds)


def check_unasked(timed: TimedStand, response: Response, age: int) -> None:
    """The stored response; the origin has had one request in all."""
    assert (response.status, response.cache, response.body) == (200, "HIT", b"first")
    assert response.fields["age"] == str(age)
    assert ours(response)["hit"] == "?1"
    assert len(timed.origin.requests) == 1


def check_asked(timed: TimedStand, response: Response, fwd: str) -> None:
    """The stored response, after the origin has confirmed it."""
    assert (response.status, response.cache, response.body) == (200, "HIT", b"first")
    found = ours(response)
    assert (found["fwd"], found["fwd-status"], "hit" in found) == (fwd, "304", False)
    assert preconditions(timed.origin.requests[1]) == OURS
    assert len(timed.origin.requests) == 2


# --- a fresh response that is not fresh enough ----------------------------------------------------

ENOUGH = [
    *("max-age=30", "max-age=31", "max-age=99999999999999999999", "MAX-AGE=30", 'max-age="30"'),
    *("min-fresh=30", "min-fresh=0", "max-age=30, min-fresh=30", "max-stale", "max-stale=0"),
    *("foo, bar=baz", "no-transform", "stale-if-error=60", "no-cached", "x-no-store", ""),
]
NOT_ENOUGH = [
    *("max-age=29", "max-age=0", "max-age=30, max-age=29", "max-age=29, max-stale=5"),
    *("min-fresh=31", "min-fresh=99999999999999999999", "max-age=30, min-fresh=31"),
    *("no-cache", "NO-CACHE", " , no-cache ,", "no-cache, max-age=600", "max-stale, no-cache"),
]


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("value", ENOUGH)
def test_a_response_that_is_fresh_enough_answers(timed: TimedStand, value: str, lane: str) -> None:
    """It is 30 s old, and will be fresh for another 30 s."""
    target = f"/enough/{lane}/{value.encode().hex()}"
    aged(timed, target, 30)
    check_unasked(timed, timed.proxy.get(target, {**asking(value), **LANES[lane]}), 30)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("value", NOT_ENOUGH)
def test_a_response_that_is_not_fresh_enough_is_validated(
    timed: TimedStand, value: str, lane: str
) -> None:
    target = f"/not-enough/{lane}/{value.encode().hex()}"
    aged(timed, target, 30)
    response = timed.proxy.get(target, {**asking(value), **LANES[lane]})
    check_asked(timed, response, "request")
    assert timed.proxy.get(target).fields["age"] == "0"


def test_directives_in_several_lines_count_together(timed: TimedStand) -> None:
    aged(timed, "/lines", 30)
    with timed.proxy.client() as client:
        head = client.head("GET", "/lines", asking("max-age=60")).removesuffix(b"\r\n")
        client.send(head, b"Cache-Control: no-cache\r\n\r\n")
        check_asked(timed, client.response(), "request")


@pytest.mark.parametrize("value", ["no-cache", "max-age=0", "min-fresh=100"])
def test_a_reload_brings_everybody_what_is_new(timed: TimedStand, value: str) -> None:
    target = f"/new/{value}"
    aged(timed, target, 30, minute({"ETag": '"v2"'}, b"second"))
    response = timed.proxy.get(target, asking(value))
    assert (response.cache, response.body) == ("MISS", b"second")
    assert ours(response)["fwd"] == "request"
    hit = timed.proxy.get(target)
    assert (hit.cache, hit.body) == ("HIT", b"second")


def test_a_reload_of_what_cannot_be_validated_brings_the_whole(timed: TimedStand) -> None:
    timed.origin.on("/whole", minute({}), minute({}, b"second"))
    timed.proxy.get("/whole")
    assert timed.proxy.get("/whole", asking("no-cache")).body == b"second"
    assert preconditions(timed.origin.requests[1]) == {}


def test_a_reload_with_a_condition_of_its_own(timed: TimedStand) -> None:
    aged(timed, "/conditional", 30)
    fields = {**asking("max-age=0"), "If-None-Match": '"v1"'}
    response = timed.proxy.get("/conditional", fields)
    assert (response.status, response.cache) == (304, "HIT")
    assert preconditions(timed.origin.requests[1]) == OURS


def test_the_clients_directives_go_on_to_the_origin(timed: TimedStand) -> None:
    """RFC 9111 5.2: a proxy passes them through, whatever they mean to it."""
    value = 'no-cache, foo="bar, baz", max-stale=5'
    aged(timed, "/passed-on", 30)
    timed.proxy.get("/passed-on", {**asking(value), "Pragma": "no-cache"})
    request = timed.origin.requests[1]
    assert (request.fields["cache-control"], request.fields["pragma"]) == (value, "no-cache")


# --- a stale response -----------------------------------------------------------------------------

ACCEPTED = ["max-stale", "max-stale=10", "max-stale=99999999999999999999", "MAX-STALE=11"]
ACCEPTED += ["max-stale=10, max-age=70", "max-stale, foo"]
NOT_ACCEPTED = ["max-stale=9", "max-stale=0", "max-stale=abc", "max-stale=-1", "max-age=600", "foo"]
NOT_ACCEPTED += ["max-stale, no-cache", "max-stale, min-fresh=1", "max-stale, max-stale=9"]


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("value", ACCEPTED)
def test_a_client_may_accept_a_stale_response(timed: TimedStand, value: str, lane: str) -> None:
    """RFC 9111 5.2.1.2; it has been stale for 10 s."""
    target = f"/accepted/{lane}/{value.encode().hex()}"
    aged(timed, target, 70)
    response = timed.proxy.get(target, {**asking(value), **LANES[lane]})
    check_unasked(timed, response, 70)
    assert ours(response)["ttl"] == "-10"


@pytest.mark.parametrize("value", NOT_ACCEPTED)
def test_a_client_that_does_not_accept_it_gets_a_fresh_one(timed: TimedStand, value: str) -> None:
    target = f"/not-accepted/{value.encode().hex()}"
    aged(timed, target, 70)
    check_asked(timed, timed.proxy.get(target, asking(value)), "stale")


@pytest.mark.parametrize(
    "directive", ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"]
)
def test_the_origin_forbids_what_the_client_would_accept(timed: TimedStand, directive: str) -> None:
    """RFC 9111 4.2.4."""
    target = f"/origin-forbids/{directive}"
    fields = {**BOTH, "Cache-Control": f"max-age=60, {directive}"}
    go_stale(timed, target, minute(fields), answer("304 Not Modified", fields))
    check_asked(timed, timed.proxy.get(target, asking("max-stale")), "stale")


# --- no-store -------------------------------------------------------------------------------------


def test_no_store_neither_stores_nor_replaces(timed: TimedStand) -> None:
    """RFC 9111 5.2.1.5: it does not apply to what is stored already."""
    aged(timed, "/no-store", 0, minute({}, b"second"))
    timed.proxy.get("/no-store", asking("no-store"))
    response = timed.proxy.get("/no-store")
    assert (response.cache, response.body) == ("HIT", b"first")


def test_no_store_on_a_miss_stores_nothing(timed: TimedStand) -> None:
    timed.origin.on("/not-kept", minute(), minute({}, b"second"))
    first = timed.proxy.get("/not-kept", asking("no-store"))
    assert (first.cache, first.body) == ("MISS", b"first")
    assert "stored" not in ours(first)
    second = timed.proxy.get("/not-kept")
    assert (second.cache, second.body) == ("MISS", b"second")


# --- only-if-cached -------------------------------------------------------------------------------


def check_gateway_timeout(response: Response) -> None:
    """RFC 9111 5.2.1.7."""
    assert (response.status, response.cache) == (504, "MISS")
    assert "fwd" not in ours(response)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_only_if_cached_without_a_stored_response(timed: TimedStand, method: str) -> None:
    target = f"/only/{method}"
    check_gateway_timeout(timed.proxy.request(method, target, asking("only-if-cached")))
    assert not timed.origin.requests


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("value", ["only-if-cached", "Only-If-Cached, max-age=30", "no-store"])
def test_only_if_cached_with_one(timed: TimedStand, value: str, method: str) -> None:
    target = f"/only-stored/{method}/{value.encode().hex()}"
    aged(timed, target, 30)
    fields = asking(f"{value}, only-if-cached")
    response = timed.proxy.request(method, target, fields)
    assert (response.status, response.cache, response.fields["age"]) == (200, "HIT", "30")
    assert len(timed.origin.requests) == 1


@pytest.mark.parametrize(
    "value, age", [("no-cache", 30), ("max-age=29", 30), ("min-fresh=31", 30), ("max-stale=9", 70)]
)
def test_only_if_cached_with_one_that_does_not_do(timed: TimedStand, value: str, age: int) -> None:
    target = f"/only-unfit/{value}"
    aged(timed, target, age)
    check_gateway_timeout(timed.proxy.get(target, asking(f"only-if-cached, {value}")))
    assert len(timed.origin.requests) == 1


def test_only_if_cached_with_a_stale_one(timed: TimedStand) -> None:
    aged(timed, "/only-stale", 70)
    check_gateway_timeout(timed.proxy.get("/only-stale", asking("only-if-cached")))
    response = timed.proxy.get("/only-stale", asking("only-if-cached, max-stale"))
    check_unasked(timed, response, 70)


def test_only_if_cached_with_another_variant(timed: TimedStand) -> None:
    timed.origin.on("/only-variant", minute({"Vary": "X-Flavour"}))
    timed.proxy.get("/only-variant", {"X-Flavour": "salt"})
    sour = {**asking("only-if-cached"), "X-Flavour": "sour"}
    check_gateway_timeout(timed.proxy.get("/only-variant", sour))
    salt = {**asking("only-if-cached"), "X-Flavour": "salt"}
    assert timed.proxy.get("/only-variant", salt).cache == "HIT"


# --- Pragma ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("value", ["no-cache", "No-Cache", "foo, no-cache"])
def test_pragma_alone_is_no_cache(timed: TimedStand, value: str, lane: str) -> None:
    """What RFC 7234 5.4 had it mean, and HTTP/1.0 clients still do."""
    target = f"/pragma/{lane}/{value.encode().hex()}"
    aged(timed, target, 30)
    check_asked(timed, timed.proxy.get(target, {"Pragma": value, **LANES[lane]}), "request")


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(
    "fields",
    [
        {"Pragma": "no-cache", **asking("max-age=30")},
        {"Pragma": "no-cache", **asking("foo")},
        {"Pragma": "foo"},
        {"Pragma": "max-age=0"},
    ],
)
def test_pragma_means_nothing_else(timed: TimedStand, fields: dict[str, str], lane: str) -> None:
    target = f"/no-pragma/{lane}/{str(fields).encode().hex()}"
    aged(timed, target, 30)
    check_unasked(timed, timed.proxy.get(target, {**fields, **LANES[lane]}), 30)


# --- --client-cache-control -----------------------------------------------------------------------

IGNORED: list[Mapping[str, str]] = [
    *map(asking, ("no-cache", "no-store", "max-age=0", "min-fresh=600")),
    asking("only-if-cached, no-cache"),
    {"Pragma": "no-cache"},
    {**asking("no-cache"), "Pragma": "no-cache", "Connection": "x"},
]


@pytest.fixture
def deaf(start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock) -> TimedStand:
    """A stand whose proxy lets no client decide."""
    return TimedStand(origin, start_proxy("--client-cache-control", "ignore", clock=clock), clock)


def test_ignored_directives_force_no_validation(deaf: TimedStand) -> None:
    aged(deaf, "/", 30)
    for fields in IGNORED:
        check_unasked(deaf, deaf.proxy.get("/", fields), 30)


def test_ignored_directives_make_nothing_stale_acceptable(deaf: TimedStand) -> None:
    aged(deaf, "/", 60)
    check_validated(deaf.proxy.get("/", asking("max-stale")))


def test_ignored_only_if_cached_asks_the_origin(deaf: TimedStand) -> None:
    deaf.origin.on("/", minute())
    for cache in ("MISS", "HIT"):
        response = deaf.proxy.get("/", asking("only-if-cached"))
        assert (response.status, response.cache) == (200, cache)


def test_honouring_is_the_default_and_can_be_said(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--client-cache-control", "honour")
    origin.on("/", minute({}), minute({}, b"second"))
    proxy.get("/")
    assert proxy.get("/", asking("no-cache")).body == b"second"
