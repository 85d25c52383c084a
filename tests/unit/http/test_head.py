"""Heads: the scan and llhttp's lane."""

from __future__ import annotations

import pytest

from caching_proxy.http import problems
from caching_proxy.http.head import (
    first_response,
    head_end,
    parse_request,
    parse_response,
    scan_request,
    scan_response,
)
from caching_proxy.http.problems import OriginFailed, Problem, RequestRefused


def request(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


PLAIN = request(
    b"GET /a?b=c HTTP/1.1", b"Host: example.com:80", b"Accept:  text/html \t", b"Empty:"
)


def test_plain_request_both_ways() -> None:
    for head in (scan_request(PLAIN + b"GET"), parse_request(PLAIN)):
        assert head is not None
        assert (head.method, head.target, head.host) == (b"GET", b"/a?b=c", b"example.com:80")
        assert head.fields.items() == [
            (b"Host", b"example.com:80"),
            (b"Accept", b"text/html"),
            (b"Empty", b""),
        ]
        assert (head.minor, head.keep_alive, head.chunked, head.content_length) == (
            1,
            True,
            False,
            -1,
        )
        assert head.size == len(PLAIN)


@pytest.mark.parametrize(
    "head",
    [
        request(b"POST / HTTP/1.1", b"Host: a"),
        request(b"GET / HTTP/1.0", b"Host: a"),
        request(b"GET http://a/ HTTP/1.1", b"Host: a"),
        request(b"GET /#x HTTP/1.1", b"Host: a"),
        request(b"GET / HTTP/1.1"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Host: a"),
        request(b"GET / HTTP/1.1", b"Host: a:"),
        request(b"GET / HTTP/1.1", b"Host: a:65536"),
        request(b"GET / HTTP/1.1", b"Host: a@b"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Content-Length: 0"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Expect: 100-continue"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Connection: close"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Upgrade: h2c"),
        request(b"GET / HTTP/1.1", b"Host: a", b"Accept: a", b"Accept: b"),
        PLAIN[:-1],
        b"GET",
        b"",
    ],
)
def test_what_the_scan_leaves_to_llhttp(head: bytes) -> None:
    assert scan_request(head) is None


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (request(b"GET  / HTTP/1.1", b"Host: a"), problems.REQUEST_LINE),
        (request(b"GET / HTTP/2.0", b"Host: a"), problems.HTTP_VERSION),
        (request(b"GET / HTTP/1.2", b"Host: a"), problems.HTTP_VERSION),
        (request(b"SPLIT / HTTP/1.1", b"Host: a"), problems.METHOD_UNKNOWN),
        (request(b"GET / HTTP/1.1"), problems.HOST_COUNT),
        (request(b"GET / HTTP/1.1", b"Host: a", b"Host: a"), problems.HOST_COUNT),
        (request(b"GET / HTTP/1.1", b"Host: a b"), problems.HOST_SYNTAX),
        (request(b"GET * HTTP/1.1", b"Host: a"), problems.REQUEST_LINE),
        (request(b"GET /#a HTTP/1.1", b"Host: a"), problems.REQUEST_LINE),
        (
            request(b"GET / HTTP/1.1", b"Host: a", b"Transfer-Encoding: gzip, chunked"),
            problems.TRANSFER_CODING,
        ),
        (request(b"GET / HTTP/1.0", b"Transfer-Encoding: chunked"), problems.FRAMING),
        (request(b"GET / HTTP/1.1", b"Host: a", b"Expect: more"), problems.EXPECTATION),
        (request(b"GET / HTTP/1.1", b"Host: a", b"X : b"), problems.MALFORMED_REQUEST),
    ],
)
def test_refused(head: bytes, problem: Problem) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_request(head)
    assert refused.value.problem is problem


def test_connection_names_fields_but_no_framing() -> None:
    """RFC 9110 7.6.1."""
    head = parse_request(
        request(
            b"POST / HTTP/1.1",
            b"Host: a",
            b"Content-Length: 3",
            b"X-Mine: 1",
            b"Connection: x-mine, Content-Length, host",
        )
    )
    assert head.fields.values(b"x-mine") == []
    assert head.fields.values(b"host") == [b"a"]
    assert head.content_length == 3


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"keep-alive, Close", False),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
    ],
)
def test_keep_alive(version: bytes, connection: bytes, kept: bool) -> None:
    """RFC 9112 9.3."""
    lines = [b"Connection: " + connection] if connection else []
    head = parse_request(request(b"GET / HTTP/" + version, b"Host: a", *lines))
    assert head.keep_alive is kept


RESPONSE = request(b"HTTP/1.1 200 All right", b"Content-Length: 12", b"A: b")


def test_plain_response_both_ways() -> None:
    for head in (scan_response(RESPONSE + b"body"), parse_response(RESPONSE)):
        assert head is not None
        assert (head.status, head.reason, head.content_length) == (200, b"All right", 12)
        assert head.fields.items() == [(b"Content-Length", b"12"), (b"A", b"b")]
        assert (head.minor, head.keep_alive, head.chunked, head.size) == (
            1,
            True,
            False,
            len(RESPONSE),
        )


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 1", b"Content-Length: 2"),
        (b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        (b"Content-Length: -1",),
        (b"Content-Length: 1, 1",),
        (b"Content-Length: 99999999999999999999",),
        (b"Transfer-Encoding: gzip",),
        (b"Transfer-Encoding: chunked, chunked",),
        (b"A : b",),
        (b"A: b", b" c"),
    ],
)
def test_responses_that_cannot_be_framed(lines: tuple[bytes, ...]) -> None:
    head = request(b"HTTP/1.1 200 OK", *lines)
    assert scan_response(head) is None
    with pytest.raises(OriginFailed):
        parse_response(head)


def test_head_end() -> None:
    for at in range(len(PLAIN)):
        assert head_end(PLAIN[:at]) == 0
        assert head_end(PLAIN + b"more", at) == len(PLAIN)
    for bad in (b"GET / HTTP/1.1\n", b"a\rb", b"a\0", b"\n"):
        assert head_end(bad) == -1


@pytest.mark.parametrize("head", [RESPONSE, RESPONSE.replace(b"HTTP/1.1", b"HTTP/1.0")])
def test_the_first_response(head: bytes) -> None:
    """Both lanes find it, whatever was there of it before; and not what is too long."""
    for seen in range(len(head)):
        assert first_response(head[:seen], 0, len(head)) is None
        found = first_response(head + head, seen, len(head))
        assert found is not None
        assert found.size == len(head)
    with pytest.raises(OriginFailed) as failed:
        first_response(head, 0, len(head) - 1)
    assert failed.value.problem is problems.ORIGIN_HEAD_TOO_LARGE


@pytest.mark.parametrize("data", [b"SSH-2.0", b"HTTP/2", b"HTTP/1.1 200 OK\nA: b", b"\r\n"])
def test_what_is_no_beginning_of_a_response(data: bytes) -> None:
    with pytest.raises(OriginFailed) as failed:
        first_response(data, 0, 1000)
    assert failed.value.problem is problems.ORIGIN_MALFORMED
