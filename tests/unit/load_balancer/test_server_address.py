"""The forms of `--servers`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.load_balancer.server_address import ServerAddress, parse_server, show_server
from caching_proxy.proxy_server.discovery import named, server_origin
from caching_proxy.proxy_server.origin import Origin


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("one.example", ServerAddress("one.example")),
        ("one.example:5", ServerAddress("one.example", weight=5)),
        ("localhost:9001:5", ServerAddress("localhost", 9001, weight=5)),
        ("10.0.0.1:80:1000", ServerAddress("10.0.0.1", 80, weight=1000)),
        ("[::1]", ServerAddress("::1")),
        ("[::1]:7", ServerAddress("::1", weight=7)),
        ("[fe80::2]:8080:2", ServerAddress("fe80::2", 8080, weight=2)),
        ("http://one.example", ServerAddress("one.example", scheme="http")),
        ("http://one.example:81", ServerAddress("one.example", 81, "http")),
        ("http://one.example:81/ weight=5", ServerAddress("one.example", 81, "http", 5)),
        ("HTTPS://One.Example weight=9", ServerAddress("one.example", scheme="https", weight=9)),
        ("http://[::1]:9001 weight=2", ServerAddress("::1", 9001, "http", 2)),
        ("  one.example:5 ", ServerAddress("one.example", weight=5)),
    ],
)
def test_a_server_is_read(text: str, server: ServerAddress) -> None:
    assert parse_server(text) == server


def test_a_port_without_a_weight_is_refused_with_the_form_that_was_meant() -> None:
    with pytest.raises(ValueError, match="if 9001 is a port, write localhost:9001:1") as error:
        parse_server("localhost:9001")
    assert "\n" not in str(error.value)


def test_the_hint_keeps_the_brackets_of_an_ipv6_address() -> None:
    with pytest.raises(ValueError, match=r"write \[::1\]:9001:1"):
        parse_server("[::1]:9001")


@pytest.mark.parametrize(
    "text",
    [
        "one:0",
        "one:-1",
        "one:1001",
        "one:80:0",
        "one:80:1001",
        "http://one weight=0",
        "http://one:80 weight=-4",
        "http://one weight=heavy",
        "http://one weight=1.5",
    ],
)
def test_a_weight_outside_1_to_1000_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"weight .*: use (one from )?1 to 1000"):
        parse_server(text)


@pytest.mark.parametrize("text", ["one:0:5", "one:65536:5", "http://one:70000"])
def test_a_port_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="use one from 1 to 65535"):
        parse_server(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5",
        "one two",
        "one:80:5:6",
        "one:eighty",
        "::1",
        "[::1",
        "ftp://one",
        "http://",
        "http://one/path",
        "http://user@one",
        "http://one wait=5",
        "one\n:5",
    ],
)
def test_anything_else_is_refused_and_the_forms_are_named(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:WEIGHT, HOST:PORT:WEIGHT or"):
        parse_server(text)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a..b:5", "the host in 'a..b:5' has an empty label: "),
        ("http://-a", "the host in 'http://-a' has a label that begins or ends with a hyphen: "),
        (f"{'a' * 64}:80:5", "' has a label of more than 63 octets: "),
        ("[1:2]:80:5", "the host in '[1:2]:80:5' is not an IPv6 address: "),
        ("10.0.0.256", "the host in '10.0.0.256' is not an IPv4 address: "),
        (f"one:{'9' * 5000}:5", f"port {'9' * 77}... in 'one:{'9' * 71}...' is out of range: "),
        (f"one:80:{'9' * 5000}", f"weight {'9' * 77}... in "),
        (f"http://one:{'9' * 5000}", f"port {'9' * 77}... in "),
        (f"one max_connections={'9' * 5000}", "max_connections in 'one max_connections="),
    ],
)
def test_what_is_wrong_is_named(text: str, cause: str) -> None:
    with pytest.raises(ValueError, match=re.escape(cause)) as error:
        parse_server(text)
    assert len(str(error.value)) < 300


def test_spellings_of_an_ipv6_address_are_one() -> None:
    for text in ("[::1]:80:1", "[0:0::1]:80:1", "[0:0:0:0:0:0:0:1]:80:1"):
        assert parse_server(text) == ServerAddress("::1", 80)
    assert parse_server("[::ffff:102:304]") == parse_server("[::FFFF:1.2.3.4]")


def test_an_absolute_name_is_called_as_without_its_dot() -> None:
    """The dot itself stays: for the resolver it is another name."""
    server = parse_server("One.Example.:80:5")
    assert (server.host, server.name) == ("one.example.", "one.example")
    place = server_origin(server, Origin.parse("http://origin.example"))
    assert place.authority == b"one.example"
    assert named(server, place, [(("10.0.0.1", 80),)]) == [("one.example:80", (("10.0.0.1", 80),))]


@given(
    st.lists(st.sampled_from([*"ab1.:[]-_/ @\0٣", "http://", "9" * 50, " weight=", " backup"])).map(
        "".join
    )
)
def test_whatever_is_read_is_shown_as_it_is_read(text: str) -> None:
    try:
        server = parse_server(text)
    except ValueError as error:
        assert ": " in str(error) and str(error).isprintable()
    else:
        assert parse_server(show_server(server)) == server
