"""Clients and origins that misbehave at random, all at once: nobody ever gets another's answer."""

from __future__ import annotations

import random
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from .support.messages import IncompleteError, Response
from .support.proxy import ProxyProcess
from .support.raw_client import RawClient, chunked
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import StartProxy
from .support.waiting import wait_until

CLIENTS = 16
ROUNDS = 40
TARGETS = 60


def _body(target: str) -> bytes:
    """What belongs to a target, and to no other; of many lengths."""
    return target.encode() * (1 + zlib.crc32(target.encode()) % 3000)


def _misbehave(exchange: Exchange) -> None:
    """Answer in a way that the target decides: half of them well, the others not."""
    target = exchange.request.target
    kind = int(target.rpartition("/")[2]) % 12
    good = fresh(_body(target))
    no_store = answer("200 OK", {"Cache-Control": "no-store"}, _body(target))
    if exchange.request.method == "HEAD":
        good = no_store = good.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    if kind == 0:
        exchange.send(good[: len(good) // 2])
        exchange.reset()
    elif kind == 1:
        exchange.send(good[: len(good) // 2])
        exchange.close()
    elif kind == 2:
        exchange.reset()
    elif kind == 3:
        exchange.send(b"garbage\r\n\r\n")
    elif kind == 4:
        exchange.send(no_store + answer("200 OK", {}, b"poison"))
    elif kind == 5:
        exchange.send(no_store)  # before the request's body has come
    else:
        exchange.read_body()
        exchange.send(good if kind % 2 else no_store)


def _check(response: Response, method: str, target: str) -> None:
    if response.status == 200:
        assert response.body == (b"" if method == "HEAD" else _body(target)), target
    else:
        assert response.status in (400, 408, 502, 504), response


class _Abuser:
    """One client after another, each of a random kind."""

    def __init__(self, proxy: ProxyProcess, seed: int) -> None:
        self.proxy = proxy
        self.random = random.Random(seed)

    def run(self) -> None:
        for _ in range(ROUNDS):
            with self.proxy.client() as client, suppress(IncompleteError):
                getattr(self, self.random.choice(["ask", "pipeline", "leave", "half", "babble"]))(
                    client
                )

    def request(self, client: RawClient) -> tuple[str, str, bytes]:
        method = self.random.choice(["GET", "GET", "GET", "HEAD", "POST", "PUT"])
        target = f"/{self.random.randrange(TARGETS)}"
        if method in ("GET", "HEAD"):
            return method, target, client.head(method, target)
        body = self.random.randbytes(self.random.choice([0, 1, 100, 100_000]))
        if method == "POST":
            return (
                method,
                target,
                client.head(method, target, {"Content-Length": str(len(body))}) + body,
            )
        head = client.head(method, target, {"Transfer-Encoding": "chunked"})
        return method, target, head + b"".join(chunked([body]))

    def ask(self, client: RawClient) -> None:
        for _ in range(5):
            method, target, sent = self.request(client)
            client.send(sent)
            _check(client.response(method), method, target)

    def pipeline(self, client: RawClient) -> None:
        requests = [self.request(client) for _ in range(5)]
        client.send(b"".join(sent for _, _, sent in requests))
        for method, target, _ in requests:
            _check(client.response(method), method, target)

    def leave(self, client: RawClient) -> None:
        _, _, sent = self.request(client)
        client.send(sent[: self.random.randrange(len(sent) + 1)])
        if self.random.random() < 0.5:
            client.reset()

    def half(self, client: RawClient) -> None:
        method, target, sent = self.request(client)
        client.send(sent)
        client.half_close()
        _check(client.response(method), method, target)

    def babble(self, client: RawClient) -> None:
        sent = bytearray(self.request(client)[2])
        for _ in range(3):
            sent[self.random.randrange(min(len(sent), 100))] = self.random.randrange(256)
        client.send(bytes(sent))
        client.half_close()
        client.rest()


@pytest.mark.parametrize("seed", range(3))
def test_abuse(start_proxy: StartProxy, origin: ScriptedOrigin, seed: int) -> None:
    for n in range(TARGETS):
        origin.on(f"/{n}", _misbehave)
    proxy = start_proxy()
    before = proxy.memory()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(_Abuser(proxy, seed * 100 + n).run) for n in range(CLIENTS)]:
            done.result()
    wait_until(lambda: proxy.stats()["connections"] == 0, "no connection to be left")
    assert proxy.get("/11").body == _body("/11")
    assert proxy.memory() - before < 64 << 20
