"""A Redis that is away, slow, wrong or full: no request fails, none waits beyond the deadline."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .support.clock import Clock
from .support.proxy import ProxyProcess
from .support.purging import post
from .support.raw_client import RawClient
from .support.redis_server import RedisServer
from .support.requests_meanwhile import SLACK, load
from .support.scripted_origin import Exchange, ScriptedOrigin, answer
from .support.sharing import PATIENT, connected, sharing, stored
from .support.stand import StartProxy
from .support.waiting import wait_until


def test_a_redis_that_comes_later_is_used(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    server = RedisServer(tmp_path)
    proxy = sharing(start_proxy, server, ready=False)
    try:
        with load(proxy, origin) as requests:
            wait_until(lambda: "memory alone" in proxy.errors(), "the warning")
            server.start()
            begun = time.monotonic()
            wait_until(lambda: connected(proxy), "the proxy to use Redis")
            assert time.monotonic() - begun < 2 + SLACK
            requests.wait_for(100)
            wait_until(lambda: proxy.stats()["redis_stored"], "responses to be stored there")
        assert proxy.errors().count("WARNING") == 1
    finally:
        server.kill()


def test_with_store_redis_it_is_ready_only_with_it(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    proxy = sharing(start_proxy, redis, "--store", "redis")
    with load(proxy, origin) as requests:
        assert ready(proxy) == 200
        redis.kill()
        wait_until(lambda: ready(proxy) == 503, "it to be no longer ready")
        requests.wait_for(100)
        redis.start()
        wait_until(lambda: ready(proxy) == 200, "it to be ready again")
    assert ready(sharing(start_proxy, redis, "--store", "auto")) == 200


def ready(proxy: ProxyProcess) -> int:
    with RawClient(("127.0.0.1", proxy.admin_port)) as client:
        assert client.get("/healthz").status == 200
        return client.get("/readyz").status


def test_one_that_is_killed_and_comes_back_empty(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    proxy = sharing(start_proxy, redis)
    with load(proxy, origin) as requests:
        redis.kill()
        wait_until(lambda: not connected(proxy), "the proxy to notice")
        requests.wait_for(200)
        redis.start()
        wait_until(lambda: connected(proxy), "the proxy to use it again")
        requests.wait_for(100)
        wait_until(lambda: redis.do("KEYS", "cache:[0-9a-f]*"), "responses to be stored again")


@pytest.mark.parametrize("seconds", [0.5, 10.0])
def test_one_that_hangs(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin, seconds: float
) -> None:
    proxy = sharing(start_proxy, redis)
    with load(proxy, origin) as requests:
        redis.pause()
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > seconds, "the pause to be over")
        requests.wait_for(100)
        redis.resume()
        before = proxy.stats()["redis_stored"]
        wait_until(lambda: proxy.stats()["redis_stored"] > before, "it to be used again")


def test_what_was_purged_meanwhile_does_not_come_back(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    """The purge waits for Redis, which has the old response all the time."""
    number = 0

    def counted(exchange: Exchange) -> None:
        nonlocal number
        number += 1
        fields = {"Cache-Control": "max-age=600", "Cache-Tag": "shop"}
        exchange.send(answer("200 OK", fields, b"answer %d" % number))

    for target in ("/by-url", "/by-tag", "/by-prefix"):
        origin.on(target, counted)
    proxy, other = sharing(start_proxy, redis), sharing(start_proxy, redis)
    for target, selection in (
        ("/by-url", {"url": "/by-url"}),
        ("/by-tag", {"tag": "shop"}),
        ("/by-prefix", {"prefix": "/by-p"}),
    ):
        old = proxy.get(target)
        wait_until(lambda old=old: stored(redis, old.fields["x-cache-key"]), "it in Redis")
        redis.pause()
        assert json.loads(post(proxy, **selection).body)["pending"] > 0
        assert proxy.stats()["redis_purges_pending"]
        assert proxy.get(target).body != old.body
        redis.resume()
        wait_until(lambda: not proxy.stats()["redis_purges_pending"], "Redis to hear of it")
        assert proxy.get(target).body != old.body
        wait_until(
            lambda target=target, old=old: other.get(target).body != old.body, "the other as well"
        )


def test_a_full_one(start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin) -> None:
    proxy, other = sharing(start_proxy, redis), sharing(start_proxy, redis)
    origin.on("/kept", answer("200 OK", {"Cache-Control": "max-age=600"}, b"old"))
    key = proxy.get("/kept").fields["x-cache-key"]
    wait_until(lambda: stored(redis, key), "it in Redis")
    assert other.get("/kept").body == b"old"
    redis.do("CONFIG", "SET", "maxmemory", "1")
    with load(proxy, origin) as requests:
        requests.wait_for(100)
        wait_until(lambda: "does not store: OOM" in proxy.errors(), "the warning")
        origin.on("/kept", answer("200 OK", {"Cache-Control": "max-age=600"}, b"new"))
        assert post(proxy, url="/kept").status == 200
        assert proxy.get("/kept").body == b"new"
        wait_until(lambda: other.get("/kept").body == b"new", "the purge to be heeded even so")
    assert proxy.errors().count("OOM") == 1


def test_a_replica(start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin) -> None:
    redis.do("REPLICAOF", "127.0.0.1", 1)
    proxy = sharing(start_proxy, redis, ready=False)
    with load(proxy, origin) as requests:
        wait_until(lambda: "READONLY" in proxy.errors(), "the warning")
        redis.do("REPLICAOF", "NO", "ONE")
        wait_until(lambda: connected(proxy), "the proxy to use it once it is a primary")
        requests.wait_for(100)


def test_a_password_that_is_missing_or_wrong(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    redis.do("CONFIG", "SET", "requirepass", "the right one")
    without = sharing(start_proxy, redis, ready=False)
    wrong = start_proxy("--redis-url", f"redis://:the-wrong-one@127.0.0.1:{redis.port}")
    for proxy, word in ((without, "NOAUTH"), (wrong, "WRONGPASS")):
        with load(proxy, origin):
            wait_until(lambda proxy=proxy, word=word: word in proxy.errors(), "the warning")
        assert "the-wrong-one" not in proxy.errors()
        assert proxy.errors().count("WARNING") == 1


def test_one_that_is_flushed_all_the_time(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    proxy = sharing(start_proxy, redis)
    with load(proxy, origin) as requests:
        for _ in range(20):
            redis.do("FLUSHALL")
            requests.wait_for(20)


Behaviour = Callable[[socket.socket], None]


def garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def loading(connection: socket.socket) -> None:
    while connection.recv(65536):
        connection.sendall(b"-LOADING Redis is loading the dataset in memory\r\n")


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def strange(connection: socket.socket) -> None:
    """Greet, then say what Redis never says."""
    connection.recv(65536)
    connection.sendall(b"%1\r\n+server\r\n+redis\r\n")
    connection.recv(65536)
    connection.sendall(b"+OK\r\n")
    while connection.recv(65536):
        connection.sendall(b">0\r\n>1\r\n$10\r\ninvalidate\r\n>2\r\n$10\r\ninvalidate\r\n:5\r\n")
        connection.sendall(b">2\r\n$10\r\ninvalidate\r\n*2\r\n:1\r\n$1\r\nx\r\n-\r\n*1\r\n*0\r\n")


def telling(connection: socket.socket) -> None:
    """Repeat what was said, as some do that do not know HELLO."""
    connection.recv(65536)
    connection.sendall(b"-ERR unknown command, with args beginning with: `3`, `the-wrong-one`\r\n")
    connection.recv(65536)


def hanging_up(connection: socket.socket) -> None:
    """Greet, and hang up."""
    connection.recv(65536)
    connection.sendall(b"%1\r\n+server\r\n+redis\r\n")
    connection.recv(65536)
    connection.sendall(b"+OK\r\n")


def cut(connection: socket.socket) -> None:
    """Greet, then break off in the middle of each reply."""
    connection.recv(65536)
    connection.sendall(b"%1\r\n+server\r\n+redis\r\n")
    connection.recv(65536)
    connection.sendall(b"+OK\r\n")
    connection.recv(65536)
    connection.sendall(b"*1\r\n$19\r\n1048576 st")


@contextmanager
def impostor(behaviour: Behaviour) -> Iterator[int]:
    """A server that is no Redis, on a port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []

        def attend(connection: socket.socket) -> None:
            with connection:
                try:
                    behaviour(connection)
                except OSError:
                    return  # the proxy has hung up

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                threading.Thread(target=attend, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:  # else the thread would wait for ever, and with it the run of all tests
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


@pytest.mark.parametrize(
    ("behaviour", "word"),
    [
        (garbage, "not the protocol"),
        (loading, "LOADING"),
        (silent, "has not answered"),
        (cut, "lost"),
        (strange, "alone"),
        (telling, "unknown command"),
        (hanging_up, "lost"),
    ],
)
def test_what_is_no_redis(
    start_proxy: StartProxy, origin: ScriptedOrigin, behaviour: Behaviour, word: str
) -> None:
    with impostor(behaviour) as port:
        proxy = start_proxy("--redis-url", f"redis://:the-wrong-one@127.0.0.1:{port}")
        with load(proxy, origin) as requests:
            wait_until(lambda: word in proxy.errors(), f"the warning with {word!r}")
            requests.wait_for(100)
        assert "the-wrong-one" not in proxy.errors()
        proxy.stop()


def test_one_that_is_slow(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    """Each command of somebody else's takes longer than our deadline."""
    proxy = sharing(start_proxy, redis)
    over = threading.Event()

    def block() -> None:
        while not over.is_set():
            redis.do(
                "EVAL",
                "local t = redis.call('TIME') local u = t repeat u = redis.call('TIME')"
                " until (u[1] - t[1]) * 1000000 + u[2] - t[2] > 150000",
                0,
            )

    thread = threading.Thread(target=block)
    thread.start()
    try:
        with load(proxy, origin) as requests:
            requests.wait_for(300)
            wait_until(lambda: proxy.stats()["redis_timeouts"], "it to be too slow")
    finally:
        over.set()
        thread.join()
    before = proxy.stats()["redis_stored"]
    with load(proxy, origin):
        wait_until(lambda: proxy.stats()["redis_stored"] > before, "it to be used again")


def test_a_patient_proxy_waits(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    """The deadline is a setting."""
    origin.on("/waits", answer("200 OK", {"Cache-Control": "max-age=600"}, b"kept"))
    first, second = (sharing(start_proxy, redis, *PATIENT) for _ in range(2))
    key = first.get("/waits").fields["x-cache-key"]
    wait_until(lambda: stored(redis, key), "it in Redis")
    redis.pause()
    with second.client() as client:
        client.send(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
        second.barrier()
        redis.resume()
        assert client.response().cache == "HIT"
    assert len(origin.seen("/waits")) == 1


@pytest.mark.parametrize("ahead", [-3600, -5, 5, 3600])
def test_clocks_that_differ(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin, tmp_path: Path, ahead: int
) -> None:
    """What one stores the other serves or validates, and purges do not go by clocks."""
    clocks = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        clocks.append(Clock(tmp_path / name))
    clocks[1].advance(ahead)
    one, two = (
        start_proxy(
            *("--redis-host", "127.0.0.1", "--redis-port", str(redis.port), *PATIENT), clock=clock
        )
        for clock in clocks
    )
    for proxy in (one, two):
        wait_until(lambda proxy=proxy: connected(proxy), "the proxy to use Redis")
    fields = {"Cache-Control": "max-age=600", "ETag": '"a"', "Date": clocks[0].date()}
    origin.on("/skewed", answer("200 OK", fields, b"old"))
    key = one.get("/skewed").fields["x-cache-key"]
    wait_until(lambda: stored(redis, key), "it in Redis")
    response = two.get("/skewed")
    assert (response.status, response.body) == (200, b"old")
    assert response.cache == ("MISS" if ahead > 600 else "HIT")
    assert int(response.fields["age"] if response.cache == "HIT" else 0) <= max(ahead, 0) + 1
    origin.on("/skewed", answer("200 OK", fields, b"new"))
    assert post(two, url="/skewed").status == 200
    wait_until(lambda: one.get("/skewed").body == b"new", "the purge to be heeded")
    assert post(one, tag="none").status == 200
    assert two.get("/skewed").body == b"new"
