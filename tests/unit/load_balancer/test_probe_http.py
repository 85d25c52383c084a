"""One health check with HTTP: what is asked, and what is made of the answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from caching_proxy.load_balancer.answer import BODY_READ
from caching_proxy.load_balancer.probe import HealthCheck
from tests.unit.load_balancer.scripted_server import (
    OK,
    SHORT,
    Connection,
    asked,
    in_pieces,
    never_answers,
    refusing,
    serving,
)

# --- what is asked --------------------------------------------------------------------------------


async def test_the_request() -> None:
    async with serving(OK) as server:
        check = {"method": "OPTIONS", "path": "/a/../%7Eb?c=%20d&e", "host": "www.example"}
        assert await asked(server, **check) == ""
    lines = server.requests[0].decode().splitlines()
    assert lines[0] == "OPTIONS /a/../%7Eb?c=%20d&e HTTP/1.1"
    assert [line for line in lines if line.startswith("Host:")] == ["Host: www.example"]
    assert "Accept-Encoding: identity" in lines
    assert not [line for line in lines if line.startswith("Cookie")]


async def test_the_host_is_the_address_where_none_is_given() -> None:
    async with serving(OK, host="::1") as server:
        assert await asked(server) == ""
    assert f"Host: [::1]:{server.addresses[0][1]}\r\n".encode() in server.requests[0]


async def test_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(OK) as server:
        with refusing() as (host, port):
            monkeypatch.setenv("http_proxy", f"http://{host}:{port}")
            assert await asked(server, host="www.example") == ""


# --- what is answered -----------------------------------------------------------------------------


def response(status: str, *fields: str, body: bytes = b"") -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields)
    return "\r\n".join((*lines, "", "")).encode() + body


@pytest.mark.parametrize(
    ("status", "statuses", "why"),
    [
        ("200 OK", ("2xx", "3xx"), ""),
        ("399 Odd", ("2xx", "3xx"), ""),
        ("404 Not Found", ("2xx", "3xx"), "status 404"),
        ("503 No", ("2xx", "3xx"), "status 503"),
        ("404 Not Found", ["404"], ""),
        ("405 No", ["404", "2xx"], "status 405"),
        ("101 Switching", ["2xx"], "status 101"),
    ],
)
async def test_statuses(status: str, statuses: Any, why: str) -> None:
    async with serving(response(status)) as server:
        assert await asked(server, statuses=statuses) == why


async def test_no_redirect_is_followed_and_no_cookie_kept() -> None:
    async with serving(response("302 Found", "Location: /there", "Set-Cookie: a=b")) as server:
        assert await asked(server) == ""
        assert await asked(server, statuses=["2xx"]) == "status 302"
    assert [request.split()[1] for request in server.requests] == [b"/", b"/"]
    assert b"a=b" not in server.requests[1]


async def test_head() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n") as server:
        assert await asked(server, method="HEAD") == ""


def test_head_has_no_body() -> None:
    with pytest.raises(ValueError, match="an answer to HEAD has no body to find"):
        HealthCheck("http", method="HEAD", body="ok")


async def test_interim_answers() -> None:
    async with serving(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + OK) as server:
        assert await asked(server) == ""


@pytest.mark.parametrize(
    ("content", "text", "found"),
    [
        (b"all is ok, really", "ok", True),
        (b"all is well", "ok", False),
        (b"", "ok", False),
        ("schön".encode(), "schön", True),
        (bytes(BODY_READ - 2) + b"ok", "ok", True),
        (bytes(BODY_READ - 1) + b"ok", "ok", False),
        (bytes(BODY_READ) + b"ok", "ok", False),
    ],
)
async def test_bodies(content: bytes, text: str, found: bool) -> None:
    async with serving(response("200 OK", body=content)) as server:
        assert await asked(server, body=text) == ("" if found else f"the body lacks {text!r}")


async def test_a_body_is_taken_as_it_comes() -> None:
    content = response("200 OK", "Content-Encoding: gzip", body=b"ok, but compressed it is not")
    async with serving(content) as server:
        assert await asked(server, body="ok") == ""


async def test_a_text_that_comes_in_pieces() -> None:
    async def letter_by_letter(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for letter in b"it is alive, it is":
            await connection.send_alone(b"1\r\n%c\r\n" % letter)
        await connection.ended()  # of a body that has no end

    async with serving(letter_by_letter) as server:
        assert await asked(server, body="alive") == ""


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
async def test_a_text_across_chunks(piece: int) -> None:
    """However the answer is cut: its head, its text, the sizes of its chunks."""
    content = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nit\r\n5;a=b\r\n is a\r\n004\r\nlive\r\n0\r\nT: not alive\r\n\r\n"
    )
    async with serving(in_pieces(content, piece)) as server:
        assert await asked(server, body="it is alive") == ""
        assert await asked(server, body="not alive") == "the body lacks 'not alive'"


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.0 200 OK\r\n\r\nall is ok", b"HTTP/1.1 200\r\n\r\nall is ok"]
)
async def test_a_body_that_ends_with_the_connection(answer: bytes) -> None:
    async with serving(answer) as server:
        assert await asked(server, body="ok") == ""
        assert await asked(server, body="bad") == "the body lacks 'bad'"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_a_status_without_a_body(status: str) -> None:
    async with serving(f"HTTP/1.1 {status}\r\n\r\nok".encode()) as server:
        assert await asked(server, body="ok") == "the body lacks 'ok'"


async def endless_body(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await connection.send(bytes(5000))


async def test_a_body_without_end() -> None:
    async with serving(endless_body) as server:
        assert await asked(server) == ""
        assert await asked(server, body="ok") == "the body lacks 'ok'"


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
    ],
)
async def test_a_body_that_breaks_off(cut: bytes) -> None:
    async with serving(cut) as server:
        assert await asked(server, body="some") == ""
        assert await asked(server, body="thing") == "the body breaks off"


async def test_a_body_whose_connection_is_reset() -> None:
    """A reset is no end, even where the end of the connection is one."""

    async def reset(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
        connection.reset()

    async with serving(reset) as server:
        assert await asked(server, body="some") == ""
        assert await asked(server, body="thing") == "the body breaks off"


@pytest.mark.parametrize("chunks", [b"zz\r\nok\r\n", b"2\r\nokXX", b"\r\n", b"-2\r\nok\r\n"])
async def test_a_body_in_broken_chunks(chunks: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(head + chunks) as server:
        assert await asked(server, body="good") == "the answer is not HTTP"


# --- what is no answer ----------------------------------------------------------------------------


async def slow_head(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        await connection.send(b"x")
        await asyncio.sleep(0.005)


async def interim_answers_alone(connection: Connection) -> None:
    await connection.request()
    while True:
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.005)


async def half_a_head(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\nX: ")
    await connection.ended()


async def slow_body(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await connection.send(b"x")
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "script", [never_answers, slow_head, interim_answers_alone, half_a_head, slow_body]
)
async def test_the_timeout_is_of_the_whole_check(script: Any) -> None:
    async with serving(script) as server:
        assert await asked(server, body="ok", timeout=SHORT) == "no answer within 0.1 s"
    assert server.connections <= 1


GARBAGE = {
    "text": b"hello there\r\n\r\n",
    "HTML": b"<html><body>hello</body></html>",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x0a",
    "zeros": bytes(100),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18),
    "status in letters": b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
    "length in words": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "no colon": b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "LF alone": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "length and chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "another coding": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
    "chunks in HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_is_not_http(garbage: bytes) -> None:
    async with serving(garbage) as server:
        assert await asked(server) == "the answer is not HTTP"
    assert server.connections == 1


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nX"])
async def test_the_connection_ends_before_the_answer_does(sent: bytes) -> None:
    async with serving(sent) as server:
        assert await asked(server) == "closed without an answer"
    assert server.connections == 1  # and no second attempt


async def test_the_connection_is_reset() -> None:
    async def reset(connection: Connection) -> None:
        """What is unread makes a reset of a close."""
        await connection.reader.read(1)
        connection.writer.transport.abort()

    async with serving(reset) as server:
        why = await asked(server, path="/" + "a" * 8000)
        assert why in ("connection reset by peer", "closed without an answer")
    assert server.connections == 1
