"""What the hit lane's scan accepts, llhttp accepts with the same meaning (RFC 9112 2 to 7).

The scan may leave a message to llhttp; it may never read one differently. Heads are generated
from the grammar, then mutated octet by octet; llhttp is asked directly, as an oracle of its own.
"""

from __future__ import annotations

import re

import httptools
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from caching_proxy.http.head import RequestHead, parse_request, scan_request

CASES = settings(
    max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)

TARGETS = [
    b"/", b"/a", b"/a?b=c", b"//", b"/a//b?c?d", b"/%41%zz", b"/a;b=c", b"/a#b", b"/a b", b"/\x7f",
    b"/\xff", b"*", b"http://a/b", b"a", b"", b"/a\tb", b"/\x00", b"/a|{}[]\"<>\\^`",
]  # fmt: skip
NAMES = [
    b"Host", b"host", b"HOST", b"Accept", b"Accept-Encoding", b"Accept-Language", b"Connection",
    b"User-Agent", b"Cookie", b"If-None-Match", b"If-Modified-Since", b"Content-Length",
    b"Transfer-Encoding", b"Expect", b"Upgrade", b"Range", b"Authorization", b"Cache-Control",
    b"TE", b"Trailer", b"X", b"X-Y", b"Proxy-Connection", b"Keep-Alive", b"Pragma", b"If-Match",
    b"", b"Ho st", b"Host ", b" Host", b"H\x00st", b"Caf\xe9", b"A:B", b"!#$%&'*+-.^_`|~", b"(",
]  # fmt: skip
VALUES = [
    b"a", b"example.com", b"example.com:80", b"[::1]:80", b"", b" ", b"keep-alive", b"close",
    b"Keep-Alive, x", b"upgrade", b"chunked", b"0", b"5", b"5, 5", b"identity", b"100-continue",
    b"gzip, br;q=0.5", b"*/*", b'"v1", W/"v2"', b"a\tb", b"\t a \t", b"\xe9\xff", b"a\x00b",
    b"a\rb", b"a\nb", b"a\r\n b", b"\x7f", b"\x01", b"a b:c", b"a/b", b"a,b", b"user@host", b"a:b",
    b"bytes=0-1", b"no-cache", b"Wed, 01 Jan 2025 00:00:00 GMT", b"x" * 300,
]  # fmt: skip
VERSIONS = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 "]
METHODS = [b"GET"] * 8 + [b"HEAD"] * 4 + [b"POST", b"get", b"GETX", b"G", b"", b"PURGE", b"CONNECT"]
ENDS = [b"\r\n"] * 30 + [b"\n", b"\r", b"\r\r\n", b" \r\n", b"\n\r\n"]
COLONS = [b": "] * 20 + [b":", b":\t", b" : ", b"", b":  ", b":\r\n "]

field_lines = st.builds(
    lambda *parts: b"".join(parts),
    st.sampled_from(NAMES) | st.binary(max_size=5),
    st.sampled_from(COLONS),
    st.sampled_from(VALUES) | st.binary(max_size=12),
    st.sampled_from(ENDS),
)
request_lines = st.builds(
    lambda method, target, version, end: method + b" " + target + b" " + version + end,
    st.sampled_from(METHODS),
    st.sampled_from(TARGETS) | st.binary(max_size=8).map(lambda octets: b"/" + octets),
    st.sampled_from(VERSIONS),
    st.sampled_from(ENDS),
)
plain_hosts = st.sampled_from([b"Host: example.com\r\n"] * 9 + [b""])
heads = st.builds(
    lambda line, host, lines, end, rest: line + host + b"".join(lines) + end + rest,
    request_lines,
    plain_hosts,
    st.lists(field_lines, max_size=6),
    st.sampled_from([b"\r\n"] * 15 + [b"", b"\n", b"\r", b"\r\n\r\n"]),
    st.sampled_from(
        [b""] * 4 + [b"GET / HTTP/1.1\r\nHost: b\r\n\r\n", b"x", b"\x00", b"0\r\n\r\n"]
    ),
)
PLAIN = (
    b"GET /products/1?a=b HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test/1.0\r\n"
    b"Accept: */*\r\nAccept-Encoding: gzip, br\r\n"
    b'If-None-Match: "v1"\r\nConnection: keep-alive\r\n\r\n'
)
mutations = st.lists(
    st.tuples(
        st.integers(0, len(PLAIN) - 1),
        st.sampled_from(["replace", "insert", "delete"]),
        st.sampled_from(b'\x00\t\n\r :,;/\x7f\x80\xff\x0b\x0cA0"%#?') | st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)


class Oracle:
    """One head as llhttp reads it."""

    def __init__(self, data: bytes) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.body = b""
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(data)
        self.method = self._parser.get_method()
        self.version = self._parser.get_http_version()
        self.keep_alive = self._parser.should_keep_alive()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.rstrip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def _check(data: bytes) -> bool:
    """Compare when the scan accepts; tell whether it did."""
    head = scan_request(data)
    if head is None:
        return False
    one = data[: head.size]
    assert one.endswith(b"\r\n\r\n")
    oracle = Oracle(one)
    assert oracle.complete, "llhttp waits for more: the scan saw an end where there is none"
    assert oracle.body == b""
    _same(head, oracle)
    _plain(head)
    _same(parse_request(one), oracle)
    return True


def _same(head: RequestHead, oracle: Oracle) -> None:
    assert (head.method, head.target) == (oracle.method, oracle.target)
    assert list(head.fields.items()) == oracle.fields
    assert head.keep_alive == oracle.keep_alive
    assert oracle.version == "1.1"


def _plain(head: RequestHead) -> None:
    """What the hit lane promises beyond llhttp: the rules that llhttp leaves to us."""
    assert head.method in (b"GET", b"HEAD")
    assert re.fullmatch(rb"/[\x21-\x7e]*", head.target) and b"#" not in head.target
    names = [name.lower() for name, _ in head.fields.items()]
    assert names.count(b"host") == 1
    assert not {b"content-length", b"transfer-encoding", b"upgrade", b"expect"} & set(names)
    for name, value in head.fields.items():
        assert re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name)
        assert re.fullmatch(rb"[\t\x20-\x7e\x80-\xff]*", value)


@CASES
@given(heads)
@example(PLAIN)
def test_generated_heads(data: bytes) -> None:
    _check(data)


@CASES
@given(mutations)
def test_mutated_heads(changes: list[tuple[int, str, int]]) -> None:
    data = bytearray(PLAIN)
    for position, kind, octet in changes:
        if kind == "insert":
            data.insert(position, octet)
        elif kind == "delete":
            del data[min(position, len(data) - 1)]
        else:
            data[min(position, len(data) - 1)] = octet
    _check(bytes(data))


def test_every_octet_at_every_position() -> None:
    """Exhaustive: one octet replaced, 256 values at each position."""
    accepted = 0
    for position in range(len(PLAIN)):
        for octet in range(256):
            data = bytearray(PLAIN)
            data[position] = octet
            accepted += _check(bytes(data))
    assert accepted > len(PLAIN), "the scan accepts nearly nothing: nothing was compared"


@pytest.mark.parametrize("size", range(len(PLAIN)))
def test_an_unfinished_head_is_never_accepted(size: int) -> None:
    assert scan_request(PLAIN[:size]) is None


def test_the_plain_head_takes_the_lane() -> None:
    """Without this the comparison could pass because nothing is accepted."""
    for host in (b"a", b"example.com:80", b"127.0.0.1:65535"):
        for data in (PLAIN, PLAIN.replace(b"GET", b"HEAD")):
            data = data.replace(b"example.com", host)
            assert _check(data), host
            assert _check(data + data), "pipelined"


LEFT_TO_LLHTTP = [
    PLAIN.replace(b"GET", b"POST"),
    PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    PLAIN.replace(b"Host: example.com\r\n", b""),
    PLAIN.replace(b"Host: example.com\r\n", b"Host: example.com\r\n" * 2),
    PLAIN.replace(b"example.com", b"exam ple"),
    PLAIN.replace(b"example.com", b"a@b"),
    PLAIN.replace(b"example.com", b""),
    PLAIN.replace(b"Accept: */*", b"Content-Length: 5"),
    PLAIN.replace(b"Accept: */*", b"Transfer-Encoding: chunked"),
    PLAIN.replace(b"Accept: */*", b"Expect: 100-continue"),
    PLAIN.replace(b"Accept: */*", b"Upgrade: h2c"),
    PLAIN.replace(b"\r\nAccept: ", b"\r\n Accept: "),
    PLAIN.replace(b"\r\nAccept: ", b"\nAccept: "),
]


@pytest.mark.parametrize("data", LEFT_TO_LLHTTP, ids=repr)
def test_what_is_not_plain_is_left_alone(data: bytes) -> None:
    assert scan_request(data) is None
