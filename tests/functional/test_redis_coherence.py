"""Two proxies, changes and purges all the time: nobody gets what was purged before they asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.coherence import Checker, Resources

from .support.proxy import ProxyProcess
from .support.redis_server import RedisClusterNodes, RedisServer
from .support.sharing import PATIENT, connected
from .support.waiting import wait_until

REQUESTS = 20_000
ALLOWED = 1.0  # seconds: news takes as long as a busy machine lets it; bench/coherence.py measures


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nobody_gets_what_was_purged(redis: RedisServer, workers: str) -> None:
    check(redis, "--workers", workers)


def test_nor_from_replicas(tmp_path: Path) -> None:
    cluster = RedisClusterNodes(tmp_path)
    try:
        cluster.start()
        check(cluster.nodes[0], "--use-cluster", "--redis-replica-reads")
    finally:
        cluster.kill()


def check(redis: RedisServer, *more: str) -> None:
    """Two proxies that use this Redis answer rightly."""
    resources = Resources()
    origin = f"http://127.0.0.1:{resources.port}"
    options = ("--redis-host", "127.0.0.1", "--redis-port", str(redis.port), *PATIENT, *more)
    options += ("--purge-from", "127.0.0.0/8")
    proxies: list[ProxyProcess] = []
    try:
        proxies += [ProxyProcess(origin, *options) for _ in range(2)]
        for proxy in proxies:
            wait_until(lambda proxy=proxy: connected(proxy), "the proxy to use Redis")
        checker = Checker(resources, [proxy.port for proxy in proxies], REQUESTS)
        checker.run()
        hits = sum(proxy.stats()["hits"] for proxy in proxies)
    finally:
        for proxy in proxies:
            proxy.stop()
        resources.close()
    assert checker.requests >= REQUESTS and checker.purges > 50
    assert hits > REQUESTS / 3
    assert checker.worst < ALLOWED
