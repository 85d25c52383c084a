"""Requests go to servers by strategy; what these get, and what of it is shared."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from caching_proxy.configuration import configure
from caching_proxy.proxy_server.names import Address

from .support.in_process import in_process
from .support.scripted_origin import Exchange, answer, fresh
from .support.scripted_servers import NO_STORE, ScriptedServers, named_answer
from .support.stand import StartOrigin, StartProxy
from .support.tls import Authority

Start = tuple[StartProxy, StartOrigin]


@pytest.fixture
def start(start_proxy: StartProxy, start_origin: StartOrigin) -> Start:
    return start_proxy, start_origin


# -- strategies


def test_the_documented_example_is_exact(start: Start) -> None:
    found = ScriptedServers(*start, weights=(5, 3), strategy="weighted-round-robin")
    assert found.ask(16) == "abaababa" * 2


def test_the_weight_of_five_one_one_is_interleaved(start: Start) -> None:
    found = ScriptedServers(*start, weights=(5, 1, 1), strategy="weighted-round-robin")
    assert found.ask(14) == "aabacaa" * 2


def test_round_robin_takes_turns(start: Start) -> None:
    found = ScriptedServers(*start, weights=(5, 1, 1), strategy="round-robin")
    assert found.ask(9) == "abcabcabc"


@pytest.mark.parametrize(
    "strategy",
    ["random", "weighted-random", "least-connections", "power-of-two-choices", "least-latency"],
)
def test_every_server_is_used(start: Start, strategy: str) -> None:
    found = ScriptedServers(*start, strategy=strategy)
    assert set(found.ask(100)) == set("abc")
    found.check_idle()


def test_least_connections_goes_where_least_is_under_way(start: Start) -> None:
    found = ScriptedServers(*start, weights=(1, 1), strategy="least-connections")
    held, release = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        held.set()
        exchange.wait(release, "the test")
        exchange.send(answer("200 OK", NO_STORE))

    found.on("/held", hold, hold)
    with found.proxy.client() as client:
        client.send(client.head("GET", "/held", {}))
        held.wait()
        assert len(set(found.ask(20))) == 1
        release.set()
        client.response()
    assert set(found.ask(20)) == {"a", "b"}


@pytest.mark.parametrize(
    ("by", "field"), [("header:X-User", "X_User"), ("cookie:user", "Cookie"), ("url", "")]
)
def test_consistent_hash_goes_by_what_is_named(start: Start, by: str, field: str) -> None:
    found = ScriptedServers(*start, "--hash-by", by, strategy="consistent-hash")
    found.on("/x", *map(named_answer, found.letters))
    taken = []
    for user in range(60):
        value = f"user={user}" if field == "Cookie" else str(user)
        fields = {field: value} if field else {}
        target = "/" if field else f"/x?{user}"
        (letter,) = set(found.ask(3, target, **fields))
        taken.append(letter)
    assert set(taken) == set("abc")
    if field:
        assert len(set(found.ask(20, "/x"))) == 1  # without the field by URL


def test_consistent_hash_by_address(start: Start) -> None:
    found = ScriptedServers(*start, "--hash-by", "address", strategy="consistent-hash")
    taken = {}
    for number in range(2, 30):
        with found.proxy.client(source=f"127.0.0.{number}") as client:
            (taken[number],) = {client.get("/").body for _ in range(3)}
    assert set(taken.values()) == {b"a", b"b", b"c"}


def test_a_session_sticks_to_its_server(start: Start) -> None:
    found = ScriptedServers(*start, strategy="sticky-cookie")
    first = found.proxy.get("/")
    told = re.fullmatch(
        "(caching-proxy-server=[0-9a-f]{16}); Path=/; HttpOnly; SameSite=Lax",
        first.fields["set-cookie"],
    )
    assert told is not None
    for _ in range(9):
        again = found.proxy.get("/", {"Cookie": f"a=1; {told[1]}; b=2"})
        assert again.body == first.body
        assert "set-cookie" not in again.fields
    server = found.servers[found.letters.index(first.body.decode())]
    assert server.requests[-1].fields["cookie"] == "a=1; b=2"
    assert found.proxy.get("/", {"Cookie": told[1]}).body == first.body
    assert "cookie" not in server.requests[-1].fields


def test_a_cookie_that_names_no_server_is_replaced(start: Start) -> None:
    found = ScriptedServers(*start, strategy="sticky-cookie")
    for value in ("0" * 16, "f" * 16, "zz", "", "g" * 16, "1" * 17):
        response = found.proxy.get("/", {"Cookie": f"caching-proxy-server={value}"})
        assert response.status == 200 and "set-cookie" in response.fields


def test_what_is_stored_has_no_session(start: Start) -> None:
    found = ScriptedServers(*start, strategy="sticky-cookie")
    found.on("/shared", *[fresh(b"all")] * 3)
    cookie = found.proxy.get("/").fields["set-cookie"].partition(";")[0]
    assert "set-cookie" not in found.proxy.get("/shared").fields
    for _ in range(3):
        response = found.proxy.get("/shared", {"Cookie": cookie})
        assert (response.cache, "set-cookie" in response.fields) == ("HIT", False)


def test_a_drained_server_keeps_its_sessions(start: Start) -> None:
    found = ScriptedServers(*start, strategy="sticky-cookie")
    first = found.proxy.get("/")
    cookie = {"Cookie": first.fields["set-cookie"].partition(";")[0]}
    number = found.letters.index(first.body.decode())
    assert found.order(number, "drain")[0] == 200
    assert first.body.decode() not in found.ask(20)
    assert found.proxy.get("/", cookie).body == first.body
    found.order(number, "disabled")
    assert found.proxy.get("/", cookie).body != first.body


# -- what is sent to servers


@pytest.mark.parametrize("of", ["origin", "server", "client"])
def test_the_host_of_server_or_origin(start: Start, of: str) -> None:
    found = ScriptedServers(*start, "--host-header", of, origin="http://site.example")
    found.ask(3)
    hosts = [server.requests[-1].fields["host"] for server in found.servers]
    expected = {
        "origin": ["site.example"] * 3,
        "client": [found.proxy.authority] * 3,
        "server": [server.authority for server in found.servers],
    }
    assert hosts == expected[of]


def test_what_one_server_answers_is_stored_for_all(start: Start) -> None:
    found = ScriptedServers(*start)
    found.on("/kept", *map(fresh, (b"a", b"b", b"c")))
    bodies = {found.proxy.get("/kept").body for _ in range(5)}
    assert len(bodies) == 1 and sum(found.seen("/kept")) == 1


# -- the documented example

DOCUMENTED = """
  --origin https://api.example.com
  --load-balance
  --servers server1.example.com:5
  --servers server2.example.com:3
  --strategy weighted-round-robin
"""


def test_the_example_of_the_documentation_as_it_is_written(
    start_origin: StartOrigin, authority: Authority
) -> None:
    """The names lead to servers of this test; nothing else is put in the example's place."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for line in DOCUMENTED.strip().splitlines():
        assert line.strip() in readme, line
    given: dict[str, Any] = {"origin_ca": str(authority.path), "servers": [], "store": "memory"}
    for option in DOCUMENTED.strip().splitlines():
        name, _, value = option.strip().removeprefix("--").partition(" ")
        if name == "servers":
            given["servers"].append(value)
        else:
            given[name.replace("-", "_")] = value or True
    servers = {}
    for name, letter in (("server1", "1"), ("server2", "2")):
        server = start_origin(tls=authority.server("api.example.com"))
        for number in range(32):
            server.on(f"/{number}", named_answer(letter))
        servers[f"{name}.example.com"] = server

    async def resolver(host: str, port: int) -> list[Address]:
        assert port == 443
        return [("127.0.0.1", servers[host].port)]

    async def answers() -> str:
        async with in_process(configure(given, {}), resolver) as port:
            return "".join([await get(port, f"/{number}") for number in range(32)])

    assert asyncio.run(answers()) == "12112121" * 4
    hosts = {r.fields["host"] for server in servers.values() for r in server.requests}
    assert hosts == {"api.example.com"}


async def get(port: int, target: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target.encode())
    response = await reader.read()
    writer.close()
    return response.partition(b"\r\n\r\n")[2].decode()
