"""Proxies that share a Redis."""

from __future__ import annotations

from .proxy import ProxyProcess
from .redis_server import RedisServer
from .scripted_origin import Exchange, answer
from .stand import StartProxy
from .waiting import wait_until

FRESH = {"Cache-Control": "max-age=600"}
PATIENT = ("--redis-timeout", "5s")
"""For tests of what is found, not of how long is waited for it."""


def connected(proxy: ProxyProcess) -> bool:
    return bool(proxy.stats()["redis_connected"])


def sharing(
    start: StartProxy, redis: RedisServer, *options: str, ready: bool = True
) -> ProxyProcess:
    """A proxy that uses this Redis."""
    proxy = start("--redis-host", "127.0.0.1", "--redis-port", str(redis.port), *options)
    if ready:
        wait_until(lambda: connected(proxy), "the proxy to use Redis")
    return proxy


def stored(redis: RedisServer, key: str) -> bool:
    """Whether there is a response under this X-Cache-Key."""
    return bool(redis.do("EXISTS", key))


class Counted:
    """A script that says in each body which answer it is."""

    def __init__(self, **fields: str) -> None:
        self.fields = {**FRESH, **{name.replace("_", "-"): value for name, value in fields.items()}}
        self.number = 0

    def __call__(self, exchange: Exchange) -> None:
        exchange.read_body()
        self.number += 1
        exchange.send(answer("200 OK", self.fields, b"answer %d" % self.number))
