"""Names that change, addresses that do not answer."""

from __future__ import annotations

import asyncio
import socket

import pytest

from caching_proxy.http import problems
from caching_proxy.http.problems import OriginFailed
from caching_proxy.proxy_server.dialer import Dialer
from caching_proxy.proxy_server.names import Address
from caching_proxy.proxy_server.origin import Origin


class Names:
    """A resolver whose answers the test decides."""

    def __init__(self, *addresses: Address) -> None:
        self.answer = list(addresses)
        self.asked = 0
        self.broken = False

    async def __call__(self, host: str, port: int) -> list[Address]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.broken:
            raise socket.gaierror("no such name")
        return self.answer


class Connected(asyncio.Protocol):
    """Tells which addresses a connection was made to."""

    def __init__(self, peers: list[Address]) -> None:
        self.peers = peers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.peers.append(transport.get_extra_info("peername"))


class Pool:
    """Stands where the pool of connections does."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.peers: list[Address] = []
        self.told = asyncio.Event()

    def connection(self) -> asyncio.Protocol:
        return Connected(self.peers)

    def drop_peers(self, gone: set[str]) -> None:
        self.gone |= gone
        self.told.set()


def dialer(names: Names, interval: float = 0.0) -> Dialer:
    return Dialer(Origin.parse("http://origin.example:80"), None, 5.0, interval, names)


async def listener() -> tuple[asyncio.Server, Address]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()


async def test_the_next_address_is_tried() -> None:
    server, good = await listener()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        names = Names(closed.getsockname(), good)
        pool = Pool()
        await dialer(names).connect(pool)
    assert pool.peers == [good]
    server.close()


async def test_refused_everywhere() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(OriginFailed) as failed:
            await dialer(Names(closed.getsockname())).connect(Pool())
    assert failed.value.problem is problems.ORIGIN_REFUSED


async def test_no_such_name() -> None:
    names = Names()
    names.broken = True
    with pytest.raises(OriginFailed) as failed:
        await dialer(names).connect(Pool())
    assert failed.value.problem is problems.ORIGIN_UNRESOLVABLE


async def test_who_comes_together_asks_once() -> None:
    server, good = await listener()
    names, pool = Names(good), Pool()
    asked = dialer(names, interval=3600)
    await asyncio.gather(*[asked.connect(pool) for _ in range(5)])
    assert (names.asked, len(pool.peers)) == (1, 5)
    server.close()


async def test_who_gives_up_leaves_the_look_up_to_the_others() -> None:
    server, good = await listener()
    names, pool = Names(good), Pool()
    asked = dialer(names, interval=3600)
    first = asyncio.ensure_future(asked.connect(pool))
    second = asyncio.ensure_future(asked.connect(pool))
    while not names.asked:  # noqa: ASYNC110 - a turn of the loop at a time
        await asyncio.sleep(0)
    first.cancel()
    await second
    assert (names.asked, pool.peers) == (1, [good])
    server.close()


async def test_soon_after_a_failure_that_holds() -> None:
    names = Names()
    names.broken = True
    failing = dialer(names, interval=3600)
    for _ in range(5):
        with pytest.raises(OriginFailed, match="no such name") as failed:
            await failing.connect(Pool())
        assert failed.value.problem is problems.ORIGIN_UNRESOLVABLE
        names.answer = [("192.0.2.7", 80)]
        names.broken = False
    assert names.asked == 1


async def test_a_failure_and_its_end_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server, good = await listener()
    names, pool = Names(good), Pool()
    names.broken = True
    failing = dialer(names)
    for _ in range(3):
        with pytest.raises(OriginFailed):
            await failing.connect(pool)
    names.broken = False
    for _ in range(3):
        await failing.connect(pool)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "origin.example does not resolve: no such name",
        "origin.example resolves again",
    ]
    failing.close()
    server.close()


async def test_an_answer_is_used_for_its_interval() -> None:
    server, good = await listener()
    names, pool = Names(good), Pool()
    patient = dialer(names, interval=3600)
    for _ in range(3):
        await patient.connect(pool)
        patient.refresh_if_due(pool)
    assert names.asked == 1
    server.close()


async def test_a_changed_answer_is_honoured() -> None:
    server, good = await listener()
    names, pool = Names(("192.0.2.7", 80), good), Pool()
    hasty = dialer(names)
    hasty.refresh_if_due(pool)
    assert names.asked == 0, "nothing was asked for yet"
    names.answer = [good]
    await hasty.connect(pool)
    names.answer = [("192.0.2.8", 80)]
    hasty.refresh_if_due(pool)
    await pool.told.wait()
    assert pool.gone == {good[0]}
    server.close()


async def test_old_addresses_serve_while_names_fail(caplog: pytest.LogCaptureFixture) -> None:
    server, good = await listener()
    names, pool = Names(good), Pool()
    hasty = dialer(names)
    await hasty.connect(pool)
    names.broken = True
    while names.asked < 5:
        hasty.refresh_if_due(pool)
        await asyncio.sleep(0)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["origin.example does not resolve, its last addresses hold: no such name"]
    await hasty.connect(pool)
    assert pool.gone == set()
    hasty.close()
    server.close()
