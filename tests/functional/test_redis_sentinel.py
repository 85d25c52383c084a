"""The primary of a service that sentinels watch: found, followed, and missed without harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support.commands import command
from .support.proxy import ProxyProcess
from .support.purging import post
from .support.redis_server import RedisServer
from .support.requests_meanwhile import load
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.sentinels import NAME, SentinelService
from .support.sharing import PATIENT, connected, stored
from .support.stand import StartProxy
from .support.waiting import wait_until


@pytest.fixture
def service(tmp_path: Path) -> Iterator[SentinelService]:
    found = SentinelService(tmp_path)
    try:
        found.start()
        yield found
    finally:
        found.kill()


def using(start: StartProxy, service: SentinelService, *options: str) -> ProxyProcess:
    proxy = start("--redis-url", service.url, *options)
    wait_until(lambda: connected(proxy), "the proxy to use Redis")
    return proxy


def counted(origin: ScriptedOrigin, target: str) -> None:
    """Let each answer say which it is."""

    def script(exchange: Exchange) -> None:
        number = len(origin.seen(target))
        exchange.send(answer("200 OK", {"Cache-Control": "max-age=600"}, b"answer %d" % number))

    origin.on(target, script)


def test_what_one_stores_or_purges_the_other_has_or_not(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    """With passwords of the nodes and of the sentinels."""
    service = SentinelService(tmp_path, password="of-nodes", sentinel_password="of-sentinels")
    try:
        service.start()
        one, two = (using(start_proxy, service, *PATIENT) for _ in range(2))
        counted(origin, "/shared")
        key = one.get("/shared").fields["x-cache-key"]
        wait_until(lambda: stored(service.primary, key), "it in Redis")
        assert (two.get("/shared").cache, two.get("/shared").body) == ("HIT", b"answer 1")
        assert post(one, url="/shared").status == 200
        wait_until(lambda: two.get("/shared").body == b"answer 2", "the purge to be heeded")

        def both_counted() -> bool:
            stats = json.loads(command("stats", "--redis-url", service.url, "--json").stdout)
            return (stats["entries"], stats["processes"]) == (1, 2)

        wait_until(both_counted, "both to have told that they are there")
        cleared = command("clear-cache", "--redis-url", service.url)
        assert cleared.stdout == "Removed 1 cached response.\n"
        wait_until(lambda: not two.stats()["entries"], "memory to be empty")
        wrong = service.url.replace("of-sentinels", "not-theirs")
        refused = command("stats", "--redis-url", wrong)
        assert refused.returncode == 1 and "WRONGPASS" in refused.stderr
        assert "not-theirs" not in refused.stderr and "of-nodes" not in refused.stderr
    finally:
        service.kill()


def test_a_primary_that_is_killed(
    start_proxy: StartProxy, service: SentinelService, origin: ScriptedOrigin
) -> None:
    counted(origin, "/kept")
    one, two = (using(start_proxy, service) for _ in range(2))
    one.get("/kept")
    former, other = service.primary, service.replica
    with load(one, origin) as requests, load(two, origin):
        former.kill()
        requests.wait_for(100)
        wait_until(lambda: other.do("ROLE")[0] == b"master", "the failover")
        for proxy in (one, two):
            wait_until(lambda proxy=proxy: connected(proxy), "the proxy to follow")
        former.start()
        wait_until(lambda: former.do("ROLE")[0] == b"slave", "it to be made a replica")
        requests.wait_for(100)
    check_purge(one, two, other)
    for proxy in (one, two):
        assert proxy.errors().count("WARNING") == 1


def check_purge(one: ProxyProcess, two: ProxyProcess, primary: RedisServer) -> None:
    """What one stores the other has, until it is purged."""
    wait_until(lambda: stored(primary, one.get("/kept").fields["x-cache-key"]), "it in Redis")
    wait_until(lambda: two.get("/kept").body == one.get("/kept").body, "it to be shared")
    latest = one.get("/kept").body
    assert post(two, url="/kept").status == 200
    wait_until(lambda: one.get("/kept").body != latest, "the purge to be heeded")


def test_a_failover_by_hand(
    start_proxy: StartProxy, service: SentinelService, origin: ScriptedOrigin
) -> None:
    counted(origin, "/kept")
    one, two = (using(start_proxy, service) for _ in range(2))
    one.get("/kept")
    other = service.replica
    with load(one, origin) as requests:
        service.sentinels[0].do("SENTINEL", "FAILOVER", NAME)
        wait_until(lambda: used_by(other) == 2, "both proxies to follow")
        requests.wait_for(100)
    check_purge(one, two, other)


def used_by(node: RedisServer) -> int:
    """How many proxies hear of changes at this node."""
    told: bytes = node.do("CLIENT", "LIST")
    return sum(b"name=caching-proxy" in line and b"flags=tB" in line for line in told.splitlines())


def test_a_primary_that_is_one_no_more(
    start_proxy: StartProxy, service: SentinelService, origin: ScriptedOrigin
) -> None:
    """It says so with its next refusal to write; no connection is lost."""
    proxy = using(start_proxy, service)
    primary = service.primary
    with load(proxy, origin) as requests:
        primary.do("REPLICAOF", "127.0.0.1", 1)
        wait_until(lambda: "is no primary" in proxy.errors(), "the warning")
        primary.do("REPLICAOF", "NO", "ONE")
        wait_until(lambda: connected(proxy), "it to be used again")
        requests.wait_for(100)


def test_sentinels_that_go_and_come(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    """Without them memory serves alone; once the primary is known they are not needed."""
    service = SentinelService(tmp_path)
    try:
        proxy = start_proxy("--redis-url", service.url)
        with load(proxy, origin) as requests:
            wait_until(lambda: "no sentinel helps" in proxy.errors(), "the warning")
            assert "Connection refused" in proxy.errors()
            service.start()
            wait_until(lambda: connected(proxy), "the proxy to use Redis")
            for sentinel in service.sentinels:
                sentinel.kill()
            requests.wait_for(100)
            before = proxy.stats()["redis_stored"]
            wait_until(lambda: proxy.stats()["redis_stored"] > before, "it to be used still")
        assert proxy.errors().count("WARNING") == 1
    finally:
        service.kill()


def test_a_service_that_nobody_knows(
    start_proxy: StartProxy, service: SentinelService, origin: ScriptedOrigin
) -> None:
    wrong = service.url.replace(f"/{NAME}", "/other")
    proxy = start_proxy("--redis-url", wrong)
    wait_until(lambda: "it knows no service 'other'" in proxy.errors(), "the warning")
    origin.on("/alone", fresh())
    assert [proxy.get("/alone").cache for _ in range(2)] == ["MISS", "HIT"]
    assert proxy.errors().count("WARNING") == 1
    told = command("stats", "--redis-url", wrong)
    assert told.returncode == 1 and "it knows no service 'other'" in told.stderr


def test_what_is_no_sentinel(
    start_proxy: StartProxy, service: SentinelService, origin: ScriptedOrigin
) -> None:
    node = service.primary.port
    proxy = start_proxy("--redis-url", f"redis+sentinel://127.0.0.1:{node}/{NAME}")
    wait_until(lambda: "unknown command" in proxy.errors(), "the warning")
    assert proxy.errors().count("WARNING") == 1
