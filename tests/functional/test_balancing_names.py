"""Servers that DNS names, while clients ask: their number and addresses change, and DNS fails."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from caching_proxy.proxy_server.names import RETRY_PAUSE

from .support.backend_process import Behaviour
from .support.backends import Backend, backends
from .support.balancing import WELL
from .support.crowd import Crowd, crowd
from .support.named import NAME, NamedProxy, Names, named
from .support.ports import unused_port
from .support.raw_client import RawClient
from .support.waiting import DEADLINE, wait_until

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.fixture(scope="module")
def shared() -> Iterator[list[Backend]]:
    with backends(HOSTS, unused_port()) as servers:
        yield servers


@pytest.fixture
def servers(shared: list[Backend]) -> list[Backend]:
    """One an address of the name, all on the same port."""
    for server in shared:
        server.behave(WELL)
    return shared


@contextmanager
def asked(proxy: NamedProxy) -> Iterator[list[Crowd]]:
    """Clients of both kinds, all of which are answered well."""
    with ExitStack() as stack:
        loads = [stack.enter_context(crowd(proxy.address, 4, method)) for method in ("GET", "POST")]
        yield loads
        for load in loads:
            load.go_on(3)
    for load in loads:
        assert not load.wrong, (len(load.wrong), load.wrong[:3])


def wait_only(loads: list[Crowd], *servers: Backend) -> None:
    """All of these answer, and no others."""
    for load in loads:
        load.go_on(2)
        before = {answer.id for answer in load.answers}
        load.go_on(6)
        found = {answer.backend for answer in load.answers if answer.id not in before}
        assert found == {server.name for server in servers}, load.wrong[:3]


def test_it_leads_elsewhere(servers: list[Backend]) -> None:
    names = Names(HOSTS[0])
    with named(names, servers[0].port) as proxy, asked(proxy) as loads:
        wait_only(loads, servers[0])
        for number in (1, 2, 0):
            names.lead_to(HOSTS[number])
            wait_only(loads, servers[number])


def test_it_grows_and_shrinks(servers: list[Backend]) -> None:
    names = Names(HOSTS[0])
    with named(names, servers[0].port) as proxy, asked(proxy) as loads:
        for number in (3, 1, 2, 3):
            names.lead_to(*HOSTS[:number])
            wait_only(loads, *servers[:number])


def test_what_is_under_way_at_one_that_goes_ends_there(servers: list[Backend]) -> None:
    names = Names(*HOSTS)
    going = servers[2]
    going.behave(Behaviour(0.7))
    with named(names, going.port) as proxy, asked(proxy) as loads:
        wait_until(lambda: proxy.servers()[going.name]["in_flight"] >= 4, "requests to be there")
        names.lead_to(*HOSTS[:2])
        left = proxy.servers()[going.name]
        assert (left["state"], left["in_flight"] > 0) == ("leaving", True)
        before = left["requests"]
        wait_only(loads[:1], *servers[:2])
        wait_until(lambda: going.name not in proxy.servers(), "it to have gone")
        assert going.behave(WELL) >= before


def test_one_goes_while_it_is_connected_to() -> None:
    """Its time runs like that of any other: it takes the connection later, and never answers."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        listener.settimeout(DEADLINE)
        port = listener.getsockname()[1]
        fillers = [stack.enter_context(socket.socket()) for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        names = Names("127.0.0.1", "127.0.0.2")  # nobody listens at the second
        proxy = stack.enter_context(named(names, port, connect_timeout=10.0))
        client = stack.enter_context(RawClient(proxy.address, timeout=10))
        client.send(client.head("POST", "/", {"Content-Length": "0"}))
        wait_until(lambda: proxy.servers()[f"127.0.0.1:{port}"]["in_flight"], "the request")
        names.lead_to("127.0.0.2")
        listener.listen(64)
        for filler in fillers:
            filler.close()
        received = b""
        while not received.startswith(b"POST"):
            received = stack.enter_context(listener.accept()[0]).recv(65536)
        assert client.response().status == 504


def test_dns_fails_and_is_back(servers: list[Backend]) -> None:
    names = Names(*HOSTS[:2])
    with named(names, servers[0].port) as proxy, asked(proxy) as loads:
        names.lead_to()
        wait_only(loads, *servers[:2])
        names.lead_to(*HOSTS[1:])
        wait_only(loads, *servers[1:])


def test_dns_fails_at_first(servers: list[Backend]) -> None:
    names = Names()
    with named(names, servers[0].port) as proxy:
        with RawClient(proxy.address) as client:
            response = client.get("/")
            assert response.status == 502, response
        names.lead_to(HOSTS[0])
        with asked(proxy) as loads:
            wait_only(loads, servers[0])


def test_while_dns_fails_requests_do_not_ask_it(
    servers: list[Backend], caplog: pytest.LogCaptureFixture
) -> None:
    """They are answered by its last failure, which is told once, and so is its end."""
    caplog.set_level("INFO")
    names, supervised = Names(), Names()
    with named(names, servers[0].port, supervised=supervised, resolve_interval=60.0) as proxy:
        begun = time.monotonic()
        with RawClient(proxy.address) as client:
            assert {client.get("/").status for _ in range(100)} == {502}
        assert names.asked <= 1 + (time.monotonic() - begun) / RETRY_PAUSE
        names.hosts = supervised.hosts = HOSTS[:1]
        with RawClient(proxy.address) as client:
            wait_until(lambda: client.get("/").status == 200, "DNS to be asked", seconds=10)
        wait_until(lambda: f"{NAME} resolves again" in caplog.text, "that to be told")
    told = [record.getMessage() for record in caplog.records if NAME in record.getMessage()]
    assert told[0].startswith(f"{NAME} does not resolve: ")
    assert told[1:] == [f"{NAME} resolves again"]


def states(proxy: NamedProxy) -> dict[str, str]:
    return {name: server["state"] for name, server in proxy.servers().items()}


def wait_states(proxy: NamedProxy, **expected: str) -> None:
    """Of all servers, once those that have left are forgotten."""
    wait_until(lambda: states(proxy) == expected, f"{expected}")


def test_an_order_for_a_name_is_for_all_its_addresses(servers: list[Backend]) -> None:
    """Now and later, whether who passes it on has seen them or not."""
    names, port = Names(HOSTS[0]), servers[0].port
    with named(names, port, supervised=Names(HOSTS[0]), slow_start=0.0) as proxy:
        name = f"{NAME}:{port}"
        wait_states(proxy, **{name: "up"})
        proxy.order(name, "disabled")
        wait_states(proxy, **{name: "disabled"})
        names.lead_to(*HOSTS)
        wait_states(proxy, **{server.name: "disabled" for server in servers})
        with RawClient(proxy.address) as client:
            assert client.get("/").status == 503
        proxy.order(name, "ready")
        with asked(proxy) as loads:
            wait_only(loads, *servers)


def test_an_order_for_an_address_and_then_for_its_name(servers: list[Backend]) -> None:
    names, port = Names(*HOSTS), servers[0].port
    name, (first, second, third) = f"{NAME}:{port}", [server.name for server in servers]
    with named(names, port, supervised=Names(*HOSTS), slow_start=0.0) as proxy:
        wait_states(proxy, **dict.fromkeys((first, second, third), "up"))
        proxy.order(second, "drain")
        wait_states(proxy, **{first: "up", second: "drain", third: "up"})
        names.lead_to(HOSTS[1])
        wait_states(proxy, **{name: "drain"})
        proxy.order(name, "disabled")
        names.lead_to(*HOSTS)
        wait_states(proxy, **dict.fromkeys((first, second, third), "disabled"))
        proxy.order(second, "ready")
        with asked(proxy) as loads:
            wait_only(loads, servers[1])
