"""What is stored, for how long, and what a stored response looks like."""

from __future__ import annotations

import re
import threading
from email.utils import formatdate, parsedate_to_datetime

import pytest

from .support.cache_status import ours
from .support.messages import IncompleteError
from .support.proxy import ProxyProcess
from .support.raw_client import RawClient
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy
from .support.waiting import wait_until

PAST = "Wed, 01 Jan 2020 00:00:00 GMT"
FUTURE = "Thu, 01 Jan 2099 00:00:00 GMT"
ETAG = '"v1"'


def test_second_request_is_a_hit(stand: Stand) -> None:
    stand.origin.on("/hit", fresh(b"once"), fresh(b"never"))
    first, second = stand.proxy.get("/hit"), stand.proxy.get("/hit")
    assert (first.cache, second.cache) == ("MISS", "HIT")
    assert first.body == second.body == b"once"
    assert len(stand.origin.seen("/hit")) == 1


def test_both_lanes_give_the_same_hit(stand: Stand) -> None:
    """`Connection: x` is not plain enough for the hit lane."""
    stand.origin.on(
        "/lanes", answer("200 OK", {"Cache-Control": "max-age=600", "ETag": ETAG}, b"x")
    )
    stand.proxy.get("/lanes")
    plain, other = stand.proxy.get("/lanes"), stand.proxy.get("/lanes", {"Connection": "x"})
    assert (plain.cache, plain.body) == (other.cache, other.body) == ("HIT", b"x")
    counting = ("age", "cache-status")
    assert {line for line in plain.fields.lines if line[0] not in counting} == {
        line for line in other.fields.lines if line[0] not in counting
    }


def test_key_is_shown_and_the_same_on_miss_and_hit(stand: Stand) -> None:
    stand.origin.on("/key", fresh())
    first, second = stand.proxy.get("/key"), stand.proxy.get("/key")
    assert re.fullmatch("cache:[0-9a-f]{64}", first.fields["x-cache-key"])
    assert first.fields["x-cache-key"] == second.fields["x-cache-key"]


def test_stored_fields_and_date_come_back_unchanged(stand: Stand) -> None:
    date = formatdate(usegmt=True)
    fields = {"Cache-Control": "max-age=600", "Date": date, "X-Own": "a, b", "Content-Type": "a/b"}
    stand.origin.on("/fields", answer("200 OK", fields, b"x"))
    for _ in range(2):
        response = stand.proxy.get("/fields")
        for name, value in fields.items():
            assert response.fields.all(name) == [value]


def test_several_set_cookie_lines_stay_several(stand: Stand) -> None:
    lines = b"Set-Cookie: a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT\r\nSet-Cookie: b=2\r\n"
    stand.origin.on("/cookies", fresh().replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n", 1))
    for _ in range(2):
        cookies = stand.proxy.get("/cookies").fields.all("set-cookie")
        assert cookies == ["a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "b=2"]


def test_age_counts_from_the_origins_age(stand: Stand) -> None:
    fields = {"Cache-Control": "max-age=600", "Age": "100"}
    stand.origin.on("/age", answer("200 OK", fields, b"x"))
    stand.proxy.get("/age")
    ages = stand.proxy.get("/age").fields.all("age")
    assert len(ages) == 1 and 100 <= int(ages[0]) < 600


def test_age_grows(stand: Stand) -> None:
    stand.origin.on("/growing", fresh())
    stand.proxy.get("/growing")
    assert int(stand.proxy.get("/growing").fields["age"]) < 600
    wait_until(lambda: int(stand.proxy.get("/growing").fields["age"]) >= 1, "Age to grow")


def test_an_old_date_counts_as_age(stand: Stand) -> None:
    fields = {"Cache-Control": "max-age=600", "Date": PAST}
    stand.origin.on("/old-date", answer("200 OK", fields, b"x"))
    assert [stand.proxy.get("/old-date").cache for _ in range(2)] == ["MISS", "MISS"]


def test_a_missing_date_is_added(stand: Stand) -> None:
    """RFC 9110 6.6.1: a recipient with a clock adds Date when it caches or forwards."""
    stand.origin.on("/dateless", fresh())
    dates = [stand.proxy.get("/dateless").fields.all("date") for _ in range(2)]
    assert dates[0] == dates[1] and len(dates[0]) == 1
    parsedate_to_datetime(dates[0][0])


def test_cache_status_tells_hit_and_miss(stand: Stand) -> None:
    stand.origin.on("/status", fresh())
    first, second = ours(stand.proxy.get("/status")), ours(stand.proxy.get("/status"))
    assert "hit" not in first and "fwd" in first
    assert second["hit"] == "?1" and "fwd" not in second


def test_post_shows_in_cache_status_why_it_was_forwarded(stand: Stand) -> None:
    assert ours(stand.proxy.request("POST", "/status-post"))["fwd"] == "method"


def test_the_origins_cache_status_is_kept_before_ours(stand: Stand) -> None:
    fields = {"Cache-Control": "max-age=600", "Cache-Status": "Origin; hit"}
    stand.origin.on("/cache-status", answer("200 OK", fields, b"x"))
    for _ in range(2):
        value = stand.proxy.get("/cache-status").fields["cache-status"]
        assert value.startswith("Origin; hit, ")


def test_the_origins_x_cache_is_replaced(stand: Stand) -> None:
    fields = {"Cache-Control": "max-age=600", "X-Cache": "HIT from origin", "X-Cache-Key": "k"}
    stand.origin.on("/x-cache", answer("200 OK", fields, b"x"))
    responses = [stand.proxy.get("/x-cache") for _ in range(2)]
    assert [response.cache for response in responses] == ["MISS", "HIT"]
    assert all(response.fields["x-cache-key"].startswith("cache:") for response in responses)


# --- HEAD -----------------------------------------------------------------------------------------


def test_head_is_answered_from_a_stored_get(stand: Stand) -> None:
    stand.origin.on("/head", fresh(b"12345"))
    stand.proxy.get("/head")
    head = stand.proxy.request("HEAD", "/head")
    assert (head.cache, head.fields["content-length"], head.body) == ("HIT", "5", b"")
    assert len(stand.origin.requests) == 1


def test_head_alone_never_answers_a_get(stand: Stand) -> None:
    stand.origin.on("/head-first", fresh(b"12345"))
    head = stand.proxy.request("HEAD", "/head-first")
    assert (head.status, head.fields["content-length"]) == (200, "5")
    response = stand.proxy.get("/head-first")
    assert (response.cache, response.body) == ("MISS", b"12345")


def test_every_answer_to_get_and_head_tells_x_cache(stand: Stand) -> None:
    stand.origin.on("/plain", answer("404 Not Found", {"Cache-Control": "no-store"}))
    for method in ("GET", "HEAD"):
        assert stand.proxy.request(method, "/plain").cache == "MISS"


# --- what may be stored ---------------------------------------------------------------------------

EXPLICIT = {"Cache-Control": "max-age=600"}
STORED = {
    "max-age": ("200 OK", EXPLICIT),
    "s-maxage over max-age=0": ("200 OK", {"Cache-Control": "s-maxage=600, max-age=0"}),
    "Expires": ("200 OK", {"Expires": FUTURE}),
    "CDN-Cache-Control wins": (
        "200 OK",
        {"CDN-Cache-Control": "max-age=60", "Cache-Control": "no-store"},
    ),
    "case and quotes": ("200 OK", {"Cache-Control": 'MAX-AGE="600"'}),
    "nothing said": ("200 OK", {}),
    "203 nothing said": ("203 Non-Authoritative Information", {}),
    "204 nothing said": ("204 No Content", {}),
    "300 nothing said": ("300 Multiple Choices", {}),
    "301 nothing said": ("301 Moved Permanently", {"Location": "/a"}),
    "308 nothing said": ("308 Permanent Redirect", {"Location": "/a"}),
    "404 nothing said": ("404 Not Found", {}),
    "405 nothing said": ("405 Method Not Allowed", {"Allow": "GET"}),
    "410 nothing said": ("410 Gone", {}),
    "414 nothing said": ("414 URI Too Long", {}),
    "501 nothing said": ("501 Not Implemented", {}),
    "302 explicit": ("302 Found", {**EXPLICIT, "Location": "/a"}),
    "Set-Cookie, explicit": ("200 OK", {**EXPLICIT, "Set-Cookie": "a=1"}),
}


@pytest.mark.parametrize("case", STORED)
def test_stored(stand: Stand, case: str) -> None:
    target = f"/stored/{list(STORED).index(case)}"
    status, fields = STORED[case]
    stand.origin.on(target, answer(status, fields, b"" if status[:3] == "204" else b"body"))
    responses = [stand.proxy.get(target) for _ in range(2)]
    assert [response.cache for response in responses] == ["MISS", "HIT"]
    assert {response.status for response in responses} == {int(status[:3])}
    assert responses[0].body == responses[1].body


NOT_STORED = {
    "no-store": ("200 OK", {"Cache-Control": "no-store"}),
    "no-store beside max-age": ("200 OK", {"Cache-Control": "max-age=600, no-store"}),
    "private": ("200 OK", {"Cache-Control": "private, max-age=600"}),
    "no-cache": ("200 OK", {"Cache-Control": "no-cache"}),
    "max-age=0": ("200 OK", {"Cache-Control": "max-age=0"}),
    "s-maxage=0": ("200 OK", {"Cache-Control": "s-maxage=0, max-age=600"}),
    "Expires in the past": ("200 OK", {"Expires": PAST}),
    "Expires: 0": ("200 OK", {"Expires": "0"}),
    "CDN-Cache-Control": ("200 OK", {**EXPLICIT, "CDN-Cache-Control": "no-store"}),
    "Vary: *": ("200 OK", {**EXPLICIT, "Vary": "*"}),
    "Set-Cookie, nothing said": ("200 OK", {"Set-Cookie": "a=1"}),
    "302 nothing said": ("302 Found", {"Location": "/a"}),
    "403 nothing said": ("403 Forbidden", {}),
    "500 nothing said": ("500 Internal Server Error", {}),
    "503 nothing said": ("503 Service Unavailable", {}),
    "206": ("206 Partial Content", {**EXPLICIT, "Content-Range": "bytes 0-3/10"}),
}


@pytest.mark.parametrize("case", NOT_STORED)
def test_not_reused(stand: Stand, case: str) -> None:
    target = f"/not-stored/{list(NOT_STORED).index(case)}"
    status, fields = NOT_STORED[case]
    stand.origin.on(target, answer(status, fields, b"old!"), answer(status, fields, b"new!"))
    responses = [stand.proxy.get(target) for _ in range(2)]
    assert [response.cache for response in responses] == ["MISS", "MISS"]
    assert [response.body for response in responses] == [b"old!", b"new!"]


def test_authorization_keeps_a_response_out_of_the_store(stand: Stand) -> None:
    """RFC 9111 3.5."""
    stand.origin.on("/login", fresh(b"for alice"), fresh(b"for nobody"))
    assert stand.proxy.get("/login", {"Authorization": "Basic YQ=="}).body == b"for alice"
    response = stand.proxy.get("/login")
    assert (response.cache, response.body) == ("MISS", b"for nobody")


@pytest.mark.parametrize("directive", ["public", "s-maxage=600", "must-revalidate"])
def test_directives_that_allow_storing_despite_authorization(stand: Stand, directive: str) -> None:
    target = f"/login/{directive}"
    stand.origin.on(target, answer("200 OK", {"Cache-Control": f"max-age=600, {directive}"}, b"x"))
    stand.proxy.get(target, {"Authorization": "Basic YQ=="})
    assert stand.proxy.get(target).cache == "HIT"


def test_an_answer_to_a_cookie_needs_explicit_freshness(stand: Stand) -> None:
    stand.origin.on("/session", answer("200 OK", {}, b"for alice"), answer("200 OK", {}, b"new"))
    assert stand.proxy.get("/session", {"Cookie": "id=alice"}).body == b"for alice"
    assert stand.proxy.get("/session").body == b"new"


def test_vary_never_serves_the_wrong_variant(stand: Stand) -> None:
    """RFC 9111 4.1, whether variants are stored or not."""

    def flavoured(exchange: Exchange) -> None:
        body = exchange.request.fields.get("x-flavour") or "plain"
        fields = {"Cache-Control": "max-age=600", "Vary": "X-Flavour"}
        exchange.send(answer("200 OK", fields, body.encode()))

    stand.origin.on("/vary", flavoured)
    for flavour in ("salt", "sweet", "salt", "sour", "sweet"):
        assert stand.proxy.get("/vary", {"X-Flavour": flavour}).body == flavour.encode()
    assert stand.proxy.get("/vary").body == b"plain"


def test_a_partial_answer_is_never_taken_for_the_whole(stand: Stand) -> None:
    def ranged(exchange: Exchange) -> None:
        if "range" in exchange.request.fields:
            fields = {"Cache-Control": "max-age=600", "Content-Range": "bytes 0-3/10"}
            exchange.send(answer("206 Partial Content", fields, b"0123"))
        else:
            exchange.send(fresh(b"0123456789"))

    stand.origin.on("/range", ranged)
    assert stand.proxy.get("/range", {"Range": "bytes=0-3"}).status in (200, 206)
    response = stand.proxy.get("/range")
    assert (response.status, response.body) == (200, b"0123456789")


def test_a_range_of_a_stored_response(stand: Stand) -> None:
    """The whole or just that part, from whoever; and the whole stays stored."""

    def ranged(exchange: Exchange) -> None:
        if "range" in exchange.request.fields:
            fields = {"Cache-Control": "max-age=600", "Content-Range": "bytes 2-4/10"}
            exchange.send(answer("206 Partial Content", fields, b"234"))
        else:
            exchange.send(fresh(b"0123456789"))

    stand.origin.on("/range-of-stored", ranged)
    stand.proxy.get("/range-of-stored")
    part = stand.proxy.get("/range-of-stored", {"Range": "bytes=2-4"})
    assert (part.status, part.body) in ((206, b"234"), (200, b"0123456789"))
    whole = stand.proxy.get("/range-of-stored")
    assert (whole.cache, whole.status, whole.body) == ("HIT", 200, b"0123456789")


def test_a_request_with_no_store_leaves_nothing_behind(stand: Stand) -> None:
    """RFC 9111 5.2.1.5."""
    stand.origin.on("/no-trace", fresh(b"secret"), fresh(b"public"))
    assert stand.proxy.get("/no-trace", {"Cache-Control": "no-store"}).body == b"secret"
    assert stand.proxy.get("/no-trace").body == b"public"


def test_a_request_with_no_cache_asks_the_origin(stand: Stand) -> None:
    """RFC 9111 5.2.1.4."""
    stand.origin.on("/reload", fresh(b"old"), fresh(b"new"))
    stand.proxy.get("/reload")
    assert stand.proxy.get("/reload", {"Cache-Control": "no-cache"}).body == b"new"
    assert stand.proxy.get("/reload").body == b"new"


# --- time -----------------------------------------------------------------------------------------


def test_a_response_is_reused_until_it_is_stale_and_no_longer(stand: Stand) -> None:
    stand.origin.on("/short", fresh(b"old", seconds=1), fresh(b"new"))
    assert stand.proxy.get("/short").body == b"old"

    def changed() -> bool:
        response = stand.proxy.get("/short")
        if response.body == b"old":
            assert int(response.fields["age"]) < 1, "served although its age reached max-age"
        return response.body == b"new"

    wait_until(changed, "a response with max-age=1 to become stale")


@pytest.mark.parametrize(
    "option, status", [("--cache-ttl", "200 OK"), ("--negative-ttl", "404 Not Found")]
)
def test_default_lifetimes_are_settings(
    start_proxy: StartProxy, origin: ScriptedOrigin, option: str, status: str
) -> None:
    proxy = start_proxy(option, "1")
    origin.on("/", answer(status, {}, b"old"), answer(status, {}, b"new"))
    assert proxy.get("/").body == b"old"
    wait_until(lambda: proxy.get("/").body == b"new", f"{option} 1 to end the reuse")


def test_without_cache_ttl_nothing_unlabelled_is_reused(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--cache-ttl", "0", "--negative-ttl", "0")
    origin.on("/", answer("200 OK", {}, b"x"))
    origin.on("/lost", answer("404 Not Found", {}, b"x"))
    assert [proxy.get("/").cache for _ in range(2)] == ["MISS", "MISS"]
    assert [proxy.get("/lost").cache for _ in range(2)] == ["MISS", "MISS"]


def test_explicit_lifetime_wins_over_cache_ttl(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--cache-ttl", "0")
    origin.on("/", fresh())
    assert [proxy.get("/").cache for _ in range(2)] == ["MISS", "HIT"]


# --- only what is complete ------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"
CUT_SHORT = {
    "length": HEAD + b"Content-Length: 100\r\n\r\nonly this",
    "length, nothing of it": HEAD + b"Content-Length: 100\r\n\r\n",
    "inside a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n10\r\nonly this",
    "between chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n",
    "before the last CRLF": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n0\r\n",
    "broken chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nonly\r\nzz\r\n\r\n",
    "chunk longer than its size": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n4\r\nonly this\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("case", CUT_SHORT)
def test_an_incomplete_response_is_never_stored(stand: Stand, case: str, reset: bool) -> None:
    def cut_off(exchange: Exchange) -> None:
        exchange.send(CUT_SHORT[case])
        if reset:
            exchange.reset()
        exchange.close()

    target = f"/cut/{list(CUT_SHORT).index(case)}/{reset}"
    stand.origin.on(target, cut_off, fresh(b"whole"))
    with stand.proxy.client() as client:
        client.send(client.head("GET", target))
        try:
            assert client.response().status == 502
        except IncompleteError as cut:
            assert b"only this".startswith(cut.body)
    assert [stand.proxy.get(target).cache for _ in range(2)] == ["MISS", "HIT"]
    assert stand.proxy.get(target).body == b"whole"


def test_a_body_that_ends_with_a_clean_close_is_complete(stand: Stand) -> None:
    def until_close(exchange: Exchange) -> None:
        exchange.send(HEAD + b"\r\nall of it")
        exchange.close()

    stand.origin.on("/until-close", until_close)
    responses = [stand.proxy.get("/until-close") for _ in range(2)]
    assert [response.cache for response in responses] == ["MISS", "HIT"]
    assert [response.body for response in responses] == [b"all of it"] * 2


def test_a_body_that_ends_with_a_reset_is_not(stand: Stand) -> None:
    arrived = threading.Event()

    def until_reset(exchange: Exchange) -> None:
        exchange.send(HEAD + b"\r\npart of it")
        exchange.wait(arrived, "the client to get the first part")
        exchange.reset()

    stand.origin.on("/until-reset", until_reset, fresh(b"whole"))
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/until-reset"))
        client.response_head()
        arrived.set()
        client.rest()
    assert [stand.proxy.get("/until-reset").cache for _ in range(2)] == ["MISS", "HIT"]


# --- unsafe methods -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_unsafe_methods_are_never_answered_from_the_store(stand: Stand, method: str) -> None:
    target = f"/unsafe/{method}"
    stand.origin.on(target, fresh(b"1"), fresh(b"2"), fresh(b"3"))
    bodies = [stand.proxy.request(method, target, {}, b"x").body for _ in range(2)]
    assert bodies == [b"1", b"2"]
    assert stand.proxy.get(target).body == b"3"
    assert [request.body for request in stand.origin.seen(target)] == [b"x", b"x", b""]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "MKCOL"])
def test_unsafe_methods_invalidate_every_variant(stand: Stand, method: str) -> None:
    """RFC 9111 4.4; any method that is not known to be safe counts as unsafe."""
    target = f"/invalidated/{method}"
    stand.origin.on(target, fresh(b"old"), fresh(b"alt"), answer("204 No Content"), fresh(b"new"))
    german = {"Accept-Language": "de"}
    stand.proxy.get(target)
    stand.proxy.get(target, german)
    assert (stand.proxy.get(target).cache, stand.proxy.get(target, german).cache) == ("HIT", "HIT")
    assert stand.proxy.request(method, target).status == 204
    for fields in ({}, german):
        response = stand.proxy.get(target, fields)
        assert (response.cache, response.body) == ("MISS", b"new")


@pytest.mark.parametrize("method", ["OPTIONS", "PROPFIND", "SEARCH", "REPORT"])
def test_safe_methods_invalidate_nothing(stand: Stand, method: str) -> None:
    target = f"/safe/{method}"
    stand.origin.on(target, fresh(b"kept"), answer("200 OK", {}, b"x"))
    stand.proxy.get(target)
    stand.proxy.request(method, target)
    assert stand.proxy.get(target).cache == "HIT"


def test_a_failed_unsafe_request_invalidates_nothing(stand: Stand) -> None:
    """RFC 9111 4.4: only a non-error (2xx or 3xx) response does."""
    stand.origin.on("/kept", fresh(b"kept"), answer("500 Internal Server Error"))
    stand.proxy.get("/kept")
    assert stand.proxy.request("POST", "/kept").status == 500
    assert stand.proxy.get("/kept").cache == "HIT"


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
def test_what_an_unsafe_answer_points_at_is_invalidated(stand: Stand, field: str) -> None:
    stand.origin.on(f"/list/{field}", fresh(b"old"), fresh(b"new"))
    stand.origin.on(f"/add/{field}", answer("201 Created", {field: f"/list/{field}"}))
    stand.proxy.get(f"/list/{field}")
    stand.proxy.request("POST", f"/add/{field}")
    assert stand.proxy.get(f"/list/{field}").body == b"new"


def test_a_response_on_its_way_during_an_invalidation_is_not_kept(stand: Stand) -> None:
    """What was asked for before the change may be the old state: it must not be stored after."""
    asked, changed = threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> None:
        asked.set()
        exchange.wait(changed, "the change")
        exchange.send(fresh(b"old"))

    stand.origin.on("/racing", slow, answer("204 No Content"), fresh(b"new"))
    with stand.proxy.client() as reader:
        reader.send(reader.head("GET", "/racing"))
        assert asked.wait(10), "the origin was not asked"
        assert stand.proxy.request("PUT", "/racing").status == 204
        changed.set()
        assert reader.response().body == b"old"
    assert stand.proxy.get("/racing").body == b"new"


def test_clear_drops_everything(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/", fresh())
    assert [proxy.get("/").cache for _ in range(2)] == ["MISS", "HIT"]
    assert proxy.clear().status == 200
    assert proxy.get("/").cache == "MISS"


def test_a_pipelining_client_gets_hits_and_misses_alike(stand: Stand) -> None:
    stand.origin.on("/alike", fresh(b"same"))
    with RawClient(stand.proxy.address) as client:
        client.send(client.head("GET", "/alike") * 5)
        assert [client.response().body for _ in range(5)] == [b"same"] * 5
