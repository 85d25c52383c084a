"""A cluster of six nodes, as the documented example has it: shared, coherent, and losing nodes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import hiredis

from caching_proxy.cache_manager.redis_cluster import slot_of

from .support.proxy import ProxyProcess
from .support.purging import post
from .support.redis_server import RedisClusterNodes, RedisServer
from .support.requests_meanwhile import load
from .support.scripted_origin import Exchange, ScriptedOrigin, answer
from .support.sharing import PATIENT, connected
from .support.stand import StartProxy
from .support.waiting import wait_until


def using(start: StartProxy, cluster: RedisClusterNodes, *options: str) -> ProxyProcess:
    """A proxy that uses the cluster, found from its first node."""
    at = ("--redis-host", "127.0.0.1", "--redis-port", str(cluster.nodes[0].port))
    proxy = start(*at, "--use-cluster", *options)
    wait_until(lambda: connected(proxy), "the proxy to use Redis")
    return proxy


class Counted:
    """A script that says in each body which answer it is."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, exchange: Exchange) -> None:
        self.number += 1
        fields = {"Cache-Control": "max-age=600", "Cache-Tag": "shop"}
        exchange.send(answer("200 OK", fields, b"answer %d" % self.number))


def kept(cluster: RedisClusterNodes, key: str) -> bool:
    """Whether the cluster has this key."""
    with contextlib.suppress(OSError, hiredis.ReplyError):
        return bool(cluster.holder(slot_of(key.encode())).do("EXISTS", key))
    return False


def keep(proxy: ProxyProcess, cluster: RedisClusterNodes, target: str) -> bytes:
    response = proxy.get(target)
    wait_until(lambda: kept(cluster, response.fields["x-cache-key"]), f"{target} in Redis")
    return response.body


def test_what_one_stores_or_purges_the_other_has_or_not(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    """Enough of them that every primary has some."""
    targets = [f"/shared/{number}" for number in range(30)]
    for target in targets:
        origin.on(target, Counted())
    one, two = (using(start_proxy, cluster, *PATIENT) for _ in range(2))
    for target in targets:
        assert keep(one, cluster, target) == b"answer 1"
        assert two.get(target).cache == "HIT"
    for target in targets[:10]:
        assert post(one, url=target).status == 200
        wait_until(
            lambda target=target: two.get(target).body == b"answer 2", "the purge to be heeded"
        )
    assert post(two, tag="shop").status == 200
    for target in targets:
        wait_until(
            lambda target=target: (
                one.get(target).body in (b"answer 3", b"answer 2")
                and one.get(target).body != (b"answer 2" if target in targets[:10] else b"answer 1")
            ),
            "the purge to be heeded",
        )


def test_a_primary_that_is_killed(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    origin.on("/kept", Counted())
    one, two = (using(start_proxy, cluster, "--redis-timeout", "1s") for _ in range(2))
    body = keep(one, cluster, "/kept")
    key = one.get("/kept").fields["x-cache-key"]
    victim = cluster.holder(slot_of(key.encode()))
    with load(one, origin) as requests:
        victim.kill()
        requests.wait_for(100)
        replica = next(node for node in cluster.nodes if node is not victim)
        wait_until(lambda: b"cluster_state:ok" in replica.do("CLUSTER", "INFO"), "the failover")
        before = one.stats()["redis_stored"]
        wait_until(lambda: one.stats()["redis_stored"] > before + 40, "all slots to be used again")
    # What is there, from before or since, is shared again, and purges reach everybody.
    wait_until(lambda: keep(one, cluster, "/kept") == two.get("/kept").body, "it to be shared")
    assert one.get("/kept").body.startswith(body[:6])
    latest = one.get("/kept").body
    assert post(two, url="/kept").status == 200
    wait_until(lambda: one.get("/kept").body != latest, "the purge to be heeded")


def test_slots_that_move(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    origin.on("/moved", Counted())
    one, two = (using(start_proxy, cluster, *PATIENT) for _ in range(2))
    keep(one, cluster, "/moved")
    key = one.get("/moved").fields["x-cache-key"]
    with load(one, origin):
        slot = slot_of(key.encode())
        source = cluster.holder(slot)
        others = [node for node in cluster.nodes if node is not source and is_primary(node)]
        move(cluster, slot, others[0])
    wait_until(lambda: kept(cluster, key), "the response at its new place")
    body = one.get("/moved").body
    wait_until(lambda: two.get("/moved").body == body, "it to be shared")
    assert post(two, url="/moved").status == 200
    wait_until(lambda: one.get("/moved").body != body, "the purge to be heeded")


def move(cluster: RedisClusterNodes, slot: int, target: RedisServer) -> None:
    """Move a slot to another primary, keys and all, as operators do."""
    source = cluster.holder(slot)
    source_id, target_id = (node.do("CLUSTER", "MYID") for node in (source, target))
    target.do("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.do("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while keys := source.do("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.do("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source):
        node.do("CLUSTER", "SETSLOT", slot, "NODE", target_id)


def is_primary(node: RedisServer) -> bool:
    return b"role:master" in node.do("INFO", "replication")


def test_a_node_that_is_added(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    proxy = using(start_proxy, cluster)
    added = cluster.add()
    added.start()
    cluster.meet(added)
    wait_until(lambda: b"cluster_state:ok" in added.do("CLUSTER", "INFO"), "it to be known")
    with load(proxy, origin) as requests:
        move(cluster, slot_of(b"cache:purges"), added)
        requests.wait_for(100)
        wait_until(lambda: connected(proxy), "the proxy to use it")
        before = proxy.stats()["redis_stored"]
        wait_until(lambda: proxy.stats()["redis_stored"] > before, "responses to be stored")


def test_one_node_alone_is_told(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    """Both mistakes end in one clear line: a cluster taken for one node, one node for a cluster."""
    port = str(cluster.nodes[0].port)
    taken = start_proxy("--redis-host", "127.0.0.1", "--redis-port", port)
    wait_until(lambda: "--use-cluster" in taken.errors(), "the hint")
    server = RedisServer(tmp_path)
    server.start()
    try:
        at = ("--redis-host", "127.0.0.1", "--redis-port", str(server.port), "--use-cluster")
        alone = start_proxy(*at)
        wait_until(lambda: "cluster support disabled" in alone.errors(), "the warning")
        origin.on("/", answer("200 OK", {"Cache-Control": "max-age=600"}, b"x"))
        for proxy in (taken, alone):
            assert proxy.get("/").status == 200
            assert proxy.get("/").cache == "HIT"
    finally:
        server.kill()
