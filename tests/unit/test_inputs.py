"""What people write: as messages quote it, as numbers of any length, as hosts in normal form."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.inputs import BEYOND, ROOM, normal_host, one_line, shown, whole_number
from caching_proxy.setting_kinds import Kind
from caching_proxy.settings import Listener, Origin, Route, Settings


def test_what_is_short_is_quoted_whole() -> None:
    assert shown("x" * 78) == f"'{'x' * 78}'"
    assert (shown(5), shown({}), shown([])) == ("5", "a table", "a list")
    assert one_line("x" * 80) == "x" * 80


def test_what_is_long_is_cut_short() -> None:
    assert shown("x" * 5000) == f"'{'x' * 75}...'"
    assert shown(10**100) == f"1{'0' * 76}..."
    assert one_line("x" * 5000) == f"{'x' * 77}..."


@given(st.text() | st.text(min_size=200) | st.integers() | st.floats())
def test_a_quoted_value_stays_in_its_line(value: Any) -> None:
    for told in (shown(value), one_line(str(value))):
        assert len(told) <= ROOM and told.isprintable()


@given(st.integers(-BEYOND + 1, BEYOND - 1))
def test_a_whole_number_is_read(number: int) -> None:
    assert whole_number(str(number)) == number


@pytest.mark.parametrize("digits", [42, 5000])
def test_a_number_of_too_many_digits_is_beyond_every_bound(digits: int) -> None:
    assert whole_number("9" * digits) == BEYOND


@pytest.mark.parametrize(
    ("host", "normal"),
    [
        ("One.Example", "one.example"),
        ("one.example.", "one.example."),
        ("a_b._c", "a_b._c"),
        ("10.0.0.1", "10.0.0.1"),
        ("[0:0::1]", "::1"),
        ("[2001:DB8:0:0:1:0:0:1]", "2001:db8::1:0:0:1"),
        ("[::ffff:1.2.3.4]", "::ffff:1.2.3.4"),
        ("[::FFFF:102:304]", "::ffff:1.2.3.4"),
        ("a" * 63, "a" * 63),
        (".".join(["a" * 63] * 3 + ["a" * 61]) + ".", ".".join(["a" * 63] * 3 + ["a" * 61]) + "."),
    ],
)
def test_hosts_have_a_normal_form(host: str, normal: str) -> None:
    assert normal_host(host) == normal


@given(st.ip_addresses(v=6), st.booleans())
def test_every_spelling_of_an_ipv6_address_has_the_same(
    address: ipaddress.IPv6Address, upper: bool
) -> None:
    spelled = address.exploded.upper() if upper else address.exploded
    assert normal_host(f"[{spelled}]") == normal_host(f"[{address}]")
    assert ipaddress.IPv6Address(normal_host(f"[{spelled}]")) == address


@pytest.mark.parametrize(
    ("host", "cause"),
    [
        ("", "has an empty label"),
        (".", "has an empty label"),
        ("a..b", "has an empty label"),
        (".a", "has an empty label"),
        ("a..", "has an empty label"),
        ("a" * 64 + ".b", "has a label of more than 63 octets"),
        (".".join(["a" * 63] * 4), "is longer than 253 octets"),
        ("-a", "has a label that begins or ends with a hyphen"),
        ("a-.b", "has a label that begins or ends with a hyphen"),
        ("127.1", "is not an IPv4 address"),
        ("10.0.0.256", "is not an IPv4 address"),
        ("10.0.0.01", "is not an IPv4 address"),
        ("[:::]", "is not an IPv6 address"),
        ("[1:2]", "is not an IPv6 address"),
        ("[::1.2.3.256]", "is not an IPv6 address"),
    ],
)
def test_what_is_no_host_is_refused(host: str, cause: str) -> None:
    with pytest.raises(ValueError, match=f"^{cause}[^:]*: .+"):
        normal_host(host)


# -- every kind of setting

KINDS = {
    f"{model.__name__}.{declared.name}": declared.kind
    for model in (Settings, Origin, Route, Listener)
    for declared in model.declarations()
    if declared.table is None
}
PARTS = ["9" * 5000, "x" * 5000, "٣", "\0", "\x1b[31m", "\n", "\u2028", "a..b", "[::", "1e999"]
PARTS += ["nan", "-", ":", "/", "http://", "file:", "env:", "weight=", "max_connections=", " "]
VALUES = st.one_of(
    st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=5).map("".join),
    st.integers(),
    st.floats(),
    st.sampled_from([10**5000, -(10**5000), 10**400, True, None]),
    st.dictionaries(st.sampled_from(PARTS), st.sampled_from(PARTS) | st.integers(), max_size=2),
)


@given(st.sampled_from(sorted(KINDS)), VALUES)
def test_whatever_is_given_is_read_or_refused_in_short_lines(name: str, value: Any) -> None:
    kind: Kind = KINDS[name]
    try:
        kind.value(value)
    except ValueError as error:
        told = str(error)
        assert told.isprintable() and ": " in told and len(told) <= 400, told
        assert "Exceeds the limit" not in told
