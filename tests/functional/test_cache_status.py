"""Cache-Status (RFC 9211): one well-formed member of ours, and what it says in each case."""

from __future__ import annotations

import re
import threading

import pytest

from .support.document import DOC, V1, V2, Document, check_part, check_whole, ranged
from .support.messages import Response
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy
from .support.waiting import DEADLINE

STALE = {"Cache-Control": "max-age=0", "ETag": V1}  # stored, and to be validated each time
FOREVER = "max-age=600"


class Token(str):
    """An RFC 9651 Token, which is not a String."""


Item = bool | int | str | Token
REASONS = {
    Token(reason)
    for reason in ("bypass", "method", "uri-miss", "vary-miss", "request", "stale", "partial")
}
KINDS: dict[str, tuple[type, ...]] = {
    "hit": (bool,),
    "fwd": (Token,),
    "fwd-status": (int,),
    "ttl": (int,),
    "stored": (bool,),
    "collapsed": (bool,),
    "key": (str,),
    "detail": (Token, str),
}


class Reader:
    """A strict parser of Lists whose members are Items (RFC 9651 4.2)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def members(self) -> list[tuple[Item, dict[str, Item]]]:
        """Each member with its parameters; AssertionError for what is not well formed."""
        found = [(self._item(), self._parameters())]
        while self._take(r"[ \t]*,[ \t]*") is not None:
            found.append((self._item(), self._parameters()))
        assert self._at == len(self._text), self._rest()
        return found

    def _parameters(self) -> dict[str, Item]:
        found: dict[str, Item] = {}
        while self._take(r"; *") is not None:
            name = self._take(r"[a-z*][a-z0-9_.*-]*")
            assert name is not None and name not in found, self._rest()
            found[name] = self._item() if self._take("=") else True
        return found

    def _item(self) -> Item:
        for pattern, read in (
            (r"\?[01]", lambda text: text == "?1"),
            (r"-?[0-9]{1,15}(?![0-9.])", int),
            (r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*", Token),
            (
                r'"(?:[ !#-\[\]-~]|\\["\\])*"',
                lambda text: re.sub(r"\\(.)", r"\1", text[1:-1]),
            ),
        ):
            text = self._take(pattern)
            if text is not None:
                return read(text)
        raise AssertionError(self._rest())

    def _take(self, pattern: str) -> str | None:
        found = re.compile(pattern).match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _rest(self) -> str:
        return f"at {self._at} of {self._text!r}"


def told(response: Response, name: Item = Token("caching-proxy")) -> dict[str, Item]:  # noqa: B008
    """The parameters of our member, the last one, found to be as RFC 9211 2 has them."""
    cache, said = Reader(response.fields["cache-status"]).members()[-1]
    assert (type(cache), cache) == (type(name), name)
    for parameter, value in said.items():
        assert type(value) in KINDS[parameter], (parameter, value)
    assert not ("hit" in said and "fwd" in said)
    assert said.get("hit", True) is True
    if "fwd" in said:
        assert said["fwd"] in REASONS
        assert said.get("fwd-status") != response.status, "the same as the status needs no telling"
    else:
        assert not {"fwd-status", "stored", "collapsed"} & said.keys()
    if "key" in said:
        assert said["key"] == response.fields["x-cache-key"]
    return said


def check(response: Response, **expected: object) -> dict[str, Item]:
    """Exactly these parameters, besides key, ttl and detail; names as in `fwd_status`."""
    said = told(response)
    named = {name.replace("_", "-"): value for name, value in expected.items()}
    shown = {name: value for name, value in said.items() if value is not False}
    free = {"key", "ttl", "detail"} - named.keys()
    assert {k: v for k, v in shown.items() if k not in free} == named
    return said


def test_the_reader_is_strict() -> None:
    text = 'A; hit; ttl=-3, "B \\"c\\"";fwd=uri-miss;stored=?0'
    first, second = Reader(text).members()
    assert first == ("A", {"hit": True, "ttl": -3}) and isinstance(first[0], Token)
    assert second == ('B "c"', {"fwd": "uri-miss", "stored": False})
    for wrong in ("", "a;", "a,", "a;b=", "a b", "a;B", "a;b=1.5x", "a;b=?2", "a ;b", "a;b;b"):
        with pytest.raises(AssertionError):
            Reader(wrong).members()


@pytest.mark.parametrize("lane", [{}, {"Connection": "x"}], ids=["plain", "not plain"])
def test_the_key_is_told(stand: Stand, lane: dict[str, str]) -> None:
    target = f"/key/{len(lane)}"
    stand.origin.on(target, fresh())
    keys = [told(stand.proxy.get(target, lane))["key"] for _ in range(2)]
    assert keys[0] == keys[1] != told(stand.proxy.get("/another", lane))["key"]
    assert re.fullmatch("cache:[0-9a-f]{64}", str(keys[0]))


# --- hits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", [{}, {"Connection": "x"}], ids=["plain", "not plain"])
@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("GET", {}, 200),
        ("HEAD", {}, 200),
        ("GET", {"If-None-Match": V1}, 304),
        ("GET", {"Range": "bytes=0-9"}, 206),
        ("GET", {"Range": "bytes=500-"}, 416),
    ],
)
def test_a_hit(
    stand: Stand, method: str, fields: dict[str, str], status: int, lane: dict[str, str]
) -> None:
    """RFC 9211 2.1: a 304 or 206 that was made of what is stored as well."""
    stand.origin.on("/hit", Document())
    stand.proxy.get("/hit")
    response = stand.proxy.request(method, "/hit", {**fields, **lane})
    assert response.status == status
    said = check(response, hit=True)
    assert status == 416 or 0 < said["ttl"] <= 600  # type: ignore[operator]


def test_ttl_is_what_is_left(stand: Stand) -> None:
    stand.origin.on("/left", answer("200 OK", {"Cache-Control": FOREVER, "Age": "200"}, b"x"))
    stand.proxy.get("/left")
    response = stand.proxy.get("/left")
    assert check(response, hit=True)["ttl"] == 600 - int(response.fields["age"])


def test_a_stale_hit_has_a_negative_ttl(stand: Stand) -> None:
    fields = {"Cache-Control": "max-age=60, stale-while-revalidate=3600", "Age": "160", "ETag": V1}
    stand.origin.on("/swr", answer("200 OK", fields, b"x"))
    stand.proxy.get("/swr")
    response = stand.proxy.get("/swr")
    said = check(response, hit=True, detail="stale-while-revalidate")
    assert said["ttl"] == 60 - int(response.fields["age"]) < 0


# --- forwarded ------------------------------------------------------------------------------------


def test_a_uri_that_is_not_stored(stand: Stand) -> None:
    stand.origin.on("/new", fresh())
    said = check(stand.proxy.get("/new"), fwd="uri-miss", stored=True)
    assert 0 < said.get("ttl", 600) <= 600  # type: ignore[operator]


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Internal Server Error"])
def test_what_is_not_stored_does_not_say_so(stand: Stand, status: str) -> None:
    target = f"/unstored/{status[:3]}"
    stand.origin.on(target, answer(status, {"Cache-Control": "no-store"}))
    check(stand.proxy.get(target), fwd="uri-miss")


def test_a_variant_that_is_not_stored(stand: Stand) -> None:
    varied = answer("200 OK", {"Cache-Control": FOREVER, "Vary": "X-Flavour"}, b"x")
    stand.origin.on("/varied", varied)
    check(stand.proxy.get("/varied", {"X-Flavour": "salt"}), fwd="uri-miss", stored=True)
    check(stand.proxy.get("/varied", {"X-Flavour": "sweet"}), fwd="vary-miss", stored=True)
    check(stand.proxy.get("/varied", {"X-Flavour": "salt"}), hit=True)


def test_stale_and_validated(stand: Stand) -> None:
    validated = answer("304 Not Modified", {"Cache-Control": FOREVER, "ETag": V1})
    stand.origin.on("/validated", answer("200 OK", STALE, b"x"), validated)
    stand.proxy.get("/validated")
    response = stand.proxy.get("/validated")
    said = {k: v for k, v in told(response).items() if k not in ("stored", "key", "ttl", "detail")}
    assert (response.status, response.cache) == (200, "HIT")
    assert said == {"fwd": "stale", "fwd-status": 304}
    check(stand.proxy.get("/validated"), hit=True)


def test_stale_and_replaced(stand: Stand) -> None:
    replaced = answer("200 OK", {"Cache-Control": FOREVER, "ETag": V2}, b"new")
    stand.origin.on("/replaced", answer("200 OK", STALE, b"old"), replaced)
    stand.proxy.get("/replaced")
    response = stand.proxy.get("/replaced")
    check(response, fwd="stale", stored=True)
    assert (response.body, response.cache) == (b"new", "MISS")


def test_stale_while_the_origin_answers_with_an_error(stand: Stand) -> None:
    stand.origin.on("/failing", answer("200 OK", STALE, b"x"), answer("503 Service Unavailable"))
    stand.proxy.get("/failing")
    response = stand.proxy.get("/failing")
    said = check(response, fwd="stale", fwd_status=503)
    assert said.get("ttl", 0) <= 0  # type: ignore[operator]
    assert (response.status, response.body, response.cache) == (200, b"x", "HIT")


def test_stale_while_the_origin_does_not_answer(stand: Stand) -> None:
    stand.origin.on("/gone", answer("200 OK", STALE, b"x"), Exchange.reset)
    stand.proxy.get("/gone")
    response = stand.proxy.get("/gone")
    assert check(response, fwd="stale")["detail"]
    assert (response.status, response.body, response.cache) == (200, b"x", "HIT")


@pytest.mark.parametrize(
    "fields",
    [
        {"Cache-Control": "no-cache"},
        {"Cache-Control": "max-age=50"},
        {"Cache-Control": "min-fresh=3600"},
        {"Pragma": "no-cache"},
    ],
)
def test_a_request_that_does_not_take_what_is_fresh(stand: Stand, fields: dict[str, str]) -> None:
    target = f"/reloaded?{','.join(fields)}{','.join(fields.values())}"
    stand.origin.on("/reloaded", Document(Age="100"))
    stand.proxy.get(target)
    response = stand.proxy.get(target, fields)
    said = {k: v for k, v in told(response).items() if k not in ("stored", "key", "ttl", "detail")}
    assert said == {"fwd": "request", "fwd-status": 304}
    assert (response.status, response.body, response.cache) == (200, DOC, "HIT")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_a_method_that_is_always_forwarded(stand: Stand, method: str) -> None:
    said = told(stand.proxy.request(method, "/method"))
    assert said["fwd"] == "method"
    assert not {"stored", "collapsed", "fwd-status"} & said.keys()


def test_a_request_that_the_cache_is_not_for(stand: Stand) -> None:
    stand.origin.on("/bypass", fresh(b"stored"))
    stand.proxy.get("/bypass")
    response = stand.proxy.request("GET", "/bypass", {}, b"body")
    assert told(response)["fwd"] == "bypass"


def test_a_part_that_was_not_stored(stand: Stand) -> None:
    stand.origin.on("/part", Document())
    response = ranged(stand, "/part", "0-9")
    check(response, fwd="uri-miss", stored=True)
    response = ranged(stand, "/part", "20-29")
    check_part(response, 20, 29)
    check(response, fwd="partial", stored=True)


def test_a_whole_of_which_a_part_was_stored(stand: Stand) -> None:
    stand.origin.on("/rest", Document())
    ranged(stand, "/rest", "0-44")
    response = stand.proxy.get("/rest")
    check_whole(response)
    check(response, fwd="partial", fwd_status=206, stored=True)


def test_collapsed(stand: Stand) -> None:
    asked, released = threading.Event(), threading.Event()

    def held(exchange: Exchange) -> None:
        asked.set()
        exchange.wait(released, "the followers")
        exchange.send(fresh())

    stand.origin.on("/shared", held)
    with stand.proxy.client() as leader, stand.proxy.client() as follower:
        leader.send(leader.head("GET", "/shared"))
        assert asked.wait(DEADLINE)
        follower.send(follower.head("GET", "/shared"))
        stand.proxy.barrier()
        released.set()
        first, second = told(leader.response()), told(follower.response())
    assert (first["fwd"], first["stored"]) == ("uri-miss", True)
    assert (second["fwd"], second["collapsed"]) == ("uri-miss", True)


# --- our own answers, other caches, our name ------------------------------------------------------


def test_an_answer_that_is_only_wanted_from_the_store(stand: Stand) -> None:
    response = stand.proxy.get("/nothing", {"Cache-Control": "only-if-cached"})
    assert response.status == 504
    said = told(response)
    assert said["detail"] and not {"hit", "fwd"} & said.keys()


def test_an_origin_that_fails(stand: Stand) -> None:
    stand.origin.on("/broken", b"nonsense\r\n\r\n")
    response = stand.proxy.get("/broken")
    assert response.status == 502
    said = check(response, fwd="uri-miss")
    assert said["detail"]


def test_a_request_that_is_refused(stand: Stand) -> None:
    with stand.proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        response = client.refusal()
    assert response is not None and response.status == 400
    said = told(response)
    assert said["detail"] and not {"hit", "fwd"} & said.keys()


CHAINS = ["Origin; hit", 'A;hit;ttl=5, "B, C";fwd=miss;key="\\"a, b"', "A; detail=x"]


@pytest.mark.parametrize("chain", CHAINS)
def test_caches_behind_us_come_first(stand: Stand, chain: str) -> None:
    """RFC 9211 2: the last member is the one closest to the user."""
    target = f"/chain/{CHAINS.index(chain)}"
    stand.origin.on(target, answer("200 OK", {"Cache-Control": FOREVER, "Cache-Status": chain}))
    for expected in ({"fwd": "uri-miss", "stored": True}, {"hit": True}):
        response = stand.proxy.get(target)
        check(response, **expected)
        before = Reader(chain).members()
        assert Reader(response.fields["cache-status"]).members()[:-1] == before


def test_our_name_is_a_setting(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--name", "edge-1")
    origin.on("/", fresh())
    for parameter in ("fwd", "hit"):
        assert parameter in told(proxy.get("/"), Token("edge-1"))
