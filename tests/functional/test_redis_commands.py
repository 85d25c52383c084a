"""`stats` and `clear-cache` against Redis itself, with proxies that use it and without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .support.commands import command
from .support.proxy import ProxyProcess
from .support.redis_server import RedisClusterNodes, RedisServer
from .support.scripted_origin import ScriptedOrigin, fresh
from .support.sharing import PATIENT, connected, sharing, stored
from .support.stand import StartProxy
from .support.waiting import wait_until

FOREIGN = (
    *("cache:mine", "cache:", "other", "cache:url", "caching-proxy:mine", "cache:" + "g" * 64),
    *("cache:" + "a" * 63, "cache:" + "a" * 65, "xcache:" + "a" * 64, "cache:" + "A" * 64),
)


def at(redis: RedisServer) -> tuple[str, ...]:
    return ("--redis-host", "127.0.0.1", "--redis-port", str(redis.port))


def fill(proxy: ProxyProcess, redis: RedisServer, origin: ScriptedOrigin, number: int) -> None:
    """Store so many responses, the last of them in chunks."""
    for count in range(number):
        target = f"/stored/{count}"
        origin.on(target, fresh(b"x" * (1_000_000 if count == number - 1 else 10)))
        key = proxy.get(target).fields["x-cache-key"]
        wait_until(lambda key=key: stored(redis, key), "it in Redis")


def test_what_is_cleared_is_gone_everywhere_and_nothing_else_is(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    one, two = (sharing(start_proxy, redis, *PATIENT) for _ in range(2))
    for key in FOREIGN:
        redis.do("SET", key, "theirs")
    fill(one, redis, origin, 5)
    for count in range(5):
        assert two.get(f"/stored/{count}").cache == "HIT"
    done = command("clear-cache", *at(redis))
    assert (done.returncode, done.stdout, done.stderr) == (0, "Removed 5 cached responses.\n", "")
    for proxy in (one, two):
        wait_until(lambda proxy=proxy: not proxy.stats()["entries"], "memory to be empty")
    for key in FOREIGN:
        assert redis.do("GET", key) == b"theirs", key
    assert two.get("/stored/0").cache == "MISS"
    assert not redis.do("KEYS", "cache:[0-9a-f]*/*")


def test_no_proxy_has_to_run(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    proxy = sharing(start_proxy, redis, *PATIENT)
    fill(proxy, redis, origin, 3)
    proxy.stop()
    assert json.loads(command("stats", *at(redis), "--json").stdout)["entries"] == 3
    assert command("clear-cache", *at(redis)).stdout == "Removed 3 cached responses.\n"
    assert command("clear-cache", *at(redis)).stdout == "Removed 0 cached responses.\n"
    assert json.loads(command("stats", *at(redis), "--json").stdout)["entries"] == 0
    assert sharing(start_proxy, redis, *PATIENT).get("/stored/0").cache == "MISS"


def test_another_prefix_is_left_alone(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    fill(sharing(start_proxy, redis, *PATIENT), redis, origin, 2)
    other = command("clear-cache", *at(redis), "--redis-prefix", "other:")
    assert other.stdout == "Removed 0 cached responses.\n"
    assert command("clear-cache", *at(redis)).stdout == "Removed 2 cached responses.\n"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_counters_of_all_proxies_are_summed(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin, workers: str
) -> None:
    proxies = [sharing(start_proxy, redis, *PATIENT, "--workers", workers) for _ in range(2)]
    wait_until(
        lambda: proxies[0].stats()["redis_connected"] == int(workers), "every worker to use Redis"
    )
    fill(proxies[0], redis, origin, 2)
    for _ in range(10):
        for proxy in proxies:
            assert proxy.get("/stored/0").cache == "HIT"

    def counted() -> bool:
        stats = json.loads(command("stats", *at(redis), "--json").stdout)
        wanted = {"entries": 2, "hits": 20, "misses": 2, "requests": 22, "hit_ratio": 0.9091}
        found = {name: stats.get(name) for name in wanted}
        return found == wanted and stats["processes"] == 2 * int(workers)

    wait_until(counted, "all to have told what they counted")
    proxies[1].stop()
    plain = command("stats", *at(redis)).stdout.splitlines()
    assert "hits 20" in plain and "hit_ratio 0.9091" in plain


@pytest.mark.parametrize("verb", ["stats", "clear-cache"])
def test_without_a_redis_there_is_one_line_with_the_cure(verb: str) -> None:
    done = command(verb, "--redis-host", "127.0.0.1", "--redis-port", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    for word in ("127.0.0.1:1", "Connection refused", "--redis-port", "--admin-port"):
        assert word in done.stderr


@pytest.mark.parametrize("verb", ["stats", "clear-cache"])
def test_a_password_that_is_missing(redis: RedisServer, verb: str) -> None:
    redis.do("CONFIG", "SET", "requirepass", "secret")
    done = command(verb, *at(redis))
    assert (done.returncode, done.stdout) == (1, "")
    assert "NOAUTH" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_cluster(start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path) -> None:
    cluster = RedisClusterNodes(tmp_path)
    try:
        cluster.start()
        where = (*at(cluster.nodes[0]), "--use-cluster")
        proxy = start_proxy(*where, *PATIENT)
        wait_until(lambda: connected(proxy), "the proxy to use Redis")
        for count in range(20):
            origin.on(f"/stored/{count}", fresh())
            proxy.get(f"/stored/{count}")
        wait_until(lambda: proxy.stats()["redis_stored"] == 20, "all to be stored")
        assert json.loads(command("stats", *where, "--json").stdout)["entries"] == 20
        assert command("clear-cache", *where).stdout == "Removed 20 cached responses.\n"
        wait_until(lambda: not proxy.stats()["entries"], "memory to be empty")
        taken = command("clear-cache", *at(cluster.nodes[0]))
        assert taken.returncode == 1 and "--use-cluster" in taken.stderr
    finally:
        cluster.kill()
