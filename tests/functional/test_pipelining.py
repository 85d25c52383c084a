"""Requests that come in one packet, in many, or after the client has ended its side."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .support.raw_client import RawClient, chunked
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy

COUNT = 40


def _mixed(client: RawClient) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Hits, misses, passes, HEADs and bodies in both framings, and what answers them in turn."""
    sent, expected = b"", []
    for n in range(COUNT):
        target = f"/mixed/{n}"
        kind = n % 5
        if kind == 0:
            target = "/mixed/stored"
            sent += client.head("GET", target)
        elif kind == 1:
            sent += client.head("GET", target)
        elif kind == 2:
            sent += client.head("POST", target, {"Content-Length": "7"}) + b"GET / H"
        elif kind == 3:
            sent += client.head("PUT", target, {"Transfer-Encoding": "chunked"})
            sent += b"".join(chunked([b"POST / HTTP/1.1\r\n\r\n"]))
        else:
            sent += client.head("HEAD", target)
        method = ("GET", "GET", "POST", "PUT", "HEAD")[kind]
        expected.append((method, b"" if kind == 4 else target.encode()))
    return sent, expected


@pytest.mark.parametrize("half_closed", [False, True], ids=["open", "half-closed"])
def test_mixed_requests_are_answered_in_order(stand: Stand, half_closed: bool) -> None:
    stand.origin.on("/mixed/stored", fresh(b"/mixed/stored"))
    stand.proxy.get("/mixed/stored")
    with stand.proxy.client() as client:
        sent, expected = _mixed(client)
        client.send(sent)
        if half_closed:
            client.half_close()
        for method, body in expected:
            response = client.response(method)
            assert (response.status, response.body) == (200, body)
        if half_closed:
            client.expect_closed()


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["hit", "pass", "HEAD hit", "HEAD pass", "length", "chunked", "HTTP/1.0"]),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(requests=REQUESTS, cuts=st.lists(st.integers(0, 1500), max_size=5))
def test_any_requests_in_any_packets(
    stand: Stand, requests: list[tuple[str, int]], cuts: list[int]
) -> None:
    """Whatever is sent in whatever pieces, the answers are those, in that order."""
    for n in range(4):
        stand.origin.on(f"/any/hit/{n}", fresh(f"/any/hit/{n}".encode()))
    with stand.proxy.client() as client:
        sent, expected = b"", []
        for kind, n in requests:
            method = kind.split()[0] if "HEAD" in kind else "GET"
            target = f"/any/{kind.split()[-1].lower()}/{n}"
            fields, body, version = {}, b"", "1.1"
            if kind == "length":
                method, fields, body = "POST", {"Content-Length": "9"}, b"GET / HTT"
            elif kind == "chunked":
                method, fields = "PUT", {"Transfer-Encoding": "chunked"}
                body = b"".join(chunked([b"0\r\n\r\n", b"x"]))
            elif kind == "HTTP/1.0":
                version, fields = "1.0", {"Connection": "keep-alive"}
            sent += client.head(method, target, fields, version=version) + body
            expected.append((method, b"" if method == "HEAD" else target.encode()))
        ends = sorted({min(cut, len(sent)) for cut in cuts} | {len(sent)})
        for start, end in zip([0, *ends], ends, strict=False):
            client.send(sent[start:end])
            stand.proxy.barrier()
        answers = [(method, client.response(method).body) for method, _ in expected]
        assert answers == expected


def test_many_hits_in_one_packet(stand: Stand) -> None:
    for n in range(3):
        stand.origin.on(f"/many/{n}", fresh(b"%d" % n * (n + 1)))
        stand.proxy.get(f"/many/{n}")
    with stand.proxy.client() as client:
        client.send(b"".join(client.head("GET", f"/many/{n % 3}") for n in range(600)))
        for n in range(600):
            response = client.response()
            assert (response.cache, response.body) == ("HIT", b"%d" % (n % 3) * (n % 3 + 1))


@pytest.mark.parametrize(
    "turns", [["small"], ["small", "large"], ["small", "pass", "large", "small"]], ids="-".join
)
def test_answers_to_one_who_does_not_read_keep_their_order(stand: Stand, turns: list[str]) -> None:
    """Whether the kernel takes them whole, in part or not at all; each request comes on its own."""
    sizes = {"small": 15_000, "large": 40_000, "pass": 10_000}
    path = "/order/" + "-".join(turns)
    for n, kind in enumerate(turns):
        body = b"%d" % n * sizes[kind]
        passed = answer("200 OK", {"Cache-Control": "no-store"}, body)
        stand.origin.on(f"{path}/{n}", passed if kind == "pass" else fresh(body))
        stand.proxy.get(f"{path}/{n}")
    count = 400
    with stand.proxy.client(receive_buffer=4096) as client:
        for at in range(count):
            client.send(client.head("GET", f"{path}/{at % len(turns)}"))
            stand.proxy.barrier()
        for at in range(count):
            n = at % len(turns)
            assert client.response().body == b"%d" % n * sizes[turns[n]]


def test_a_hit_does_not_overtake_what_waits_to_leave(
    start_proxy: StartProxy, origin: ScriptedOrigin, socket_path: Path
) -> None:
    """Where the client reads a little, the kernel has room before the transport has used it."""
    proxy = start_proxy("--unix-socket", str(socket_path))
    bodies = [b"%d" % n * 15_000 for n in range(3)]
    for n, body in enumerate(bodies):
        origin.on(f"/{n}", fresh(body))
        proxy.get(f"/{n}")
    for unread in range(1, 26):
        with RawClient(str(socket_path)) as client:
            for at in range(unread + 6):
                client.send(client.head("GET", f"/{at % 3}"))
                proxy.barrier()
                if at >= unread:
                    client.stream.buffer += client.sock.recv(15_000)
            for at in range(unread + 6):
                assert client.response().body == bodies[at % 3]


def test_small_and_large_hits_in_one_packet(stand: Stand) -> None:
    sizes = [10, 20_000, 16_384, 16_385, 0]
    for size in sizes:
        stand.origin.on(f"/sized/{size}", fresh(bytes(size)))
        stand.proxy.get(f"/sized/{size}")
    asked = [(method, size) for size in sizes * 5 for method in ("GET", "HEAD")]
    with stand.proxy.client() as client:
        client.send(b"".join(client.head(method, f"/sized/{size}") for method, size in asked))
        for method, size in asked:
            response = client.response(method)
            assert (response.cache, response.size) == ("HIT", size if method == "GET" else 0)


def test_a_hit_waits_for_the_slow_answer_before_it(stand: Stand) -> None:
    asked, released = threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> None:
        asked.set()
        exchange.wait(released, "the test")
        exchange.send(answer("200 OK", {}, b"slow"))

    stand.origin.on("/slow", slow)
    stand.origin.on("/quick", fresh(b"quick"))
    stand.proxy.get("/quick")
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/slow") + client.head("GET", "/quick"))
        assert asked.wait(10), "the slow request did not reach the origin"
        stand.proxy.barrier()
        assert not client.stream.buffer
        released.set()
        assert [client.response().body for _ in range(2)] == [b"slow", b"quick"]


def test_nothing_after_connection_close_is_answered(stand: Stand) -> None:
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/last", {"Connection": "close"}))
        client.send(client.head("GET", "/after-the-last"))
        response = client.response()
        assert response.body == b"/last" and response.fields["connection"].lower() == "close"
        client.expect_closed()
    assert stand.proxy.get("/last").status == 200
    assert not stand.origin.seen("/after-the-last")


@pytest.mark.parametrize(
    "version, fields, persists",
    [
        ("1.1", {}, True),
        ("1.1", {"Connection": "keep-alive"}, True),
        ("1.1", {"Connection": "close"}, False),
        ("1.1", {"Connection": "x, Close"}, False),
        ("1.1", {"Connection": "close, keep-alive"}, False),
        ("1.0", {}, False),
        ("1.0", {"Connection": "Keep-Alive"}, True),
        ("1.0", {"Connection": "close"}, False),
    ],
)
@pytest.mark.parametrize("target", ["/persist/hit", "/persist/pass"])
def test_persistence(
    stand: Stand, version: str, fields: dict[str, str], persists: bool, target: str
) -> None:
    """RFC 9112 9.3, for hits and for forwarded requests."""
    stand.origin.on("/persist/hit", fresh(b"x"))
    stand.proxy.get("/persist/hit")
    with stand.proxy.client() as client:
        client.send(client.head("GET", target, fields, version=version))
        response = client.response()
        assert response.status == 200
        options = (response.fields.get("connection") or "").lower()
        assert ("close" in options) == (not persists)
        assert version == "1.1" or ("keep-alive" in options) == persists
        if persists:
            assert client.get("/persist/again").status == 200
        else:
            client.expect_closed()


def test_http_1_0_without_a_host_is_served(stand: Stand) -> None:
    with stand.proxy.client() as client:
        client.send(b"GET /old HTTP/1.0\r\n\r\n")
        response = client.response()
        assert (response.status, response.body) == (200, b"/old")
        client.expect_closed()


def test_a_half_closed_client_gets_its_answer(stand: Stand) -> None:
    released = threading.Event()

    def slow(exchange: Exchange) -> None:
        exchange.wait(released, "the proxy to see the end of the client's side")
        exchange.send(answer("200 OK", {}, b"after all"))

    stand.origin.on("/half", slow)
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/half"))
        client.half_close()
        stand.proxy.barrier()
        released.set()
        assert client.response().body == b"after all"
        client.expect_closed()


@pytest.mark.parametrize("ending", ["in a head", "in a body", "in a chunk"])
def test_a_half_close_inside_a_request_is_never_a_complete_request(
    stand: Stand, ending: str
) -> None:
    target = f"/half-inside/{ending.split()[-1]}"
    with stand.proxy.client() as client:
        if ending == "in a head":
            client.send(client.head("GET", target)[:-2])
        elif ending == "in a body":
            client.send(client.head("POST", target, {"Content-Length": "5"}) + b"hel")
        else:
            client.send(client.head("POST", target, {"Transfer-Encoding": "chunked"}))
            client.send(b"5\r\nhel")
        client.half_close()
        response = client.refusal()
        assert response is None or 400 <= response.status < 500
    assert stand.proxy.get("/half-inside").status == 200
    for connection, request in zip(stand.origin.served_on, stand.origin.requests, strict=True):
        if request.target == target:
            connection.wait_closed()
            assert request.body == b"" and stand.origin.cut_requests


# --- any split of the same bytes ------------------------------------------------------------------


def test_leading_empty_lines_are_ignored(stand: Stand) -> None:
    """RFC 9112 2.2: at least one; some clients send one after a body."""
    with stand.proxy.client() as client:
        client.send(b"\r\n" + client.head("GET", "/leading"))
        assert client.response().body == b"/leading"
        client.send(b"\r\n" + client.head("GET", "/leading"))
        assert client.response().body == b"/leading"


def test_a_head_split_at_every_position(stand: Stand) -> None:
    stand.origin.on("/split/hit", fresh(b"stored"))
    stand.proxy.get("/split/hit")
    with stand.proxy.client() as client:
        for target, body in (("/split/hit", b"stored"), ("/split/pass", b"/split/pass")):
            head = client.head("GET", target, {"Accept-Encoding": "gzip"})
            stand.origin.on("/split/hit", fresh(b"stored"))
            for position in range(1, len(head)):
                client.send(head[:position])
                stand.proxy.barrier()
                client.send(head[position:])
                assert client.response().body == body, head[:position]


@pytest.mark.parametrize("target", ["/bytewise/hit", "/bytewise/pass"])
def test_a_head_sent_byte_by_byte(stand: Stand, target: str) -> None:
    stand.origin.on("/bytewise/hit", fresh(b"/bytewise/hit"))
    stand.proxy.get("/bytewise/hit")
    with stand.proxy.client() as client:
        for value in client.head("GET", target):
            client.send(bytes([value]))
            stand.proxy.barrier()
        assert client.response().body == target.encode()


def test_a_chunked_body_sent_byte_by_byte(stand: Stand) -> None:
    body = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
    with stand.proxy.client() as client:
        client.send(client.head("POST", "/bytewise/body", {"Transfer-Encoding": "chunked"}))
        for value in body:
            client.send(bytes([value]))
            stand.proxy.barrier()
        assert client.response("POST").status == 200
        assert client.get("/bytewise/next").body == b"/bytewise/next"
    assert stand.origin.seen("/bytewise/body")[0].body == b"hello world"


def test_two_requests_split_at_every_position(stand: Stand) -> None:
    """The end of one request and the beginning of the next, in every possible packet."""
    with stand.proxy.client() as client:
        one = client.head("POST", "/two/a", {"Content-Length": "3"}) + b"abc"
        both = one + client.head("GET", "/two/b")
        for position in range(len(one) - 6, len(one) + 20):
            client.send(both[:position])
            stand.proxy.barrier()
            client.send(both[position:])
            assert client.response("POST").body == b"/two/a"
            assert client.response().body == b"/two/b"
