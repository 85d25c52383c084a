"""The connection to a Redis node, and a Redis that is away, slow, wrong or gone."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest

from caching_proxy.cache_manager.redis_address import RedisAddress
from caching_proxy.cache_manager.redis_link import Call, RedisDown, RedisLink

from .support.redis_server import RedisServer
from .support.waiting import DEADLINE

TIMEOUT = 0.05  # seconds


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    redis = RedisServer(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@asynccontextmanager
async def linked(
    port: int, *, timeout: float = DEADLINE, ready: bool = True, **more: Any
) -> AsyncIterator[RedisLink]:
    """A link to a node of this machine, `ready` or not."""
    pushed = more.pop("pushed", None)
    link = RedisLink(RedisAddress("127.0.0.1", port, **more), timeout, pushed)
    link.open()
    if ready:
        await until(lambda: link.state == "ready", "the link to be ready")
    yield link
    link.close()
    for _ in range(10):  # what was under way ends
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(int(DEADLINE / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited for {what}")


async def test_what_is_set_is_got(server: RedisServer) -> None:
    value = random.Random(1).randbytes(100_000)
    async with linked(server.port) as link:
        assert await link.ask("SET", b"key", value) == b"OK"
        assert await link.ask("GET", "key") == value
        assert await link.ask("GET", "no-key") is None
        with pytest.raises(hiredis.ReplyError, match="wrong number of arguments"):
            await link.ask("GET")
        assert await link.ask("INCRBY", "number", 5) == 5
        assert (link.calls, link.timeouts, link.connections) == (5, 0, 1)


async def test_each_has_its_own_answer(server: RedisServer) -> None:
    async with linked(server.port) as link:
        asked = [link.ask("ECHO", b"%d" % n) for n in range(2000)]
        assert await asyncio.gather(*asked) == [b"%d" % n for n in range(2000)]


async def test_more_calls_than_may_wait_are_refused(server: RedisServer) -> None:
    async with linked(server.port) as link:
        calls = [link.call(("PING",)) for _ in range(16384 + 3)]
        assert [call.over for call in calls[-3:]] == [True] * 3
        assert isinstance(calls[-1].error, RedisDown)
        await until(lambda: all(call.over for call in calls), "the others")
        assert {call.reply for call in calls[:-3]} == {b"PONG"}


async def test_a_node_that_appears_later_is_joined(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    async with linked(redis.port, ready=False) as link:
        await until(lambda: link.state == "waiting", "the first attempt to fail")
        assert "refused" in link.why.lower()
        with pytest.raises(RedisDown):
            await link.ask("PING")
        redis.start()
        await until(lambda: link.state == "ready", "it to be joined")
        assert await link.ask("PING") == b"PONG"
    redis.kill()


async def test_a_node_that_is_killed_and_comes_back(server: RedisServer) -> None:
    async with linked(server.port) as link:
        server.pause()
        asked = [link.ask("PING") for _ in range(50)]
        await asyncio.sleep(0)
        server.kill()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(result) for result in results} == {RedisDown}
        assert link.state != "ready"
        server.start()
        await until(lambda: link.state == "ready", "it to be joined again")
        assert await link.ask("PING") == b"PONG"
        assert link.connections == 2


async def test_a_node_that_hangs_costs_the_deadline_once(server: RedisServer) -> None:
    """Those that ask meanwhile are answered at once, and nobody gets the answer of another."""
    async with linked(server.port, timeout=TIMEOUT) as link:
        await until_unhurried(link)
        server.pause()
        began = asyncio.get_running_loop().time()
        late = [link.call(("ECHO", b"late %d" % n)) for n in range(20)]
        await until(lambda: late[-1].over, "the deadline")
        assert TIMEOUT <= asyncio.get_running_loop().time() - began < 20 * TIMEOUT
        assert {str(call.error) for call in late} == {f"{link.address}: no answer in time"}
        assert (link.state, link.timeouts) == ("suspended", 20)
        refused = link.call(("PING",))
        assert refused.over and isinstance(refused.error, RedisDown)
        server.resume()
        await until(lambda: link.state == "ready", "it to have caught up")
        again = await asyncio.gather(*[link.ask("ECHO", b"%d" % n) for n in range(20)])
        assert again == [b"%d" % n for n in range(20)]
        assert link.connections == 1


async def until_unhurried(link: RedisLink) -> None:
    """Until a call is answered in time, however busy the machine is."""
    for _ in range(100):
        call = link.call(("PING",))
        await until(lambda call=call: call.over and link.state == "ready", "a call to be over")  # type: ignore[misc]
        if call.error is None:
            return
    raise AssertionError("no call was answered in time")


async def test_a_node_that_hangs_for_long_is_connected_to_anew(server: RedisServer) -> None:
    async with linked(server.port) as link:
        server.pause()
        asked = link.ask("PING")
        with pytest.raises(RedisDown, match="silent for 2 s"):
            await asked
        server.resume()
        await until(lambda: link.state == "ready", "it to be joined again")
        assert link.connections == 2


async def test_pushes_come_as_they_are(server: RedisServer) -> None:
    pushes: list[list[Any]] = []
    async with linked(server.port, pushed=pushes.append) as link, linked(server.port) as other:
        assert await link.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "cache:") == b"OK"
        await other.ask("MSET", "cache:a", 1, "other:b", 2)
        await until(lambda: bool(pushes), "the push")
        assert await link.ask("PING") == b"PONG"
    assert pushes == [[b"invalidate", [b"cache:a"]]]


async def test_a_password(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path, "--requirepass", "right")
    redis.start()
    try:
        async with linked(redis.port, password="right", database=3) as link:
            assert b"db=3" in await link.ask("CLIENT", "INFO")
        for password, why in (("wrong", "WRONGPASS"), (None, "NOAUTH")):
            async with linked(redis.port, password=password, ready=False) as link:
                await until(lambda link=link: link.state == "waiting", "it to be refused")
                assert why in link.why and "wrong" not in link.why
    finally:
        redis.kill()


async def test_a_unix_socket(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path, "--unixsocket", str(tmp_path / "s"))
    redis.start()
    link = RedisLink(RedisAddress(path=str(tmp_path / "s")), DEADLINE)
    link.open()
    await until(lambda: link.state == "ready", "the link to be ready")
    assert await link.ask("PING") == b"PONG"
    link.close()
    redis.kill()


# -- a peer that is no Redis

GREETED = b"%1\r\n+proto\r\n:3\r\n"


@asynccontextmanager
async def peer(*says: bytes) -> AsyncIterator[int]:
    """Says these to what it hears, one after the other, and then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for octets in says:
            if not await reader.read(65536):
                break
            writer.write(octets)
            await writer.drain()
        writer.close()

    serving = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield serving.sockets[0].getsockname()[1]
    serving.close()
    await serving.wait_closed()


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not the protocol of Redis"),
        (b"$-5\r\n", "not the protocol of Redis"),
        (b"$5\r\nhel", "connection is lost"),
        (b"", "connection is lost"),
        (b"+one\r\n+too many\r\n", "answers what nobody has asked"),
    ],
)
async def test_a_peer_that_is_no_redis(octets: bytes, why: str) -> None:
    """In the middle of its work, as at the beginning."""
    async with peer(GREETED, octets) as port, linked(port, ready=False) as link:
        seen: list[Call] = []
        await until(lambda: link.state == "ready", "the greeting")
        link.call(("GET", "a"), seen.append)
        await until(lambda: link.state == "waiting", "the end")
        assert why in link.why
        assert len(seen) == 1 and seen[0].over
    async with peer(octets) as port, linked(port, ready=False) as link:
        await until(lambda: link.state == "waiting" or link.connections > 0, "the end")


async def test_a_peer_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with linked(port, ready=False) as link:
            await until(lambda: link.state == "waiting", "the end of patience")
            assert "has not answered within 2 s" in link.why


async def test_a_closed_link_ends_its_calls_and_stays_closed(server: RedisServer) -> None:
    async with linked(server.port) as link:
        asked = link.ask("PING")
        link.close()
        with pytest.raises(RedisDown, match="it is closed"):
            await asked
        assert link.state == "closed"
        with pytest.raises(RedisDown):
            await link.ask("PING")
