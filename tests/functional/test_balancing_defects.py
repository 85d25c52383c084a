"""What a review of load balancing has found, so that it stays mended."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from .support.configured import Configured
from .support.messages import IncompleteError, PeerResetError
from .support.ports import unused_port
from .support.scripted_origin import Exchange, answer
from .support.scripted_servers import CALM, NO_STORE, ScriptedServers, named_answer
from .support.stand import StartOrigin, StartProxy
from .support.waiting import wait_until

Start = tuple[StartProxy, StartOrigin]


@pytest.fixture
def start(start_proxy: StartProxy, start_origin: StartOrigin) -> Start:
    return start_proxy, start_origin


def hedging(start: Start, *options: str) -> ScriptedServers:
    """Two servers, and it is known what is slow."""
    budget = ("--retry-floor", "1000")  # hedges of what is slow by chance must not use it up
    found = ScriptedServers(*start, "--hedge", *budget, *options, weights=(1, 1))
    found.ask(120)
    wait_until(lambda: found.ask(1) and found.origin()["slow_after"] > 0, "what is slow")
    return found


def test_a_hedge_is_given_up_when_its_request_needs_another_connection(start: Start) -> None:
    """Else both would write to one connection, and its responses would go to the wrong clients."""
    found = hedging(start)
    hedged, closing = threading.Event(), threading.Event()

    def close_then(exchange: Exchange) -> None:
        hedged.wait(10)
        closing.set()
        exchange.reset()

    def second(exchange: Exchange) -> None:
        hedged.set()
        closing.wait(10)
        exchange.send(answer("200 OK", NO_STORE, b"b"))

    found.servers[0].on("/slow", close_then, named_answer("a"))
    found.servers[1].on("/slow", second, named_answer("b"))
    while found.ask(1) != "b":  # the next one goes to the first
        pass
    assert found.proxy.get("/slow").body in (b"a", b"b")
    for number in range(20):
        target = f"/own/{number}"
        assert found.proxy.get(target).body == target.encode()
    found.check_idle()


def test_a_hedge_that_fails_does_not_count(start: Start) -> None:
    found = hedging(start)
    tried = threading.Event()

    def late(exchange: Exchange) -> None:
        tried.wait(10)
        exchange.send(answer("200 OK", NO_STORE, b"good"))

    def bad(exchange: Exchange) -> None:
        exchange.send(answer("503 No", NO_STORE, b"bad"))
        tried.set()

    found.on("/s", late, bad)
    while found.ask(1) != "b":
        pass
    response = found.proxy.get("/s")
    assert (response.status, response.body) == (200, b"good")
    assert found.seen("/s") == [1, 1]
    found.check_idle()


def test_what_is_fetched_behind_and_not_wanted_blames_nobody(start: Start) -> None:
    found = ScriptedServers(*start, "--eject-after", "3", weights=(1, 1))
    once = {"Cache-Control": "max-age=0, stale-while-revalidate=600"}
    changed = answer("200 OK", {**NO_STORE, "Transfer-Encoding": "chunked"}, b"5\r\nhello\r\n")
    ended = threading.Semaphore(0)

    def unwanted(exchange: Exchange) -> None:
        exchange.send(changed)
        ended.release()
        exchange.wait_for_close()

    targets = [f"/p{number}" for number in range(8)]
    for target in targets:
        found.on(target, *[answer("200 OK", once, b"one")] * 2)
        found.proxy.get(target)
        found.on(target, unwanted, unwanted)
    for target in targets:
        assert found.proxy.get(target).body == b"one"
        assert ended.acquire(timeout=10)
    found.check_idle()
    assert [server["errors"] for server in found.origin()["servers"]] == [0, 0]
    assert found.states() == ["up", "up"]


def test_one_healthy_server_of_four_is_enough(start: Start) -> None:
    start_proxy, start_origin = start
    good = start_origin()
    places = [f"127.0.0.1:{port}:1" for port in [*(unused_port() for _ in range(3)), good.port]]
    named = [part for place in places for part in ("--servers", place)]
    checks = ("--health-interval", "0.2s", "--health-fast-interval", "0.1s")
    options = ("--load-balance", *named, *checks, "--strategy", "round-robin")
    proxy = start_proxy(*options, origin="http://127.0.0.1:9")
    assert [proxy.get(f"/{number}").status for number in range(20)] == [200] * 20

    def down() -> int:
        return [server["state"] for server in proxy.origins()[0]["servers"]].count("down")

    wait_until(lambda: down() == 3, "the others to be down")
    assert [proxy.get(f"/{number}").status for number in range(40)] == [200] * 40
    assert not proxy.origins()[0]["panic"]


def test_a_backup_takes_over_from_one_that_fails(start: Start) -> None:
    start_proxy, start_origin = start
    spare = start_origin()
    named = ("--servers", f"127.0.0.1:{unused_port()}:1")
    named += ("--servers", f"127.0.0.1:{spare.port}:1 backup")
    options = ("--load-balance", *named, *CALM, "--eject-after", "3")
    proxy = start_proxy(*options, origin="http://127.0.0.1:9")
    statuses = [proxy.request("POST", "/", body=b"x").status for _ in range(20)]
    assert statuses == [200] * 20
    assert [server["state"] for server in proxy.origins()[0]["servers"]] == ["ejected", "up"]


@pytest.mark.parametrize("url", ["http://[::1]:9", "https://[::1]:9", "unix:/nowhere.sock"])
def test_origins_of_every_form_lend_their_names(start: Start, url: str) -> None:
    server = start[1]()
    named = ("--servers", f"http://127.0.0.1:{server.port}")
    proxy = start[0]("--load-balance", *named, origin=url)
    assert proxy.get("/").status == 200


def test_the_first_request_to_a_new_server_has_its_time(start: Start, tmp_path: Path) -> None:
    """Timeouts count from when it is sent, however new the server is."""
    start_proxy, start_origin = start
    servers = [start_origin() for _ in range(4)]
    released = threading.Event()

    def text(number: int) -> str:
        return f'origin = "{servers[number].url}"\norigin_head_timeout = 20\n'

    configured = Configured(start_proxy, tmp_path, text(0))
    for number in range(1, 4):
        released.clear()

        def slow(exchange: Exchange) -> None:
            exchange.read_body()
            released.wait(10)
            exchange.send(answer("200 OK", NO_STORE))

        servers[number].on("/slow", slow)
        configured.reload(text(number))
        with configured.proxy.client() as client:
            client.send(client.head("POST", "/slow", {"Content-Length": "1"}), b"x")
            timer = threading.Timer(0.7, released.set)  # three looks at the deadlines
            timer.start()
            assert client.response().status == 200
            timer.join()


def test_a_reload_while_a_connection_opens_forgets_no_deadline(
    start: Start, tmp_path: Path
) -> None:
    """It is opened by a pool that is let go meanwhile."""
    start_proxy, start_origin = start
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        timeouts = 'connect_timeout = "2s"\norigin_head_timeout = "1s"\n'
        text = f'origin = "http://127.0.0.1:{port}"\n{timeouts}'
        configured = Configured(start_proxy, tmp_path, text)
        with configured.proxy.client() as client:
            client.send(client.head("GET", "/", {}))
            configured.proxy.barrier()
            configured.reload(f'origin = "{start_origin().url}"\n')
            assert client.response().status == 504
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize("number", [1, 2])
def test_a_body_that_is_malformed_from_its_first_octet(start: Start, number: int) -> None:
    """It comes together with its head: whoever waits for more would wait for ever."""
    found = ScriptedServers(*start, weights=(1,) * number)
    bad = answer("200 OK", {**NO_STORE, "Transfer-Encoding": "chunked"}, b"zz\r\n")
    found.on("/bad", *([bad, named_answer("b")][:number]))
    statuses = {found.proxy.get("/bad").status for _ in range(4)}
    assert statuses == ({502} if number == 1 else {200})
    found.check_idle()


def test_the_rest_breaks_off_together_with_its_head(start: Start) -> None:
    found = ScriptedServers(*start, weights=(1, 1))
    body, tag = b"x" * 200_000, {"ETag": '"t"'}

    def cut(exchange: Exchange) -> None:
        whole = {**tag, "Content-Length": str(len(body))}
        exchange.send(answer("200 OK", whole, body[:100_000]))
        exchange.close()

    def bad_rest(exchange: Exchange) -> None:
        first = int(exchange.request.fields["range"].removeprefix("bytes=").rstrip("-"))
        told = {"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}", **tag}
        exchange.send(answer("206 Partial", {**told, "Transfer-Encoding": "chunked"}, b"zz\r\n"))

    found.on("/long", cut, bad_rest)
    with found.proxy.client() as client, pytest.raises((IncompleteError, PeerResetError)):
        client.get("/long")
    found.check_idle()
