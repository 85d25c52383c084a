"""Hits read at replicas: as coherent as at primaries, and at primaries where replicas fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from caching_proxy.cache_manager.redis_cluster import slot_of

from .support.proxy import ProxyProcess
from .support.purging import post
from .support.redis_server import RedisClusterNodes, RedisServer
from .support.requests_meanwhile import load
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.sentinels import SentinelService
from .support.sharing import PATIENT, connected
from .support.stand import StartProxy
from .support.waiting import wait_until

SECRET = "of-nodes"
TARGETS = [f"/shared/{number}" for number in range(30)]
READS = "--redis-replica-reads"
NO_CACHE = {"Cache-Control": "no-cache"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisClusterNodes]:
    """Three primaries, then three replicas, which want a password."""
    nodes = RedisClusterNodes(tmp_path, password=SECRET)
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.kill()


def using(start: StartProxy, cluster: RedisClusterNodes, *options: str) -> ProxyProcess:
    """A proxy that reads at replicas, once every node knows it."""
    url = f"redis://:{SECRET}@127.0.0.1:{cluster.nodes[0].port}"
    before = [clients(node) for node in cluster.nodes]
    proxy = start("--redis-url", url, "--use-cluster", READS, *options)
    wait_until(
        lambda: all(map(int.__lt__, before, map(clients, cluster.nodes))), "all links to be there"
    )
    wait_until(lambda: connected(proxy), "the proxy to use Redis")
    return proxy


def clients(node: RedisServer) -> int:
    """How many proxies hear of changes at this node."""
    told: bytes = node.do("CLIENT", "LIST")
    return len(re.findall(rb"name=caching-proxy .* flags=[a-zA-Z]*B", told))


def gets(node: RedisServer) -> int:
    """How many values have been read at this node."""
    found = re.search(rb"cmdstat_get:calls=([0-9]+)", node.do("INFO", "commandstats"))
    return int(found[1]) if found else 0


class Counted:
    """A script that says in each body which answer it is."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, exchange: Exchange) -> None:
        self.number += 1
        body = b"answer %d" % self.number
        exchange.send(answer("200 OK", {"Cache-Control": "max-age=600"}, body))


def caught_up(cluster: RedisClusterNodes) -> bool:
    """Whether the replicas have all that their primaries have."""
    pairs = zip(cluster.nodes[:3], cluster.nodes[3:], strict=True)
    return all(a.do("DBSIZE") == b.do("DBSIZE") for a, b in pairs)


def fill(proxy: ProxyProcess, cluster: RedisClusterNodes, origin: ScriptedOrigin) -> None:
    """Store the TARGETS, in Redis and its replicas too."""
    for target in TARGETS:
        origin.on(target, fresh())
        proxy.get(target)
    wait_until(
        lambda: sum(node.do("DBSIZE") for node in cluster.nodes[:3]) >= 2 * len(TARGETS),
        "all responses, and the generations of their URLs, in Redis",
    )
    wait_until(lambda: caught_up(cluster), "the replicas to have them")


def test_hits_are_read_at_replicas(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    fill(using(start_proxy, cluster, *PATIENT), cluster, origin)
    reader = using(start_proxy, cluster, *PATIENT, "--memory", "0")
    for target in TARGETS:  # the generations are read at primaries, once
        assert reader.get(target).cache == "HIT"
    before = [gets(node) for node in cluster.nodes]
    for target in TARGETS * 3:
        assert reader.get(target).cache == "HIT"
    more = [gets(node) - number for node, number in zip(cluster.nodes, before, strict=True)]
    assert more[:3] == [0, 0, 0]
    assert sum(more[3:]) == 3 * len(TARGETS) and all(more[3:])


def test_what_replicas_do_not_have_is_read_at_primaries(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    """They have lost their primary, and tell the reader of nothing."""
    one = using(start_proxy, cluster, *PATIENT)
    two = using(start_proxy, cluster, *PATIENT)
    fill(one, cluster, origin)
    cut_off(cluster)
    origin.on("/later", Counted())
    one.get("/later")
    wait_until(lambda: not caught_up(cluster), "it in Redis")
    assert two.get("/later").cache == "HIT"
    assert two.get(TARGETS[0]).cache == "HIT"


def cut_off(cluster: RedisClusterNodes) -> None:
    """Let replicas hear nothing more of their primaries; they go on telling what they have."""
    for node in cluster.nodes[3:]:
        node.do("CONFIG", "SET", "masterauth", "wrong")
        node.do("CLIENT", "KILL", "TYPE", "master")
    wait_until(
        lambda: all(b"master_link_status:down" in info(node) for node in cluster.nodes[3:]),
        "the replicas to be cut off",
    )


def join_again(cluster: RedisClusterNodes) -> None:
    for node in cluster.nodes[3:]:
        node.do("CONFIG", "SET", "masterauth", SECRET)


def info(node: RedisServer) -> bytes:
    found: bytes = node.do("INFO", "replication")
    return found


def test_what_is_own_stays_in_memory(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    """Replicas tell of own writes as well, also of what they have told before."""
    one = using(start_proxy, cluster, *PATIENT)
    fill(one, cluster, origin)
    two = using(start_proxy, cluster, *PATIENT)
    for target in TARGETS:
        assert two.get(target).cache == "HIT"
        two.get(target, NO_CACHE)  # stored anew
    wait_until(lambda: not one.stats()["entries"], "the other to hear of it")
    wait_until(lambda: caught_up(cluster), "the replicas to hear of it")
    assert two.stats()["entries"] == len(TARGETS)


def test_what_is_old_at_a_replica_goes_when_that_has_heard(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    """The primary's news came before the old value was read."""
    origin.on("/changing", Counted())
    one, two = (using(start_proxy, cluster, *PATIENT) for _ in range(2))
    key = one.get("/changing").fields["x-cache-key"].encode()
    primary = cluster.holder(slot_of(key))
    wait_until(lambda: primary.do("EXISTS", key) and caught_up(cluster), "it at the replicas")
    cut_off(cluster)
    old = primary.do("GET", key)
    assert one.get("/changing", NO_CACHE).body == b"answer 2"
    wait_until(lambda: primary.do("GET", key) != old, "the new one in Redis")
    assert two.get("/changing").body == b"answer 1"
    join_again(cluster)
    wait_until(lambda: two.get("/changing").body == b"answer 2", "the new one to be everywhere")
    assert len(origin.seen("/changing")) == 2


def test_a_purge_is_exact_where_replicas_are_behind(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    """Generations are read at primaries, and so is what replicas have from before a purge."""
    origin.on("/purged", Counted())
    one, two = (using(start_proxy, cluster, *PATIENT) for _ in range(2))
    key = one.get("/purged").fields["x-cache-key"].encode()
    primary = cluster.holder(slot_of(key))
    wait_until(lambda: primary.do("EXISTS", key) and caught_up(cluster), "it at the replicas")
    assert two.get("/purged").cache == "HIT"
    cut_off(cluster)
    old = primary.do("GET", key)
    assert post(one, url="/purged").status == 200
    assert one.get("/purged").body == b"answer 2"
    wait_until(lambda: primary.do("GET", key) not in (None, old), "the new one in Redis")
    wait_until(lambda: two.get("/purged").body == b"answer 2", "the purge to be heeded")
    for _ in range(3):
        assert (two.get("/purged").cache, two.get("/purged").body) == ("HIT", b"answer 2")
    assert len(origin.seen("/purged")) == 2


def test_a_replica_that_is_killed(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    """What it has told is no longer trusted; its primary is read at."""
    one = using(start_proxy, cluster)
    fill(one, cluster, origin)
    two = using(start_proxy, cluster)
    with load(two, origin) as requests:
        for target in TARGETS:
            two.get(target)
        cluster.nodes[3].kill()
        requests.wait_for(100)
        wait_until(lambda: two.stats()["redis_hits"], "hits in Redis")
        before = two.stats()["redis_stored"]
        wait_until(lambda: two.stats()["redis_stored"] > before + 40, "all slots to be used")
        cluster.nodes[3].start()
        requests.wait_for(100)
    assert "WARNING" not in two.errors()


def test_a_replica_that_is_made_primary(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    origin.on("/kept", Counted())
    one, two = (using(start_proxy, cluster) for _ in range(2))
    key = one.get("/kept").fields["x-cache-key"].encode()
    victim = cluster.holder(slot_of(key))
    wait_until(lambda: victim.do("EXISTS", key) and caught_up(cluster), "it at the replicas")
    assert two.get("/kept").status == 200
    with load(one, origin) as requests, load(two, origin):
        victim.kill()
        requests.wait_for(100)
        heir = cluster.nodes[cluster.nodes.index(victim) + 3]
        wait_until(lambda: b"role:master" in info(heir), "the failover")
        wait_until(lambda: holds(heir, one, key), "it to be used")
    wait_until(lambda: one.get("/kept").body == two.get("/kept").body, "it to be shared")
    latest = one.get("/kept").body
    assert post(two, url="/kept").status == 200
    wait_until(lambda: one.get("/kept").body != latest, "the purge to be heeded")


def holds(node: RedisServer, proxy: ProxyProcess, key: bytes) -> bool:
    """Whether what a proxy stores arrives at the primary `node`."""
    before = node.do("GET", key)
    proxy.get("/kept", NO_CACHE)
    return bool(node.do("GET", key) != before)


def test_memory_is_dropped_with_the_link_to_a_replica(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    fill(using(start_proxy, cluster, *PATIENT), cluster, origin)
    reader = using(start_proxy, cluster, *PATIENT)
    for target in TARGETS:
        assert reader.get(target).cache == "HIT"
    assert reader.stats()["entries"] == len(TARGETS)
    cluster.nodes[3].kill()
    wait_until(lambda: not reader.stats()["entries"], "memory to be dropped")
    for target in TARGETS:
        assert reader.get(target).cache == "HIT"


def test_replicas_that_sentinels_know(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    service = SentinelService(tmp_path)
    try:
        service.start()
        options = ("--redis-url", service.url, READS, *PATIENT)
        one, two = start_proxy(*options), start_proxy(*options, "--memory", "0")
        wait_until(lambda: clients(service.replica) == 2, "both to read at the replica")
        origin.on("/shared", fresh())
        key = one.get("/shared").fields["x-cache-key"]
        wait_until(lambda: service.replica.do("EXISTS", key), "it at the replica")
        assert two.get("/shared").cache == "HIT"
        before = gets(service.primary), gets(service.replica)
        for _ in range(5):
            assert two.get("/shared").cache == "HIT"
        assert (gets(service.primary), gets(service.replica)) == (before[0], before[1] + 5)
        with load(two, origin) as requests:
            service.replica.kill()
            requests.wait_for(100)
        assert two.get("/shared").cache == "HIT"
    finally:
        service.kill()
