"""Fixtures of the functional tests: each test gets its own origin and proxy, or a shared stand."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from .support.clock import Clock
from .support.nginx import Nginx
from .support.proxy import ProxyProcess
from .support.redis_server import RedisClusterNodes, RedisServer
from .support.scripted_origin import ScriptedOrigin
from .support.site import Site
from .support.stand import Stand, StartOrigin, StartProxy, TimedStand
from .support.tls import Authority


def _check(origin: ScriptedOrigin) -> None:
    origin.close()
    assert not origin.faults, "\n".join(origin.faults)


@contextmanager
def _clean(stand: Stand) -> Iterator[None]:
    origin = stand.origin
    for record in (origin.requests, origin.served_on, origin.cut_requests, origin.faults):
        record.clear()
    yield
    assert not origin.faults, "\n".join(origin.faults)


@pytest.fixture
def start_origin() -> Iterator[StartOrigin]:
    """Start scripted origins; a test fails when the proxy sent one what HTTP forbids."""
    with ExitStack() as stack:

        def start(**options: object) -> ScriptedOrigin:
            origin = ScriptedOrigin(**options)  # type: ignore[arg-type]
            stack.callback(_check, origin)
            return origin

        yield start


@pytest.fixture
def origin(start_origin: StartOrigin) -> ScriptedOrigin:
    """A scripted origin of this test's own."""
    return start_origin()


@pytest.fixture
def start_proxy(origin: ScriptedOrigin) -> Iterator[StartProxy]:
    """Start proxies in front of this test's origin, or another `origin=`."""
    with ExitStack() as stack:

        def start(*options: str, **more: object) -> ProxyProcess:
            url = more.pop("origin", origin.url)
            proxy = ProxyProcess(str(url), *options, **more)  # type: ignore[arg-type]
            stack.callback(proxy.stop)
            return proxy

        yield start


@pytest.fixture
def proxy(start_proxy: StartProxy) -> ProxyProcess:
    """A proxy with default settings in front of this test's own origin."""
    return start_proxy()


@pytest.fixture(scope="module")
def shared_stand() -> Iterator[Stand]:
    """One origin and one proxy for the tests of a file."""
    with ExitStack() as stack:
        origin = ScriptedOrigin()
        stack.callback(_check, origin)
        proxy = ProxyProcess(origin.url)
        stack.callback(proxy.stop)
        yield Stand(origin, proxy)


@pytest.fixture
def stand(shared_stand: Stand) -> Iterator[Stand]:
    """The file's shared stand, with a clean record; targets must be the test's own."""
    with _clean(shared_stand):
        yield shared_stand


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock for `start_proxy(clock=clock)`; skips with the reason without libfaketime."""
    return Clock(tmp_path)


@pytest.fixture(scope="module")
def shared_timed_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimedStand]:
    """One origin, one proxy and their clock for the tests of a file."""
    with ExitStack() as stack:
        clock = Clock(tmp_path_factory.mktemp("clock"))
        origin = ScriptedOrigin()
        stack.callback(_check, origin)
        proxy = ProxyProcess(origin.url, clock=clock)
        stack.callback(proxy.stop)
        yield TimedStand(origin, proxy, clock)


@pytest.fixture
def timed(shared_timed_stand: TimedStand) -> Iterator[TimedStand]:
    """The file's shared stand with a clock, with a clean record; targets must be the test's own."""
    with _clean(shared_timed_stand):
        yield shared_timed_stand


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """The well-behaved origin on aiohttp."""
    with closing(Site()) as site:
        yield site


@pytest.fixture(scope="session")
def site_proxy(site: Site) -> Iterator[ProxyProcess]:
    """A proxy in front of the well-behaved origin, with room for large objects."""
    proxy = ProxyProcess(site.url, "--memory", "1GB", "--max-object", "32MB")
    yield proxy
    proxy.stop()


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx as an origin; skips with the reason where it is not installed."""
    with closing(Nginx(tmp_path_factory.mktemp("nginx"))) as nginx:
        yield nginx


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority of the session's own."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A path short enough for a unix socket."""
    path = tmp_path_factory.mktemp("s") / "s"
    assert len(str(path)) < 100, f"too long for a unix socket: {path}"
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def ipv6() -> str:
    """The IPv6 loopback address; skips with the reason where there is none."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return "::1"
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, on this machine."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisClusterNodes]:
    """A cluster of this test's own: three primaries, then three replicas."""
    nodes = RedisClusterNodes(tmp_path)
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.kill()
