"""Large responses fetched and stored slice by slice (--slice)."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest

from .support.cache_status import ours
from .support.clock import Clock
from .support.messages import IncompleteError
from .support.proxy import ProxyProcess
from .support.scripted_origin import Exchange, Script, ScriptedOrigin, answer
from .support.stand import Stand, StartProxy

KB = 1024
SLICE = 64 * KB
DOC = bytes(range(251)) * 1000  # 251,000 octets: four slices, the last one short
FRESH = {"Cache-Control": "max-age=600", "ETag": '"v1"'}


def document(body: bytes = DOC, **fields: str) -> Script:
    """An origin's document that can be had in ranges."""
    told = {**FRESH, **{name.replace("_", "-"): value for name, value in fields.items()}}

    def reply(exchange: Exchange) -> None:
        if exchange.request.fields.get("if-none-match") == told["ETag"]:
            exchange.send(answer("304 Not Modified", told))
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", exchange.request.fields.get("range") or "")
        if asked is None:
            exchange.send(answer("200 OK", told, body))
        elif int(asked[1]) >= len(body):
            place = {"Content-Range": f"bytes */{len(body)}"}
            exchange.send(answer("416 Range Not Satisfiable", {**told, **place}))
        else:
            first, last = int(asked[1]), min(int(asked[2]), len(body) - 1)
            place = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
            exchange.send(answer("206 Partial Content", {**told, **place}, body[first : last + 1]))

    return reply


@pytest.fixture
def proxy(start_proxy: StartProxy) -> ProxyProcess:
    """A proxy with slices."""
    return start_proxy("--slice", "64KB")


def ranges(origin: ScriptedOrigin, target: str = "/doc") -> list[str | None]:
    """The Range fields that the origin got."""
    return [request.fields.get("range") for request in origin.seen(target)]


def slices(*numbers: int) -> list[str]:
    """What is asked of the origin for these slices."""
    return [f"bytes={number * SLICE}-{(number + 1) * SLICE - 1}" for number in numbers]


def test_a_whole_comes_in_slices(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/doc", document())
    first = proxy.get("/doc")
    assert (first.status, first.cache, first.body) == (200, "MISS", DOC)
    assert first.fields["content-length"] == str(len(DOC))
    assert "content-range" not in first.fields
    assert ranges(origin) == slices(0, 1, 2, 3)
    again = proxy.get("/doc")
    assert (again.status, again.cache, again.body) == (200, "HIT", DOC)
    assert len(origin.requests) == 4
    assert proxy.stats()["entries"] == 4


def test_a_range_needs_its_slices_alone(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/doc", document())
    response = proxy.get("/doc", {"Range": "bytes=70000-140000"})
    assert (response.status, response.body) == (206, DOC[70000:140001])
    assert response.fields["content-range"] == f"bytes 70000-140000/{len(DOC)}"
    assert ranges(origin) == slices(1, 2)
    inner = proxy.get("/doc", {"Range": "bytes=131000-131100"})
    assert (inner.status, inner.cache, inner.body) == (206, "HIT", DOC[131000:131101])
    end = proxy.get("/doc", {"Range": "bytes=250000-"})
    assert (end.cache, end.body) == ("MISS", DOC[250000:])
    assert ranges(origin) == slices(1, 2, 3)
    assert proxy.get("/doc").body == DOC
    assert ranges(origin) == slices(1, 2, 3, 0)


def test_a_range_behind_the_end(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/doc", document())
    for start in (251000, 900000):
        response = proxy.get("/doc", {"Range": f"bytes={start}-"})
        assert response.status == 416
        assert response.fields["content-range"] == f"bytes */{len(DOC)}"


@pytest.mark.parametrize("asked", ["bytes=-5", "bytes=0-1,9-10"])
def test_other_ranges_go_the_ordinary_way(
    proxy: ProxyProcess, origin: ScriptedOrigin, asked: str
) -> None:
    origin.on("/doc", document())
    assert proxy.get("/doc", {"Range": asked}).status in (200, 206)
    assert ranges(origin) == [asked]


def test_if_range(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/doc", document())
    wanted = {"Range": "bytes=200000-"}
    part = proxy.get("/doc", {**wanted, "If-Range": '"v1"'})
    assert (part.status, part.body) == (206, DOC[200000:])
    whole = proxy.get("/doc", {**wanted, "If-Range": '"v0"'})
    assert (whole.status, whole.body) == (200, DOC)


def test_a_condition_is_answered(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/doc", document())
    for _ in range(2):
        assert proxy.get("/doc", {"If-None-Match": '"v1"'}).status == 304
    assert len(origin.requests) == 1
    assert "if-none-match" not in origin.requests[0].fields


@pytest.mark.parametrize("size", [1, 1000, SLICE - 1, SLICE])
def test_what_fits_into_one_slice_is_stored_whole(
    proxy: ProxyProcess, origin: ScriptedOrigin, size: int
) -> None:
    origin.on("/doc", document(DOC[:size]))
    for cache in ("MISS", "HIT"):
        response = proxy.get("/doc")
        assert (response.status, response.cache, response.body) == (200, cache, DOC[:size])
    assert proxy.request("HEAD", "/doc").cache == "HIT"
    assert len(origin.requests) == 1


def test_an_empty_document(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/doc", document(b""))
    for cache in ("MISS", "HIT"):
        response = proxy.get("/doc")
        assert (response.status, response.cache, response.body) == (200, cache, b"")


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("no ranges", answer("200 OK", FRESH, DOC)),
        ("gone", answer("404 Not Found", FRESH, b"gone")),
        ("error", answer("500 Internal Server Error", {}, b"error")),
        ("redirect", answer("301 Moved Permanently", {**FRESH, "Location": "/x"}, b"moved")),
    ],
)
def test_an_origin_without_slices(
    proxy: ProxyProcess, origin: ScriptedOrigin, name: str, reply: bytes
) -> None:
    origin.on("/doc", reply)
    for cache in ("MISS", "MISS" if name == "error" else "HIT"):
        response = proxy.get("/doc")
        assert (response.status, response.cache) == (int(reply[9:12]), cache)
        assert reply.endswith(response.body)


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_parts_that_nothing_ties_together_are_not_put_together(
    proxy: ProxyProcess, origin: ScriptedOrigin, etag: str
) -> None:
    origin.on("/doc", document(ETag=etag))
    response = proxy.get("/doc")
    assert (response.status, response.body) == (200, DOC)
    assert ranges(origin) == [*slices(0), None]


def changing(*replies: Script) -> Script:
    """Each request is answered by the next of these, the rest by the last."""
    left = list(replies)

    def reply(exchange: Exchange) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(exchange)

    return reply


def broken(exchange: Exchange) -> None:
    """No answer."""
    exchange.reset()


def short(exchange: Exchange) -> None:
    """Another slice than was asked for."""
    place = {**FRESH, "Content-Range": f"bytes 0-9/{len(DOC)}"}
    exchange.send(answer("206 Partial Content", place, DOC[:10]))


@pytest.mark.parametrize(
    "then", [document(DOC[::-1], ETag='"v2"'), document(DOC[1:]), broken, short]
)
def test_what_changes_meanwhile_is_never_mixed(
    start_proxy: StartProxy, origin: ScriptedOrigin, then: Script
) -> None:
    """The answer breaks off; the next one is whole again."""
    proxy = start_proxy("--slice", "64KB")
    origin.on("/doc", changing(document(), document(), then))
    with proxy.client() as client:
        client.send(client.head("GET", "/doc"))
        with pytest.raises(IncompleteError) as cut:
            client.response()
    assert DOC.startswith(cut.value.body)
    assert len(cut.value.body) <= 2 * SLICE


def test_slices_are_validated_one_by_one(
    start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock
) -> None:
    proxy = start_proxy("--slice", "64KB", clock=clock)
    origin.on("/doc", document())
    proxy.get("/doc")
    clock.advance(601)
    response = proxy.get("/doc", {"Range": "bytes=70000-80000"})
    assert (response.status, response.cache, response.body) == (206, "HIT", DOC[70000:80001])
    assert ranges(origin) == slices(0, 1, 2, 3, 1)
    assert origin.requests[-1].fields["if-none-match"] == '"v1"'


def test_stale_slices_stand_in_for_a_failing_origin(
    start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock
) -> None:
    proxy = start_proxy("--slice", "64KB", clock=clock)
    origin.on("/doc", document())
    proxy.get("/doc")
    origin.on("/doc", broken)
    clock.advance(601)
    response = proxy.get("/doc")
    assert (response.status, response.cache, response.body) == (200, "HIT", DOC)


PURGES: list[Callable[[ProxyProcess], bytes]] = [
    lambda proxy: proxy.request("PURGE", "/doc").body,
    lambda proxy: proxy.request("PURGE", "/", {"Cache-Tag": "big"}).body,
]


@pytest.mark.parametrize("purge", PURGES)
def test_a_purge_takes_every_slice(
    proxy: ProxyProcess, origin: ScriptedOrigin, purge: Callable[[ProxyProcess], bytes]
) -> None:
    origin.on("/doc", document(Cache_Tag="big"))
    proxy.get("/doc")
    assert b'"purged": 4' in purge(proxy)
    assert proxy.stats()["entries"] == 0
    proxy.get("/doc")
    proxy.request("POST", "/doc")
    assert proxy.stats()["entries"] == 0


def test_a_herd_on_slices_is_one_fetch_each(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    go_on = threading.Event()
    whole = document()

    def held(exchange: Exchange) -> None:
        exchange.wait(go_on, "the herd")
        whole(exchange)

    origin.on("/doc", held)
    clients = [proxy.client() for _ in range(50)]
    for client in clients:
        client.send(client.head("GET", "/doc"))
    proxy.barrier()
    go_on.set()
    assert all(client.response().body == DOC for client in clients)
    for client in clients:
        client.close()
    assert ranges(origin) == slices(0, 1, 2, 3)


def test_what_is_larger_than_memory_streams_through(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """Each slice is stored; the oldest make room."""
    proxy = start_proxy("--slice", "64KB", "--memory", "1MB", "--max-object", "64KB")
    body = DOC * 20
    origin.on("/doc", document(body))
    for _ in range(2):
        assert proxy.get("/doc").body == body
    stats = proxy.stats()
    assert 0 < stats["memory_bytes"] <= 1024 * KB
    assert proxy.get("/doc", {"Range": f"bytes={len(body) - 10}-"}).body == body[-10:]


def test_the_first_slice_tells_cache_status(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/doc", document())
    assert ours(proxy.get("/doc"))["fwd"] == "uri-miss"
    assert "hit" in ours(proxy.get("/doc"))


def test_without_the_setting_there_are_no_slices(stand: Stand) -> None:
    stand.origin.on("/unsliced", document())
    assert stand.proxy.get("/unsliced").body == DOC
    assert ranges(stand.origin, "/unsliced") == [None]
