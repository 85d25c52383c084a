"""What changes on the origin is no longer served, beyond test_cache.py (RFC 9111 4.4)."""

from __future__ import annotations

import threading

import pytest

from .support.cache_status import ours
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartOrigin, StartProxy, TimedStand
from .support.validated import STRONG, go_stale, minute, unchanged
from .support.waiting import DEADLINE

Fields = dict[str, str]


def keep(stand: Stand, *targets: str) -> None:
    """Have them stored."""
    for target in targets:
        stand.origin.on(target, fresh(b"old"))
        assert [stand.proxy.get(target).cache for _ in range(2)] == ["MISS", "HIT"]


def check_kept(stand: Stand, *targets: str) -> None:
    """They are still served from the store."""
    for target in targets:
        assert stand.proxy.get(target).cache == "HIT", target


def check_dropped(stand: Stand, *targets: str) -> None:
    """They are asked for anew."""
    for target in targets:
        stand.origin.on(target, fresh(b"new"))
        response = stand.proxy.get(target)
        assert (response.cache, response.body) == ("MISS", b"new"), target


def change(
    stand: Stand, target: str, fields: Fields, *, status: str = "200 OK", method: str = "POST"
) -> None:
    """An unsafe request for the target, which is answered like that."""
    stand.origin.on(target, answer(status, fields))
    assert stand.proxy.request(method, target).status == int(status[:3])


# --- methods and statuses -------------------------------------------------------------------------

CHANGED = [
    *("200 OK", "201 Created", "202 Accepted", "204 No Content", "299 Unheard Of"),
    *("301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect"),
    "399 Unheard Of",
]
UNCHANGED = [
    *("400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "409 Conflict"),
    *("412 Precondition Failed", "499 Unheard Of", "500 Internal Server Error"),
    *("502 Bad Gateway", "503 Service Unavailable", "599 Unheard Of", "999 Unheard Of"),
]


@pytest.mark.parametrize("status", CHANGED)
def test_every_status_that_is_no_error_invalidates(stand: Stand, status: str) -> None:
    target = f"/changed/{status[:3]}"
    keep(stand, target)
    change(stand, target, {}, status=status)
    check_dropped(stand, target)


@pytest.mark.parametrize("status", UNCHANGED)
def test_an_error_invalidates_nothing(stand: Stand, status: str) -> None:
    target, other = f"/unchanged/{status[:3]}", f"/unchanged/{status[:3]}/other"
    keep(stand, target, other)
    change(stand, target, {"Location": other, "Content-Location": other}, status=status)
    check_kept(stand, target, other)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "LOCK", "MOVE", "PROPPATCH"])
def test_every_unsafe_method_invalidates(stand: Stand, method: str) -> None:
    target = f"/method/{method}"
    keep(stand, target)
    change(stand, target, {}, method=method)
    check_dropped(stand, target)


def test_an_unsafe_request_without_an_answer_invalidates_nothing(stand: Stand) -> None:
    def broken(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.reset()

    keep(stand, "/unanswered")
    stand.origin.on("/unanswered", broken)
    assert stand.proxy.request("POST", "/unanswered", {}, b"x").status == 502
    check_kept(stand, "/unanswered")


def test_only_the_target_itself_is_invalidated(stand: Stand) -> None:
    others = ("/exact/", "/exact?", "/exact?a=1", "/exact/b", "/Exact", "/exac")
    keep(stand, "/exact", *others)
    change(stand, "/exact", {})
    check_dropped(stand, "/exact")
    check_kept(stand, *others)


def test_a_target_in_absolute_form_is_the_same_target(stand: Stand) -> None:
    keep(stand, "/absolute")
    stand.origin.on("/absolute", answer("204 No Content"))
    assert stand.proxy.request("PUT", f"{stand.proxy.url}/absolute").status == 204
    check_dropped(stand, "/absolute")


# --- Location and Content-Location ----------------------------------------------------------------

REFERENCES = {
    "path": "/things/{0}/b",
    "relative": "b",
    "dots": "../{0}/./x/../b",
    "fragment": "/things/{0}/b#part",
    "authority": "//{origin}/things/{0}/b",
    "absolute": "http://{origin}/things/{0}/b",
    "absolute-fragment": "http://{origin}/things/{0}/b#part",
    "scheme-case": "HTTP://{origin}/things/{0}/b",
    "client": "http://{client}/things/{0}/b",
}


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize("case", REFERENCES)
def test_what_the_answer_points_at_is_invalidated(stand: Stand, case: str, field: str) -> None:
    """Same origin as the target's, under the origin's own name or the one that the client used."""
    name = f"{case}-{field}"
    reference = REFERENCES[case].format(
        name, origin=stand.origin.authority, client=stand.proxy.authority
    )
    target, pointed = f"/things/{name}/a", f"/things/{name}/b"
    keep(stand, target, pointed)
    change(stand, target, {field: reference}, status="201 Created")
    check_dropped(stand, target, pointed)


def test_location_and_content_location_both_count(stand: Stand) -> None:
    keep(stand, "/both/1", "/both/2", "/both/3")
    change(stand, "/both", {"Location": "/both/1", "Content-Location": "/both/2"})
    check_dropped(stand, "/both/1", "/both/2")
    check_kept(stand, "/both/3")


def test_a_query_is_part_of_what_is_pointed_at(stand: Stand) -> None:
    keep(stand, "/query?a=1", "/query?a=2", "/query")
    change(stand, "/query/add", {"Location": "/query?a=1"})
    check_dropped(stand, "/query?a=1")
    check_kept(stand, "/query?a=2", "/query")


OTHER_ORIGINS = {
    "host": "http://other.example/elsewhere/{0}",
    "authority": "//other.example/elsewhere/{0}",
    "port": "http://127.0.0.1:1/elsewhere/{0}",
    "scheme": "https://{origin}/elsewhere/{0}",
    "user": "http://{origin}@other.example/elsewhere/{0}",
    "longer-port": "http://{origin}0/elsewhere/{0}",
    "no-http": "urn:elsewhere:{0}",
    "nonsense": "http:///elsewhere/{0}",
}


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize("case", OTHER_ORIGINS)
def test_what_belongs_to_another_origin_is_not(stand: Stand, case: str, field: str) -> None:
    """RFC 9111 4.4 forbids it: one origin could empty another's cache."""
    name = f"{case}-{field}"
    keep(stand, f"/elsewhere/{name}")
    reference = OTHER_ORIGINS[case].format(name, origin=stand.origin.authority)
    change(stand, f"/points/{name}", {field: reference}, status="201 Created")
    check_kept(stand, f"/elsewhere/{name}")


def test_location_of_a_safe_request_invalidates_nothing(stand: Stand) -> None:
    keep(stand, "/landing")
    moved = {"Location": "/landing", "Content-Location": "/landing"}
    stand.origin.on("/moved", answer("301 Moved Permanently", moved))
    assert stand.proxy.get("/moved").status == 301
    assert stand.proxy.request("HEAD", "/moved?").status == 301
    check_kept(stand, "/landing")


# --- variants -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pointed", [False, True], ids=["target", "location"])
def test_all_variants_go(stand: Stand, pointed: bool) -> None:
    target = f"/variants/{pointed}"
    fields = {"Cache-Control": "max-age=600", "Vary": "X-Flavour"}
    stand.origin.on(target, answer("200 OK", fields, b"old"))
    requests: list[Fields] = [
        {},
        {"X-Flavour": "salt"},
        {"Accept-Language": "de"},
        {"Accept-Encoding": "br", "X-Flavour": "sour"},
    ]
    for cache in ("MISS", "HIT"):
        assert [stand.proxy.get(target, asked).cache for asked in requests] == [cache] * 4
    if pointed:
        change(stand, f"{target}/add", {"Location": target})
    else:
        change(stand, target, {})
    stand.origin.on(target, answer("200 OK", fields, b"new"))
    for asked in requests:
        response = stand.proxy.get(target, asked)
        assert (response.cache, response.body) == ("MISS", b"new")


# --- what is invalid stays invalid ----------------------------------------------------------------


def test_what_is_invalid_does_not_stand_in_for_an_error(stand: Stand) -> None:
    keep(stand, "/invalid")
    change(stand, "/invalid", {})
    stand.origin.on("/invalid", answer("503 Service Unavailable", {}, b"error"))
    for asked in ({}, {"Cache-Control": "max-stale"}):
        response = stand.proxy.get("/invalid", asked)
        assert (response.status, response.body) == (503, b"error")
    response = stand.proxy.get("/invalid", {"Cache-Control": "only-if-cached"})
    assert response.status == 504


def test_a_validation_on_its_way_does_not_revive_what_has_become_invalid(
    timed: TimedStand,
) -> None:
    """What a 304 confirmed before the change is not what is there after it."""
    asked, changed = threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> None:
        asked.set()
        exchange.wait(changed, "the change")
        exchange.send(unchanged(STRONG))

    new = minute({"ETag": '"v2"'}, b"second")
    go_stale(timed, "/revived", minute(STRONG), slow, answer("204 No Content"), new)
    with timed.proxy.client() as reader:
        reader.send(reader.head("GET", "/revived"))
        assert asked.wait(DEADLINE), "the origin was not asked"
        assert timed.proxy.request("PUT", "/revived").status == 204
        changed.set()
        assert reader.response().status == 200
    response = timed.proxy.get("/revived")
    assert (response.cache, response.body) == ("MISS", b"second")


def test_a_background_validation_on_its_way_does_not_either(timed: TimedStand) -> None:
    asked, changed = threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> None:
        asked.set()
        exchange.wait(changed, "the change")
        exchange.send(answer("200 OK", {"Cache-Control": "max-age=60"}, b"old"))

    fields = {"Cache-Control": "max-age=60, stale-while-revalidate=60", **STRONG}
    stored = answer("200 OK", fields, b"old")
    go_stale(timed, "/behind", stored, slow, answer("204 No Content"), fresh(b"new"))
    assert timed.proxy.get("/behind").cache == "HIT"
    assert asked.wait(DEADLINE), "the origin was not asked"
    assert timed.proxy.request("PUT", "/behind").status == 204
    changed.set()
    assert timed.proxy.get("/behind").body == b"new"
    timed.proxy.barrier()
    assert timed.proxy.get("/behind").body == b"new"


def test_the_answer_to_an_unsafe_request_is_not_stored_for_get(stand: Stand) -> None:
    keep(stand, "/answer")
    stand.origin.on("/answer", fresh(b"of the post"), fresh(b"new"))
    response = stand.proxy.request("POST", "/answer")
    assert response.body == b"of the post"
    assert ours(response)["fwd"] == "method" and "stored" not in ours(response)
    assert stand.proxy.get("/answer").body == b"new"


def test_a_base_path_is_not_left_out(start_origin: StartOrigin, start_proxy: StartProxy) -> None:
    """References are resolved against what was sent upstream."""
    origin: ScriptedOrigin = start_origin()
    stand = Stand(origin, start_proxy(origin=f"{origin.url}/base"))
    for path in ("/a", "/b"):
        origin.on(f"/base{path}", fresh(b"old"))
        assert [stand.proxy.get(path).cache for _ in range(2)] == ["MISS", "HIT"]
    origin.on("/base/add", answer("201 Created", {"Location": "/base/a"}))
    assert stand.proxy.request("POST", "/add").status == 201
    assert (stand.proxy.get("/a").cache, stand.proxy.get("/b").cache) == ("MISS", "HIT")
