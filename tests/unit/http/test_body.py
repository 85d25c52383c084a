"""The framing of bodies: what ours accepts llhttp accepts with the same meaning."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caching_proxy.http.body import BodyDecoder, MalformedBody, response_body
from caching_proxy.http.head import parse_response

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Oracle:
    """llhttp's opinion of one chunked request."""

    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def decoded(data: bytes, *, piece: int = 1 << 30) -> tuple[bytes, int, bool]:
    """Body, octets of `data` used, and whether the message ended, fed `piece` octets at a time."""
    decoder = BodyDecoder.of_chunks()
    body, used = b"", 0
    while used < len(data) and not decoder.complete:
        chunks, end = decoder.decode(data[used : used + piece])
        body += b"".join(chunks)
        used += end
    return body, used, decoder.complete


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1 << 30])
@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"1\r\na\r\n1\r\nb\r\n000\r\n\r\n", b"ab"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"a;x\r\n0123456789\r\n0;y=1\r\n\r\n", b"0123456789"),
        (b'1;x="a;b\\"\r"\r\n'.replace(b'\r"', b'"') + b"z\r\n0\r\n\r\n", b"z"),
        (b"2\r\n\r\n\r\n0\r\nT: v\r\nU:\r\n\r\n", b"\r\n"),
    ],
)
def test_chunks(data: bytes, body: bytes, piece: int) -> None:
    assert decoded(data + b"GET /next", piece=piece) == (body, len(data), True)


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"0x1\r\na\r\n",
        b"1 \r\na\r\n",
        b" 1\r\na\r\n",
        b"1\na\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"1\r\na\r0\r\n\r\n",
        b"1;\r\na\r\n",
        b"1;=x\r\na\r\n",
        b"1;x=\r\na\r\n",
        b"1;x y\r\na\r\n",
        b'1;x="a\r\na\r\n',
        b"1\r\r\na\r\n",
        b"0\r\nT : v\r\n\r\n",
        b"0\r\n: v\r\n\r\n",
        b"0\r\nT: v\n\r\n",
        b"0\r\nT\r\n\r\n",
        b"0\r\n T: v\r\n\r\n",
        b"0\r\n\n",
        b"ffffffffffffffffffff\r\na",
        b"1000000000000000\r\na",
        b"1;" + b"x" * 20000 + b"\r\na\r\n0\r\n\r\n",
        b"0\r\n" + b"T: v\r\n" * 5000 + b"\r\n",
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(MalformedBody):
        decoded(data)
    with pytest.raises(MalformedBody):
        decoded(data, piece=1)


def test_nothing_is_decoded_after_an_error() -> None:
    decoder = BodyDecoder.of_chunks()
    with pytest.raises(MalformedBody):
        decoder.decode(b"x")
    with pytest.raises(MalformedBody):
        decoder.decode(b"1\r\na\r\n0\r\n\r\n")


def test_length() -> None:
    decoder = BodyDecoder.of_length(5)
    assert decoder.decode(b"hel") == ([b"hel"], 3)
    assert not decoder.complete
    assert decoder.decode(b"XloGET /", 1) == ([b"lo"], 3)
    assert decoder.complete
    assert BodyDecoder.of_length(0).complete


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
BARE = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "is_head", "body", "complete"),
    [
        (CHUNKED, False, b"a", True),
        (LENGTH, False, b"1\r", True),
        (BARE, False, b"1\r\na\r\n0\r\n\r\n", False),
        (CHUNKED, True, b"", True),
        (LENGTH, True, b"", True),
        (BARE.replace(b"200 OK", b"204 No"), False, b"", True),
        (LENGTH.replace(b"200 OK", b"304 Not"), False, b"", True),
    ],
)
def test_responses(head: bytes, is_head: bool, body: bytes, complete: bool) -> None:
    """RFC 9112 6.3."""
    decoder = response_body(parse_response(head), is_head)
    pieces, _ = decoder.decode(b"1\r\na\r\n0\r\n\r\n")
    assert (b"".join(pieces), decoder.complete) == (body, complete)


PARTS = [
    b"0",
    b"1",
    b"5",
    b"a",
    b"\r\n",
    b"\r",
    b"\n",
    b";",
    b"x",
    b"=",
    b'"',
    b"\\",
    b" ",
    b"hello",
    b"0\r\n\r\n",
    b":",
    b"T: v\r\n",
]


@settings(max_examples=3000)
@given(
    st.lists(st.sampled_from(PARTS), max_size=14).map(b"".join)
    | st.lists(st.binary(max_size=40), max_size=4).map(
        lambda bodies: b"".join(b"%x\r\n%b\r\n" % (len(b), b) for b in bodies if b) + b"0\r\n\r\n"
    ),
    st.integers(0, 200),
    st.binary(max_size=2),
)
def test_what_is_accepted_llhttp_accepts_too(data: bytes, at: int, noise: bytes) -> None:
    data = data[:at] + noise + data[at:]
    try:
        body, used, complete = decoded(data)
    except MalformedBody:
        return
    if not complete:
        return
    oracle = Oracle()
    httptools.HttpRequestParser(oracle).feed_data(HEAD + data[:used])
    assert (oracle.body, oracle.complete) == (body, True)
