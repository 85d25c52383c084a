"""What operators and origins make of the key: query, fields, cookies, request content."""

from __future__ import annotations

import threading

import pytest

from .support.cache_status import ours
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy, TimedStand
from .support.waiting import DEADLINE

FRESH = {"Cache-Control": "max-age=600"}


def reflect(exchange: Exchange) -> None:
    """The target as the origin got it, and the request's content."""
    body = exchange.request.target.encode() + b" " + exchange.read_body()
    exchange.send(answer("200 OK", FRESH, body))


# --- query parameters -----------------------------------------------------------------------------


def test_dropped_parameters_are_neither_keyed_nor_sent(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--query-drop", "utm_*", "--query-drop", "fbclid")
    origin.on("/a", reflect)
    assert proxy.get("/a?utm_source=x&b=1&fbclid=2").body == b"/a?b=1 "
    assert proxy.get("/a?b=1&utm_medium=y").cache == "HIT"
    assert proxy.get("/a?b=2").cache == "MISS"
    assert proxy.get("/a?utm_source=x").body == b"/a "
    assert proxy.get("/a").cache == "HIT"


def test_kept_parameters_are_the_only_ones(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--query-keep", "id", "--query-sort")
    origin.on("/a", reflect)
    assert proxy.get("/a?z=1&id=2&y=3").body == b"/a?id=2 "
    assert proxy.get("/a?id=2&z=7").cache == "HIT"


def test_sorted_parameters(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--query-sort")
    origin.on("/a", reflect)
    assert proxy.get("/a?b=1&a=2&b=0").body == b"/a?a=2&b=1&b=0 "
    assert proxy.get("/a?b=1&b=0&a=2").cache == "HIT"
    assert proxy.get("/a?b=0&b=1&a=2").cache == "MISS"


def test_a_purge_names_what_is_keyed(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--query-drop", "utm_*")
    origin.on("/a", reflect)
    proxy.get("/a?utm_source=x&b=1")
    assert b'"purged": 1' in proxy.request("PURGE", "/a?b=1&utm_source=other").body
    assert proxy.get("/a?b=1").cache == "MISS"


# --- fields, cookies, devices ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "one", "same", "other"),
    [
        (
            ("--key-header", "X-Country"),
            {"X-Country": "CH"},
            {"x-country": "CH", "X-Else": "1"},
            {"X-Country": "DE"},
        ),
        (
            ("--key-cookie", "currency"),
            {"Cookie": "a=1; currency=CHF"},
            {"Cookie": "currency=CHF; b=2"},
            {"Cookie": "a=1; currency=EUR"},
        ),
        (
            ("--key-device",),
            {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) Mobile/15E148"},
            {"User-Agent": "Mozilla/5.0 (Linux; Android 14) Mobile Safari/537.36"},
            {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/120"},
        ),
    ],
)
def test_further_parts_of_the_key(
    start_proxy: StartProxy,
    origin: ScriptedOrigin,
    option: tuple[str, ...],
    one: dict[str, str],
    same: dict[str, str],
    other: dict[str, str],
) -> None:
    proxy = start_proxy(*option)
    origin.on("/a", reflect)
    caches = [proxy.get("/a", fields).cache for fields in (one, same, other, {}, other, one)]
    assert caches == ["MISS", "HIT", "MISS", "MISS", "HIT", "HIT"] or (
        option == ("--key-device",) and caches == ["MISS", "HIT", "MISS", "HIT", "HIT", "HIT"]
    )
    assert b'"purged": ' in proxy.request("PURGE", "/a").body
    assert proxy.get("/a", one).cache == "MISS"


# --- No-Vary-Search -------------------------------------------------------------------------------


def test_no_vary_search_tells_which_queries_are_one(stand: Stand) -> None:
    def reply(exchange: Exchange) -> None:
        fields = {**FRESH, "No-Vary-Search": 'key-order, params=("utm_source" "session")'}
        exchange.send(answer("200 OK", fields, exchange.request.target.encode()))

    stand.origin.on("/nvs", reply)
    assert stand.proxy.get("/nvs?a=1&session=9&b=2").body == b"/nvs?a=1&session=9&b=2"
    response = stand.proxy.get("/nvs?b=2&utm_source=x&a=1")
    assert (response.cache, response.body) == ("HIT", b"/nvs?a=1&session=9&b=2")
    assert stand.proxy.get("/nvs?b=3&a=1").cache == "MISS"
    assert b'"purged": 1' in stand.proxy.request("PURGE", "/nvs?session=1&a=1&b=2").body
    assert stand.proxy.get("/nvs?a=1&b=2").cache == "MISS"


def test_no_vary_search_is_forgotten_when_the_origin_drops_it(stand: Stand) -> None:
    rule = answer("200 OK", {**FRESH, "No-Vary-Search": "params"}, b"rule")
    stand.origin.on("/fickle", rule, fresh(b"first"), fresh(b"second"))
    stand.proxy.get("/fickle?a=1")
    assert stand.proxy.get("/fickle?a=2").body == b"rule"
    assert stand.proxy.get("/fickle?a=3", {"Cache-Control": "no-cache"}).body == b"first"
    assert stand.proxy.get("/fickle?a=4").body == b"second"


# --- content in the key ---------------------------------------------------------------------------


def test_query_is_cached_by_its_content(stand: Stand) -> None:
    stand.origin.on("/search", reflect)
    json = {"Content-Type": "application/json"}

    def query(body: bytes, fields: dict[str, str]) -> tuple[str, bytes]:
        response = stand.proxy.request("QUERY", "/search", fields, body)
        return response.cache, response.body

    assert query(b"{1}", json) == ("MISS", b"/search {1}")
    assert query(b"{1}", json) == ("HIT", b"/search {1}")
    assert query(b"{2}", json) == ("MISS", b"/search {2}")
    assert query(b"{1}", {"Content-Type": "text/plain"}) == ("MISS", b"/search {1}")
    assert stand.proxy.get("/search").cache == "MISS"
    assert query(b"{1}", json)[0] == "HIT"


def test_a_chunked_query_is_the_same_query(stand: Stand) -> None:
    stand.origin.on("/chunked-query", reflect)
    stand.proxy.request("QUERY", "/chunked-query", {}, b"abc")
    with stand.proxy.client() as client:
        head = client.head("QUERY", "/chunked-query", {"Transfer-Encoding": "chunked"})
        client.send(head + b"1\r\na\r\n")
        stand.proxy.barrier()
        client.send(b"2\r\nbc\r\n0\r\n\r\n")
        response = client.response("QUERY")
    assert (response.cache, response.body) == ("HIT", b"/chunked-query abc")


@pytest.mark.parametrize("chunked", [False, True])
def test_large_content_is_passed_on_uncached(
    start_proxy: StartProxy, origin: ScriptedOrigin, chunked: bool
) -> None:
    proxy = start_proxy("--max-keyed-body", "1KB")
    origin.on("/large", reflect)
    content = b"x" * 2000
    for _ in range(2):
        with proxy.client() as client:
            if chunked:
                head = client.head("QUERY", "/large", {"Transfer-Encoding": "chunked"})
                client.send(head + b"7d0\r\n" + content + b"\r\n0\r\n\r\n")
            else:
                length = {"Content-Length": str(len(content))}
                client.send(client.head("QUERY", "/large", length) + content)
            response = client.response("QUERY")
        assert response.body == b"/large " + content
        assert "hit" not in ours(response)
    assert len(origin.seen("/large")) == 2


def test_a_query_that_expects_continue_gets_it(stand: Stand) -> None:
    stand.origin.on("/expecting", reflect)
    fields = {"Expect": "100-continue", "Content-Length": "2"}
    with stand.proxy.client() as client:
        client.send(client.head("QUERY", "/expecting", fields))
        assert client.response_head("QUERY").status == 100
        client.send(b"hi")
        assert client.response("QUERY").body == b"/expecting hi"


def test_simultaneous_queries_are_one(stand: Stand) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def held(exchange: Exchange) -> None:
        content = exchange.read_body()
        asked.set()
        exchange.wait(go_on, "the test")
        exchange.send(answer("200 OK", FRESH, content))

    stand.origin.on("/herd-query", held)
    clients = [stand.proxy.client() for _ in range(10)]
    for client in clients:
        client.send(client.head("QUERY", "/herd-query", {"Content-Length": "1"}) + b"q")
    stand.proxy.barrier()
    assert asked.wait(30)
    go_on.set()
    assert [client.response("QUERY").body for client in clients] == [b"q"] * 10
    for client in clients:
        client.close()
    assert len(stand.origin.seen("/herd-query")) == 1


def test_post_is_cached_where_so_set_and_stated(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--cache-method", "POST")
    origin.on("/graph", reflect)
    origin.on("/unstated", answer("200 OK", {}, b"one"), answer("200 OK", {}, b"two"))
    assert proxy.request("POST", "/graph", {}, b"a").cache == "MISS"
    assert proxy.request("POST", "/graph", {}, b"a").cache == "HIT"
    assert proxy.request("POST", "/graph", {}, b"b").body == b"/graph b"
    assert proxy.request("POST", "/graph", {}, b"a").cache == "HIT"
    assert proxy.request("POST", "/unstated", {}, b"a").body == b"one"
    assert proxy.request("POST", "/unstated", {}, b"a").body == b"two"


def test_post_is_not_cached_without_the_setting(stand: Stand) -> None:
    stand.origin.on("/post", reflect)
    for _ in range(2):
        assert "hit" not in ours(stand.proxy.request("POST", "/post", {}, b"a"))
    assert len(stand.origin.seen("/post")) == 2


def test_a_stale_query_is_validated_with_its_content(stand: Stand) -> None:
    fields = {"Cache-Control": "no-cache", "ETag": '"v1"'}
    contents = []

    def reply(exchange: Exchange) -> None:
        contents.append(exchange.read_body())
        if "if-none-match" in exchange.request.fields:
            exchange.send(answer("304 Not Modified", fields))
        else:
            exchange.send(answer("200 OK", fields, b"found"))

    stand.origin.on("/stale-query", reply)
    assert stand.proxy.request("QUERY", "/stale-query", {}, b"q").cache == "MISS"
    response = stand.proxy.request("QUERY", "/stale-query", {}, b"q")
    assert (response.cache, response.body) == ("HIT", b"found")
    assert contents == [b"q", b"q"]


def test_a_query_that_is_asked_again_has_its_content_again(timed: TimedStand) -> None:
    """In the background, when its client has its answer: a 304 that means nothing known."""
    fields = {"Cache-Control": "max-age=60, stale-while-revalidate=600", "ETag": '"v1"'}
    contents: list[bytes] = []
    renewed = threading.Event()

    def reply(exchange: Exchange) -> None:
        contents.append(exchange.read_body())
        if len(contents) == 2:
            exchange.send(answer("304 Not Modified", {**fields, "ETag": '"other"'}))
            return
        exchange.send(answer("200 OK", fields, b"%d" % len(contents)))
        if len(contents) == 3:
            renewed.set()

    timed.origin.on("/again-query", reply)
    assert timed.proxy.request("QUERY", "/again-query", {}, b"content").cache == "MISS"
    timed.clock.advance(60)
    assert timed.proxy.request("QUERY", "/again-query", {}, b"content").body == b"1"
    assert renewed.wait(DEADLINE)
    for _ in range(2):
        timed.proxy.barrier()
    response = timed.proxy.request("QUERY", "/again-query", {}, b"content")
    assert (response.cache, response.body) == ("HIT", b"3")
    assert contents == [b"content"] * 3


def test_an_unsafe_method_that_may_be_cached_invalidates_unless_it_was_a_query(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """RFC 9111 4.4: the origin says by explicit freshness that an answer is a query's."""
    proxy = start_proxy("--cache-method", "POST")
    kept = answer("200 OK", FRESH, b"found")
    done = answer("200 OK", {}, b"done")
    origin.on("/orders", fresh(b"first"), kept, done, fresh(b"second"))
    assert proxy.get("/orders").body == b"first"
    assert proxy.request("POST", "/orders", {}, b"query").body == b"found"
    assert proxy.get("/orders").cache == "HIT"
    assert proxy.request("POST", "/orders", {}, b"query").cache == "HIT"
    assert proxy.get("/orders").cache == "HIT"
    assert proxy.request("POST", "/orders", {}, b"change").body == b"done"
    assert proxy.get("/orders").body == b"second"


@pytest.mark.parametrize("method", ["POST", "PURGE"])
def test_what_came_before_no_vary_search_is_invalidated_as_well(stand: Stand, method: str) -> None:
    """Stored under its whole URL, found again should the rule be forgotten."""
    rule = answer("200 OK", {**FRESH, "No-Vary-Search": 'params=("u")'}, b"rule")
    target = f"/before/{method}"
    stand.origin.on(f"{target}?a=1&u=1", fresh(b"before"), fresh(b"after"))
    stand.origin.on(f"{target}?a=2", rule, fresh(b"no rule"))
    assert stand.proxy.get(f"{target}?a=1&u=1").body == b"before"
    assert stand.proxy.get(f"{target}?a=2").body == b"rule"
    if method == "POST":
        stand.origin.on(f"{target}?a=1&u=1", answer("200 OK"), fresh(b"after"))
    assert stand.proxy.request(method, f"{target}?a=1&u=1").status == 200
    stand.proxy.get(f"{target}?a=2", {"Cache-Control": "no-cache"})
    assert stand.proxy.get(f"{target}?a=1&u=1").body == b"after"
