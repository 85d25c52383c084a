"""What an origin says to one client reaches that client, and no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from .support.cache_status import ours
from .support.clock import Clock
from .support.document import DOC, V1, check_part, check_whole, ranged
from .support.messages import Response
from .support.raw_client import NO_FIELDS, RawClient
from .support.scripted_origin import Exchange, Script, ScriptedOrigin, answer
from .support.stand import Stand, StartProxy, TimedStand
from .support.validated import STRONG, check_validated, go_stale, minute, unchanged
from .support.waiting import DEADLINE

OWN = {"Set-Cookie": "session=alice", "X-User": "alice"}
ALICE = {"Cookie": "id=alice"}
# What Cache-Control says, and which fields it reserves for who asked.
RESERVING = {
    "private": ('private="set-cookie, x-user"', {"set-cookie", "x-user"}),
    "no-cache": ('no-cache="set-cookie, x-user"', {"set-cookie", "x-user"}),
    "no-cache-one": ('no-cache="set-cookie"', {"set-cookie"}),
}


def own_fields(response: Response) -> dict[str, str]:
    """Those of the fields that only one client should have."""
    values = {name: response.fields.get(name) for name in OWN}
    return {name: value for name, value in values.items() if value is not None}


class Gate:
    """A script that sends the first bytes, tells of it, and the rest when the test lets it."""

    def __init__(self, first: bytes, rest: bytes = b"") -> None:
        self._pieces = first, rest
        self._asked, self._opened = threading.Event(), threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        first, rest = self._pieces if self._pieces[1] else (b"", self._pieces[0])
        exchange.send(first)
        self._asked.set()
        exchange.wait(self._opened, "the test to let it go on")
        exchange.send(rest)

    def wait_asked(self) -> None:
        assert self._asked.wait(DEADLINE), "the origin was not asked"

    def open(self) -> None:
        self._opened.set()


@contextmanager
def waiting(
    stand: Stand, target: str, gate: Gate, fields: Mapping[str, str] = NO_FIELDS
) -> Iterator[tuple[RawClient, RawClient]]:
    """A client whose request the origin holds, and one with these fields that waits for it too."""
    with stand.proxy.client() as first, stand.proxy.client() as second:
        first.send(first.head("GET", target, ALICE))
        gate.wait_asked()
        second.send(second.head("GET", target, fields))
        stand.proxy.barrier()
        yield first, second


# --- fields that Cache-Control reserves -----------------------------------------------------------


@pytest.mark.parametrize("condition", [{}, {"If-None-Match": V1}], ids=["whole", "304"])
@pytest.mark.parametrize("case", RESERVING)
def test_reserved_fields_do_not_reach_those_that_wait_for_the_same(
    stand: Stand, case: str, condition: dict[str, str]
) -> None:
    """RFC 9111 5.2.2.4, 5.2.2.7: they have the response without these fields, as later ones do."""
    word, reserved = RESERVING[case]
    target = f"/reserved/{case}/{len(condition)}"
    fields = {"Cache-Control": f"max-age=600, {word}", "ETag": V1, **OWN}
    gate = Gate(answer("200 OK", fields, b"page"))
    stand.origin.on(target, gate)
    with waiting(stand, target, gate, condition) as (first, second):
        gate.open()
        asker, follower = first.response(), second.response()
    later = stand.proxy.get(target, condition)
    assert own_fields(asker).keys() == {"Set-Cookie", "X-User"}
    assert (follower.status, later.status) == ((304, 304) if condition else (200, 200))
    for response in (follower, later):
        assert not reserved & {name.lower() for name in own_fields(response)}
        assert response.fields["cache-control"] == fields["Cache-Control"]
    assert len(stand.origin.seen(target)) == 1


@pytest.mark.parametrize("case", RESERVING)
def test_reserved_fields_do_not_reach_one_that_joins_in_the_body(stand: Stand, case: str) -> None:
    word, reserved = RESERVING[case]
    target = f"/reserved-late/{case}"
    fields = {"Cache-Control": f"max-age=600, {word}", "Content-Length": "10", **OWN}
    gate = Gate(answer("200 OK", fields, b"hello"), b"world")
    stand.origin.on(target, gate)
    with waiting(stand, target, gate) as (first, second):
        gate.open()
        asker, follower = first.response(), second.response()
    assert asker.body == follower.body == b"helloworld"
    assert own_fields(asker) == OWN
    assert not reserved & {name.lower() for name in own_fields(follower)}
    assert len(stand.origin.seen(target)) == 1


@pytest.mark.parametrize("case", RESERVING)
def test_with_slices_who_asks_gets_the_reserved_fields_and_nobody_else_does(
    start_proxy: StartProxy, origin: ScriptedOrigin, case: str
) -> None:
    word, reserved = RESERVING[case]
    fields = {"Cache-Control": f"max-age=600, {word}", "ETag": V1, **OWN}
    part = {**fields, "Content-Range": f"bytes 0-{len(DOC) - 1}/{len(DOC)}"}
    gate = Gate(answer("206 Partial Content", part, DOC))
    stand = Stand(origin, start_proxy("--slice", "64KB"))
    origin.on("/sliced", gate)
    with waiting(stand, "/sliced", gate) as (first, second):
        gate.open()
        asker, follower = first.response(), second.response()
    later = stand.proxy.get("/sliced")
    for response in (asker, follower, later):
        check_whole(response)
    assert own_fields(asker) == OWN
    for response in (follower, later):
        assert not reserved & {name.lower() for name in own_fields(response)}
    assert (later.cache, len(origin.requests)) == ("HIT", 1)


# --- what a 304 says to who asked -----------------------------------------------------------------


@pytest.mark.parametrize("case", RESERVING)
def test_who_asked_gets_the_reserved_fields_of_a_304(timed: TimedStand, case: str) -> None:
    """A session that the origin renews is renewed; what is stored stays without it."""
    word, reserved = RESERVING[case]
    target = f"/renewed/{case}"
    stated = {**STRONG, "Cache-Control": f"max-age=60, {word}"}
    fresh = {**stated, "Cache-Control": f"max-age=600, {word}", **OWN}
    gate = Gate(answer("304 Not Modified", fresh))
    go_stale(timed, target, minute(stated), gate)
    with waiting(timed, target, gate, {"Cookie": "id=bob"}) as (first, second):
        gate.open()
        asker, follower = first.response(), second.response()
    check_validated(asker)
    assert own_fields(asker) == OWN
    later = timed.proxy.get(target, {"Cookie": "id=bob"})
    assert "hit" in ours(later)
    for response in (follower, later):
        assert response.body == b"first"
        assert response.fields["cache-control"] == fresh["Cache-Control"]
        assert not reserved & {name.lower() for name in own_fields(response)}
    assert len(timed.origin.seen(target)) == 2


@pytest.mark.parametrize("case", RESERVING)
def test_who_asked_gets_them_where_each_use_is_validated(stand: Stand, case: str) -> None:
    word, _ = RESERVING[case]
    target = f"/renewed-each/{case}"
    stated = {**STRONG, "Cache-Control": f"max-age=0, {word}"}
    bobs = {"Set-Cookie": "session=bob", "X-User": "bob"}
    stand.origin.on(
        target,
        answer("200 OK", stated, b"first"),
        answer("304 Not Modified", {**stated, **OWN}),
        answer("304 Not Modified", {**stated, **bobs}),
        answer("304 Not Modified", stated),
    )
    stand.proxy.get(target)
    alice, bob = stand.proxy.get(target, ALICE), stand.proxy.get(target, {"Cookie": "id=bob"})
    assert (own_fields(alice), own_fields(bob)) == (OWN, bobs)
    assert "set-cookie" not in stand.proxy.get(target).fields


# --- pages of several users -----------------------------------------------------------------------


def pages(name: str, *, vary: bool) -> Script:
    """Everybody's page has the same text and tag, and tells whose it is in a field."""

    def reply(exchange: Exchange) -> None:
        asked = exchange.request.fields
        user = (asked.get(name) or "u=nobody").removeprefix("u=")
        fields = {**STRONG, "X-User": user, **({"Vary": name} if vary else {})}
        if "if-none-match" in asked:
            exchange.send(unchanged(fields, 600))
        else:
            exchange.send(minute(fields))

    return reply


@pytest.mark.parametrize("name", ["Cookie"])
def test_one_users_validation_leaves_whose_page_the_others_have(
    timed: TimedStand, name: str
) -> None:
    """RFC 9111 4.3.4: the tag is the same, so they are current, with no more than that said."""
    target = f"/pages/{name}"
    alice, bob = {name: "u=alice"}, {name: "u=bob"}
    timed.origin.on(target, pages(name, vary=True))
    assert timed.proxy.get(target, bob).fields["x-user"] == "bob"
    assert timed.proxy.get(target, alice).fields["x-user"] == "alice"
    asked_before = timed.proxy.get(target, bob)
    assert ("hit" in ours(asked_before), asked_before.fields["x-user"]) == (True, "bob")
    timed.clock.advance(600)
    response = timed.proxy.get(target, alice)
    check_validated(response)
    assert response.fields["x-user"] == "alice"
    number = len(timed.origin.seen(target))
    theirs = timed.proxy.get(target, bob)
    assert ("hit" in ours(theirs), theirs.fields["x-user"]) == (True, "bob")
    assert theirs.fields["cache-control"] == "max-age=600"
    assert len(timed.origin.seen(target)) == number


def test_nothing_of_a_validation_crosses_the_cookie_in_the_key(
    start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock
) -> None:
    proxy = start_proxy("--key-cookie", "u", clock=clock)
    origin.on("/pages", pages("Cookie", vary=False))
    for user in ("bob", "alice"):
        assert proxy.get("/pages", {"Cookie": f"u={user}"}).fields["x-user"] == user
    clock.advance(60)
    alice = proxy.get("/pages", {"Cookie": "u=alice"})
    check_validated(alice)
    assert alice.fields["x-user"] == "alice"
    bob = proxy.get("/pages", {"Cookie": "u=bob"})
    check_validated(bob)
    assert bob.fields["x-user"] == "bob"
    assert len(origin.seen("/pages")) == 4
    for user in ("bob", "alice"):
        later = proxy.get("/pages", {"Cookie": f"u={user}"})
        assert ("hit" in ours(later), later.fields["x-user"]) == (True, user)


# --- parts that complete what is stored -----------------------------------------------------------


def part(first: int, last: int, fields: Mapping[str, str] = NO_FIELDS) -> bytes:
    """These octets of the document."""
    told = {"ETag": V1, "Content-Range": f"bytes {first}-{last}/{len(DOC)}", **fields}
    return answer("206 Partial Content", told, DOC[first : last + 1])


def test_the_cookie_of_a_206_that_completes_a_part_is_not_stored(stand: Stand) -> None:
    """Who asked for the whole gets it; the others get what both parts have in common."""
    stated, cookie = {"Cache-Control": "max-age=600"}, {"Set-Cookie": "session=alice"}
    stand.origin.on("/completed", part(0, 9, stated), part(10, 89, cookie))
    check_part(ranged(stand, "/completed", "0-9"), 0, 9)
    alice = stand.proxy.get("/completed", ALICE)
    check_whole(alice)
    assert alice.fields["set-cookie"] == "session=alice"
    assert stand.origin.requests[1].fields["range"] == "bytes=10-89"
    bob = stand.proxy.get("/completed")
    check_whole(bob)
    assert (bob.cache, bob.fields.get("set-cookie")) == ("HIT", None)
    assert len(stand.origin.seen("/completed")) == 2


def test_the_cookie_of_a_206_that_adds_to_a_part_is_not_stored(stand: Stand) -> None:
    stated = {"Cache-Control": "max-age=600"}
    cookie = {**stated, "Set-Cookie": "session=alice"}
    stand.origin.on("/added", part(0, 9, stated), part(10, 19, cookie))
    check_part(ranged(stand, "/added", "0-9"), 0, 9)
    alice = ranged(stand, "/added", "10-19", ALICE)
    check_part(alice, 10, 19)
    assert alice.fields["set-cookie"] == "session=alice"
    bob = ranged(stand, "/added", "0-19")
    check_part(bob, 0, 19)
    assert (bob.cache, bob.fields.get("set-cookie")) == ("HIT", None)
    assert len(stand.origin.seen("/added")) == 2


# --- the age of what others wait for --------------------------------------------------------------


@pytest.mark.parametrize(("told", "expected"), [({}, "4"), ({"Age": "3"}, "7")])
def test_one_that_joins_late_is_told_the_age(
    timed: TimedStand, told: dict[str, str], expected: str
) -> None:
    """RFC 9111 4: the response was made for another, a while ago."""
    target = f"/joined-late/{expected}"
    fields = {"Cache-Control": "max-age=10", "Content-Length": "10", **told}
    gate = Gate(answer("200 OK", fields, b"hello"), b"world")
    timed.origin.on(target, gate)
    with timed.proxy.client() as first, timed.proxy.client() as second:
        first.send(first.head("GET", target))
        head = first.response_head()
        assert head.fields.get("age") == told.get("Age")
        timed.clock.advance(4)
        second.send(second.head("GET", target))
        timed.proxy.barrier()
        gate.open()
        assert first.finish(head).body == b"helloworld"
        follower = second.response()
    assert (follower.body, follower.fields.all("age")) == (b"helloworld", [expected])
    later = timed.proxy.get(target)
    assert (later.cache, later.fields.all("age")) == ("HIT", [expected])
    assert len(timed.origin.seen(target)) == 1
