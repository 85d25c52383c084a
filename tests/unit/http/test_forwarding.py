from __future__ import annotations

from ipaddress import ip_network

import pytest

from caching_proxy.http.forwarding import TrustedNetworks, forwarding_lines, told_scheme
from tests.unit.sections import Section

CAME = Section(
    {
        b"x-forwarded-for": b"203.0.113.7",
        b"x-forwarded-proto": b"https",
        b"x-forwarded-host": b"shop.example",
        b"forwarded": b"for=203.0.113.7;proto=https",
    }
)
NOTHING = Section()


@pytest.mark.parametrize(
    ("peer", "address", "node"),
    [
        ("192.0.2.1", b"192.0.2.1", b"192.0.2.1"),
        ("2001:DB8:0::1", b"2001:db8::1", b'"[2001:db8::1]"'),
        ("fe80::1%eth0", b"fe80::1", b'"[fe80::1]"'),
        ("::ffff:192.0.2.1", b"192.0.2.1", b"192.0.2.1"),
        ("", b"unknown", b"unknown"),
    ],
)
def test_the_peer_is_told(peer: str, address: bytes, node: bytes) -> None:
    assert forwarding_lines(peer, "http", False, NOTHING, None) == (
        b"X-Forwarded-For: " + address + b"\r\n"
        b"X-Forwarded-Proto: http\r\n"
        b"Forwarded: for=" + node + b";proto=http\r\n"
    )


@pytest.mark.parametrize(
    ("host", "written"),
    [
        (b"shop.example", b"shop.example"),
        (b"shop.example:8080", b'"shop.example:8080"'),
        (b"[::1]", b'"[::1]"'),
    ],
)
def test_the_host_is_told_where_it_is_given(host: bytes, written: bytes) -> None:
    lines = forwarding_lines("192.0.2.1", "https", False, CAME, host)
    assert lines == (
        b"X-Forwarded-For: 192.0.2.1\r\n"
        b"X-Forwarded-Proto: https\r\n"
        b"Forwarded: for=192.0.2.1;proto=https;host=" + written + b"\r\n"
        b"X-Forwarded-Host: " + host + b"\r\n"
    )


def test_what_an_untrusted_peer_says_is_dropped() -> None:
    assert forwarding_lines("192.0.2.1", "http", False, CAME, None) == forwarding_lines(
        "192.0.2.1", "http", False, NOTHING, None
    )


def test_the_addresses_and_the_scheme_that_a_trusted_peer_tells_are_kept() -> None:
    assert forwarding_lines("10.0.0.1", "http", True, CAME, b"inner.example") == (
        b"X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\n"
        b"X-Forwarded-Proto: https\r\n"
        b"Forwarded: for=203.0.113.7, for=10.0.0.1;proto=https;host=inner.example\r\n"
        b"X-Forwarded-Host: inner.example\r\n"
    )


def test_hosts_that_came_never_go_upstream() -> None:
    came = Section({b"x-forwarded-host": b"evil", b"forwarded": b"host=evil, HOST=evil;for=_a"})
    assert forwarding_lines("10.0.0.1", "http", True, came, None) == (
        b"X-Forwarded-For: 10.0.0.1\r\n"
        b"X-Forwarded-Proto: http\r\n"
        b"Forwarded: for=_a, for=10.0.0.1;proto=http\r\n"
    )


@pytest.mark.parametrize(
    ("came", "nodes"),
    [
        (b"for=a", [b"for=a"]),
        (b'For="[2001:db8::1]:4711" ;\tBy=_b;x=y', [b'by=_b;for="[2001:db8::1]:4711"']),
        (b"for=a, for=b;proto=http,,for=c;", [b"for=a", b"for=b", b"for=c"]),
        (b"proto=https", []),
        (b'for="a, for=b', []),
        (b'for=a, by="\\"', []),
        (b"for=a for=b", []),
        (b"for", []),
        (b";,", []),
        (b'for="' + b'\\"' * 16384, []),
    ],
)
def test_forwarded_is_appended_to_where_it_is_well_formed(came: bytes, nodes: list[bytes]) -> None:
    lines = forwarding_lines("10.0.0.1", "http", True, Section({b"forwarded": came}), None)
    scheme = b"https" if b"https" in came else b"http"
    element = b"for=10.0.0.1;proto=" + scheme
    assert lines.split(b"\r\n")[2] == b"Forwarded: " + b", ".join([*nodes, element])


@pytest.mark.parametrize(
    ("fields", "scheme"),
    [
        ({}, None),
        ({b"x-forwarded-proto": b"HTTPS"}, b"https"),
        ({b"x-forwarded-proto": b"https , http"}, b"https"),
        ({b"x-forwarded-proto": b"ht tp"}, None),
        ({b"x-forwarded-proto": b""}, None),
        ({b"x-forwarded-proto": b"http", b"forwarded": b"proto=https"}, b"http"),
        ({b"forwarded": b"for=a;Proto=HTTPS;host=b, proto=http"}, b"https"),
        ({b"forwarded": b'for=a, proto="https"'}, b"https"),
        ({b"forwarded": b'for="proto=https"'}, None),
        ({b"forwarded": b"xproto=https"}, None),
        ({b"forwarded": b'proto="ht tp"'}, None),
        ({b"forwarded": b'proto=https;"'}, None),
    ],
)
def test_the_scheme_that_is_told(fields: dict[bytes, bytes], scheme: bytes | None) -> None:
    assert told_scheme(Section(fields)) == scheme


def test_empty_fields_of_a_trusted_peer_count_as_absent() -> None:
    empty = Section({b"x-forwarded-for": b"", b"x-forwarded-proto": b"", b"forwarded": b""})
    assert forwarding_lines("10.0.0.1", "http", True, empty, None) == forwarding_lines(
        "10.0.0.1", "http", True, NOTHING, None
    )


@pytest.mark.parametrize(
    ("networks", "peer", "trusted"),
    [
        (["10.0.0.0/8"], "10.1.2.3", True),
        (["10.0.0.0/8"], "11.1.2.3", False),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "10.1.2.3", True),
        (["::ffff:10.0.0.0/104"], "::ffff:11.1.2.3", False),
        (["::/0"], "10.1.2.3", False),
        (["2001:db8::/32", "127.0.0.1/32"], "2001:db8:1::5", True),
        (["2001:db8::/32", "127.0.0.1/32"], "127.0.0.1", True),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["0.0.0.0/0", "::/0"], "", False),
        ([], "127.0.0.1", False),
    ],
)
def test_trusted_networks(networks: list[str], peer: str, trusted: bool) -> None:
    assert (peer in TrustedNetworks(map(ip_network, networks))) is trusted
