from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.http.target import (
    normalise_target,
    remove_dot_segments,
    same_authority,
    split_absolute,
    valid_authority,
)

LONG = 32 * 1024


@pytest.mark.parametrize(
    ("target", "normal"),
    [
        (b"/", b"/"),
        (b"/a/b?c=d", b"/a/b?c=d"),
        (b"/a/./b/../c", b"/a/c"),
        (b"/a/b/..", b"/a/"),
        (b"/a/b/.", b"/a/b/"),
        (b"/..", b"/"),
        (b"/../../a", b"/a"),
        (b"/a//../b", b"/a/b"),
        (b"/a//b", b"/a//b"),
        (b"//a", b"//a"),
        (b"/.hidden/..x/...", b"/.hidden/..x/..."),
        (b"/a/%2e%2E/b", b"/b"),
        (b"/a/.%2e/b", b"/b"),
        (b"/a%2fb", b"/a%2Fb"),
        (b"/a/..%2fb", b"/a/..%2Fb"),
        (b"/%41%7e%5f%2D%30", b"/A~_-0"),
        (b"/%c3%a9", b"/%C3%A9"),
        (b"/%252e%252e/a", b"/%252e%252e/a"),
        (b"/a?b=%7e&c=%2f&d=../e/./f", b"/a?b=~&c=%2F&d=../e/./f"),
        (b"/a?b?/../c", b"/a?b?/../c"),
        (b"/a/?", b"/a/?"),
        (b"/../%zz", b"/../%zz"),
        (b"/../%4", b"/../%4"),
        (b"/%%34%31", b"/%%34%31"),
        (b"*", b"*"),
        (b"", b""),
        (b"http://h/a/../b", b"http://h/a/../b"),
    ],
)
def test_normal_form(target: bytes, normal: bytes) -> None:
    assert normalise_target(target) == normal


SEGMENTS = st.sampled_from(
    [b"a", b".", b"..", b"%2e", b"%2E.", b"", b"%41", b"%2f", b"%", b"?", b"%25"]
)


@given(st.one_of(st.lists(SEGMENTS).map(b"/".join), st.binary()).map(lambda text: b"/" + text))
def test_the_normal_form_is_its_own(target: bytes) -> None:
    normal = normalise_target(target)
    assert normal.startswith(b"/")
    assert normalise_target(normal) == normal


@pytest.mark.parametrize("part", [b"/..", b"/a", b"/.", b"%2e", b"/%2e%2e", b"/"])
def test_long_targets(part: bytes) -> None:
    target = b"/" + part * (LONG // len(part))
    assert len(normalise_target(target)) <= len(target)


def test_dot_segments_of_rfc_3986() -> None:
    assert remove_dot_segments(b"/a/b/c/./../../g") == b"/a/g"


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"http://a.example/b?c", (b"http", b"a.example", b"/b?c")),
        (b"HTTPS://A.example:8443/", (b"https", b"A.example:8443", b"/")),
        (b"http://a.example", (b"http", b"a.example", b"/")),
        (b"http://a.example?b/c", (b"http", b"a.example", b"/?b/c")),
        (b"http://u:p@a.example/", (b"http", b"u:p@a.example", b"/")),
        (b"http:///b", (b"http", b"", b"/b")),
        (b"ftp://a/b", (b"ftp", b"a", b"/b")),
        (b"/a", None),
        (b"*", None),
        (b"a.example:443", None),
        (b"http:/a", None),
        (b"1http://a/", None),
        (b"http://a#b", None),
    ],
)
def test_absolute_form(target: bytes, parts: tuple[bytes, bytes, bytes] | None) -> None:
    assert split_absolute(target) == parts


@pytest.mark.parametrize(
    "authority",
    [
        b"example.com",
        b"EXAMPLE.com:80",
        b"example.com:",
        b"example.com:0",
        b"example.com:65535",
        b"a_b-c~d.e",
        b"a%20b",
        b"!$&'()*+;=",
        b"192.0.2.1:8080",
        b"999.999.999.999",
        b"[::1]",
        b"[2001:DB8::1]:443",
        b"[::ffff:192.0.2.1]",
    ],
)
def test_valid_authorities(authority: bytes) -> None:
    assert valid_authority(authority)


@pytest.mark.parametrize(
    "authority",
    [
        b"",
        b":80",
        b"a b",
        b"a, b",
        b"a\tb",
        b"user@host",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a\\b",
        b"a%2",
        b"a%zz",
        b"a:65536",
        b"a:99999999999999999999",
        b"a:+1",
        b"a:1:2",
        b"::1",
        b"[::1",
        b"[::1]x",
        b"[::1]:x",
        b"[]",
        b"[1.2.3.4]",
        b"[fe80::1%25eth0]",
        b"[v1.a]",
        b"a\xe9",
        b"a\n",
        b'a"b',
    ],
)
def test_invalid_authorities(authority: bytes) -> None:
    assert not valid_authority(authority)
    assert not same_authority(authority, authority, 80)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"example.com", b"example.com", True),
        (b"example.com", b"EXAMPLE.COM:80", True),
        (b"example.com:", b"example.com:80", True),
        (b"example.com:080", b"example.com", True),
        (b"example.com", b"example.com:81", False),
        (b"example.com", b"example.com:0", False),
        (b"example.com", b"example.org", False),
        (b"[::1]", b"[0:0::1]:80", True),
        (b"[::1]", b"[::2]", False),
        (b"example.com", b"user@example.com", False),
    ],
)
def test_same_authority(one: bytes, other: bytes, same: bool) -> None:
    assert same_authority(one, other, 80) is same
    assert same_authority(other, one, 80) is same


@given(st.binary(max_size=40))
def test_any_octets_are_borne(value: bytes) -> None:
    assert same_authority(value, value, 80) is valid_authority(value)
    parts = split_absolute(value)
    assert parts is None or value.lower().startswith(parts[0] + b"://")
