from __future__ import annotations

from ipaddress import ip_network

import pytest

from caching_proxy.http.forwarding import TrustedNetworks, forwarding_lines
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


def test_what_a_trusted_peer_says_is_kept() -> None:
    assert forwarding_lines("10.0.0.1", "http", True, CAME, b"inner.example") == (
        b"X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\n"
        b"X-Forwarded-Proto: https\r\n"
        b"Forwarded: for=203.0.113.7;proto=https, for=10.0.0.1;proto=http;host=inner.example\r\n"
        b"X-Forwarded-Host: shop.example\r\n"
    )


def test_the_host_that_a_trusted_peer_gives_is_kept_only_where_hosts_are_told() -> None:
    assert b"X-Forwarded-Host" not in forwarding_lines("10.0.0.1", "http", True, CAME, None)


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
