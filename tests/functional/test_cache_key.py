"""What tells one stored response from another: method, exact URL, three normalised fields."""

from __future__ import annotations

import pytest

from .support.messages import Response
from .support.scripted_origin import Exchange, Script, ScriptedOrigin, fresh
from .support.stand import Stand, StartProxy


def _echo_field(name: str) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send(fresh((exchange.request.fields.get(name) or "absent").encode()))

    return script


def _key(response: Response) -> str:
    return response.fields["x-cache-key"]


SAME = [
    ("Accept", "text/html, application/json", "application/json,text/html"),
    ("Accept", "text/html;q=0.5, */*", "*/* , text/html; q=0.5"),
    ("Accept", "TEXT/HTML", "text/html"),
    ("Accept", "text/html;q=1.0", "text/html"),
    ("Accept-Language", "en, de", "DE,EN"),
    ("Accept-Language", "de, en;q=0.5", "de,en; q=0.5"),
    ("Accept-Encoding", "gzip, br", "br,GZIP"),
    ("Accept-Encoding", "gzip", "x-unheard-of, gzip"),
    ("Accept-Encoding", "gzip;q=1.0", "gzip"),
]
DIFFERENT = [
    ("Accept", "text/html", "application/json"),
    ("Accept", "text/html;q=0.5, text/plain", "text/html, text/plain;q=0.5"),
    ("Accept-Language", "en", "de"),
    ("Accept-Language", "en, de;q=0.5", "de, en;q=0.5"),
    ("Accept-Encoding", "gzip", "br"),
    ("Accept-Encoding", "gzip", "identity"),
    ("Accept-Encoding", "gzip;q=0, br", "gzip, br"),
]


@pytest.mark.parametrize("name, one, other", SAME)
def test_same_meaning_same_key(stand: Stand, name: str, one: str, other: str) -> None:
    target = f"/same?{SAME.index((name, one, other))}"
    stand.origin.on(target, fresh())
    first, second = stand.proxy.get(target, {name: one}), stand.proxy.get(target, {name: other})
    assert _key(first) == _key(second)
    assert (first.cache, second.cache) == ("MISS", "HIT")


@pytest.mark.parametrize("name, one, other", DIFFERENT)
def test_other_meaning_other_key(stand: Stand, name: str, one: str, other: str) -> None:
    target = f"/different?{DIFFERENT.index((name, one, other))}"
    stand.origin.on(target, fresh(b"one"), fresh(b"other"))
    first, second = stand.proxy.get(target, {name: one}), stand.proxy.get(target, {name: other})
    assert _key(first) != _key(second)
    assert (first.body, second.body) == (b"one", b"other")
    assert stand.proxy.get(target, {name: one}).body == b"one"


def test_a_field_in_two_lines_is_the_same_as_in_one(stand: Stand) -> None:
    stand.origin.on("/lines", fresh())
    with stand.proxy.client() as client:
        line = f"GET /lines HTTP/1.1\r\nHost: {client.authority}\r\n".encode()
        client.send(line + b"Accept: text/html\r\nAccept: text/plain\r\n\r\n")
        first = client.response()
        second = client.get("/lines", {"Accept": "text/html, text/plain"})
    assert _key(first) == _key(second)


@pytest.mark.parametrize("one, other", [("gzip, br", "br,GZIP"), ("x-unheard-of, gzip", "gzip")])
def test_accept_encoding_goes_upstream_as_it_is_in_the_key(
    stand: Stand, one: str, other: str
) -> None:
    stand.origin.on("/coding", _echo_field("accept-encoding"))
    forwarded = []
    for n, value in enumerate((one, other)):
        stand.proxy.get(f"/coding?{one}{n}".replace(" ", ""), {"Accept-Encoding": value})
        forwarded.append(stand.origin.requests[-1].fields.get("accept-encoding"))
    assert forwarded[0] == forwarded[1]
    assert forwarded[0] is not None and "gzip" in forwarded[0]
    assert "unheard" not in forwarded[0]


def test_no_accept_encoding_is_not_made_into_one(stand: Stand) -> None:
    stand.origin.on("/no-coding", _echo_field("accept-encoding"))
    assert stand.proxy.get("/no-coding").body in (b"absent", b"identity")


def test_other_fields_do_not_count(stand: Stand) -> None:
    stand.origin.on("/agent", fresh())
    keys = {_key(stand.proxy.get("/agent", {"User-Agent": agent})) for agent in ("a", "b")}
    assert len(keys) == 1


DISTINCT_TARGETS = [
    "/t", "/t/", "/t?", "/t?a=1", "/t?a=2", "/t?a=1&b=2", "/t?b=2&a=1", "/T", "/%74", "//t",
    "/t//", "/t/./", "/t/../t", "/t%2F", "/t%2f", "/t;v=1", "/t?a=1?",
]  # fmt: skip


def test_every_spelling_of_a_target_is_its_own_key(stand: Stand) -> None:
    """The path goes upstream exactly as it came, and the key is made of exactly that."""
    keys = set()
    for target in DISTINCT_TARGETS:
        stand.origin.on(target, fresh(target.encode()))
        first, second = stand.proxy.get(target), stand.proxy.get(target)
        assert first.body == second.body == target.encode()
        assert (first.cache, second.cache) == ("MISS", "HIT"), target
        keys.add(_key(first))
    assert len(keys) == len(DISTINCT_TARGETS)
    assert stand.origin.targets() == DISTINCT_TARGETS


def test_the_clients_host_is_not_in_the_key_unless_it_goes_upstream(stand: Stand) -> None:
    stand.origin.on("/host", fresh())
    first = stand.proxy.get("/host", {"Host": "a.example"})
    second = stand.proxy.get("/host", {"Host": "b.example"})
    assert _key(first) == _key(second)
    assert second.cache == "HIT"
    assert {request.fields["host"] for request in stand.origin.requests} == {stand.origin.authority}


@pytest.mark.parametrize("option", [("--host-header", "client"), ("--forwarded-host",)])
def test_the_clients_host_is_in_the_key_when_it_goes_upstream(
    start_proxy: StartProxy, origin: ScriptedOrigin, option: tuple[str, ...]
) -> None:
    proxy = start_proxy(*option)
    origin.on("/", fresh(b"a"), fresh(b"b"))
    assert proxy.get("/", {"Host": "a.example"}).body == b"a"
    assert proxy.get("/", {"Host": "b.example"}).body == b"b"
    assert proxy.get("/", {"Host": "a.example"}).body == b"a"
    assert proxy.get("/", {"Host": "A.Example"}).cache == "HIT", "a host's case means nothing"


@pytest.mark.parametrize(
    "name", ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "Forwarded"]
)
def test_an_untrusted_client_cannot_poison_by_forwarding_fields(stand: Stand, name: str) -> None:
    stand.origin.on(f"/poison/{name}", _echo_field(name))
    evil = stand.proxy.get(f"/poison/{name}", {name: "evil.example"})
    assert b"evil" not in evil.body
    assert b"evil" not in stand.proxy.get(f"/poison/{name}").body


def test_what_trusted_proxies_say_of_the_scheme_is_in_the_key(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """It goes upstream and can change the answer (a redirect to https)."""
    proxy = start_proxy("--trusted-proxies", "127.0.0.0/8")
    origin.on("/", _echo_field("x-forwarded-proto"))
    for scheme in ("http", "https", "http"):
        assert proxy.get("/", {"X-Forwarded-Proto": scheme}).body == scheme.encode()


def test_two_base_paths_never_share_a_key(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    """Two sites that share one store never meet."""
    keys = {_key(start_proxy(origin=origin.url + base).get("/x")) for base in ("", "/a", "/b")}
    assert len(keys) == 3
