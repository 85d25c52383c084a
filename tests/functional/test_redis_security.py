"""Redis behind TLS, passwords and access rules: used where they fit, one clear line where not."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .support.commands import command
from .support.proxy import ProxyProcess
from .support.redis_server import RedisClusterNodes, RedisServer, TlsRedisServer
from .support.scripted_origin import ScriptedOrigin, fresh
from .support.sentinels import SentinelService
from .support.sharing import PATIENT, connected
from .support.stand import StartProxy
from .support.tls import Authority
from .support.waiting import wait_until

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "redis.md"
SECRET = "the-right-one"
WRONG = "the-wrong-one"
StartTls = Callable[..., TlsRedisServer]


@pytest.fixture
def start_tls(tmp_path: Path, authority: Authority) -> Iterator[StartTls]:
    """Start a Redis with TLS."""
    with ExitStack() as stack:

        def start(*options: str, **more: str) -> TlsRedisServer:
            server = TlsRedisServer(authority, tmp_path, *options, **more)
            stack.callback(server.kill)
            server.start()
            return server

        yield start


def url(port: int, password: str | None = None, *, user: str = "", scheme: str = "redis") -> str:
    who = "" if password is None else f"{user}:{password}@"
    return f"{scheme}://{who}127.0.0.1:{port}"


def check_sharing(start: StartProxy, origin: ScriptedOrigin, *options: str) -> None:
    """Two proxies share what is stored there, and the commands find it."""
    one, two = (start(*options, *PATIENT) for _ in range(2))
    for proxy in (one, two):
        wait_until(lambda proxy=proxy: connected(proxy), "the proxy to use Redis")
    targets = [f"/shared/{number}" for number in range(10)]

    def all_stored() -> bool:
        """Again and again: not every node of a cluster may be connected yet."""
        for target in targets:
            one.get(target, {"Cache-Control": "no-cache"})
        return found(*options) == len(targets)

    for target in targets:
        origin.on(target, fresh())
    wait_until(all_stored, "all of them in Redis")
    for target in targets:
        wait_until(
            lambda target=target: two.get(target, {"Cache-Control": "only-if-cached"}).status
            == 200,
            "it to be shared",
        )
    assert command("clear-cache", *options).stdout == "Removed 10 cached responses.\n"
    wait_until(lambda: not two.stats()["entries"], "memory to be empty")
    for proxy in (one, two):
        assert "WARNING" not in proxy.errors()


def found(*options: str) -> int:
    done = command("stats", *options, "--json")
    assert not done.returncode, done.stderr
    return int(json.loads(done.stdout)["entries"])


def check_alone(proxy: ProxyProcess, origin: ScriptedOrigin, word: str) -> None:
    """Memory serves alone, and one line says why, without the password."""
    origin.on("/alone", fresh())
    wait_until(lambda: word in proxy.errors(), f"the warning with {word!r}")
    assert [proxy.get("/alone").cache for _ in range(2)] == ["MISS", "HIT"]
    assert proxy.errors().count("WARNING") == 1
    assert not {SECRET, WRONG} & set(re.findall("the-[a-z]+-one", proxy.errors()))


def check_command(word: str, *options: str) -> None:
    """`stats` says the same in one line."""
    done = command("stats", *options)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert word in done.stderr
    assert SECRET not in done.stderr and WRONG not in done.stderr


def test_tls(
    start_tls: StartTls, start_proxy: StartProxy, origin: ScriptedOrigin, authority: Authority
) -> None:
    server = start_tls("--requirepass", SECRET)
    where = ("--redis-url", url(server.public_port, SECRET, scheme="rediss"))
    check_sharing(start_proxy, origin, *where, "--redis-ca", str(authority.path))


def test_a_certificate_of_an_unknown_authority(
    start_tls: StartTls, start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    where = ("--redis-url", url(start_tls().public_port, SECRET, scheme="rediss"))
    check_alone(start_proxy(*where), origin, "CERTIFICATE_VERIFY_FAILED")
    check_command("CERTIFICATE_VERIFY_FAILED", *where)


def test_a_certificate_of_another_name(
    start_tls: StartTls, start_proxy: StartProxy, origin: ScriptedOrigin, authority: Authority
) -> None:
    server = start_tls(name="other.example")
    where = ("--redis-url", url(server.public_port, SECRET, scheme="rediss"))
    where += ("--redis-ca", str(authority.path))
    check_alone(start_proxy(*where), origin, "CERTIFICATE_VERIFY_FAILED")
    check_command("CERTIFICATE_VERIFY_FAILED", *where)


def test_tls_on_one_side_alone(
    start_tls: StartTls, start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    server = start_tls()
    plain = start_proxy("--redis-url", url(server.public_port, SECRET))
    check_alone(plain, origin, "the connection is lost")
    crypted = start_proxy("--redis-url", url(server.port, SECRET, scheme="rediss"))
    check_alone(crypted, origin, "TLS")


def test_a_cluster_with_tls(
    start_proxy: StartProxy, origin: ScriptedOrigin, authority: Authority, tmp_path: Path
) -> None:
    tls = functools.partial(TlsRedisServer, authority)
    options = ("--tls-cluster", "yes", "--tls-replication", "yes")
    cluster = RedisClusterNodes(tmp_path, *options, password=SECRET, start=tls)
    try:
        cluster.start()
        port = cluster.nodes[0].public_port
        where = ("--redis-url", url(port, SECRET, scheme="rediss"), "--use-cluster")
        check_sharing(start_proxy, origin, *where, "--redis-ca", str(authority.path))
    finally:
        cluster.kill()


def test_sentinels_with_tls(
    start_proxy: StartProxy, origin: ScriptedOrigin, authority: Authority, tmp_path: Path
) -> None:
    service = SentinelService(tmp_path, password=SECRET, authority=authority)
    try:
        service.start()
        where = ("--redis-url", service.url)
        check_sharing(start_proxy, origin, *where, "--redis-ca", str(authority.path))
        check_alone(start_proxy(*where), origin, "CERTIFICATE_VERIFY_FAILED")
    finally:
        service.kill()


def test_a_cluster_with_passwords(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    cluster = RedisClusterNodes(tmp_path, password=SECRET)
    try:
        cluster.start()
        for node in cluster.nodes:
            allow(node)
        port = cluster.nodes[0].port
        check_sharing(start_proxy, origin, "--redis-url", url(port, SECRET), "--use-cluster")
        user = url(port, "visitor", user="proxy")
        check_sharing(start_proxy, origin, "--redis-url", user, "--use-cluster")
        where = ("--redis-url", url(port, WRONG), "--use-cluster")
        check_alone(start_proxy(*where), origin, "WRONGPASS")
        check_command("WRONGPASS", *where)
    finally:
        cluster.kill()


def test_a_user_who_may_what_the_guide_says(
    redis: RedisServer, start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    allow(redis)
    check_sharing(start_proxy, origin, "--redis-url", url(redis.port, "visitor", user="proxy"))


def allow(node: RedisServer) -> None:
    """Make the user of the guide."""
    (line,) = re.findall("^ACL SETUSER proxy .*$", GUIDE.read_text(), re.MULTILINE)
    node.do(*line.replace("PASSWORD", "visitor").split())


def test_a_user_who_may_not(
    redis: RedisServer, start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    redis.do("ACL", "SETUSER", "proxy", "on", f">{SECRET}", "~other:*", "+@all")
    where = ("--redis-url", url(redis.port, SECRET, user="proxy"))
    check_alone(start_proxy(*where), origin, "NOPERM")
    check_command("NOPERM", *where)
