from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.http.accept import (
    normalise_accept,
    normalise_accept_encoding,
    normalise_accept_language,
)

LONG = 32 * 1024
ALL = [normalise_accept, normalise_accept_encoding, normalise_accept_language]
Normalise = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (b"", b""),
        (b" , ,", b""),
        (b"*/*", b"*/*"),
        (b"Text/HTML", b"text/html"),
        (b"text/html,application/json", b"application/json, text/html"),
        (b"\ttext/html ;\tq=0.50 , */*;Q=0.1", b"text/html;q=0.5, */*;q=0.1"),
        (b"a/b;q=0.1, c/d;q=1.000, e/f;q=0.", b"c/d, a/b;q=0.1, e/f;q=0"),
        (b"a/b, a/b", b"a/b"),
        (b"text/html;Level=1", b"text/html;level=1"),
        (b"text/html;b=2;a=1", b"text/html;a=1;b=2"),
        (b"text/html;a=2;a=1", b"text/html;a=2;a=1"),
        (b"text/html;q=0.5;level=1", b"text/html;level=1;q=0.5"),
        (b"text/html;;level=1;", b"text/html;level=1"),
        (b'text/html;level="1"', b"text/html;level=1"),
        (b'text/html;v="a, B;q=0.1"', b'text/html;v="a, B;q=0.1"'),
        (rb'text/html;v="\a\"\\"', rb'text/html;v="a\"\\"'),
        (b'text/html;v=""', b'text/html;v=""'),
        (
            b"text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
            b"application/xhtml+xml, image/webp, text/html, application/xml;q=0.9, */*;q=0.8",
        ),
    ],
)
def test_accept(value: bytes, canonical: bytes) -> None:
    assert normalise_accept(value) == canonical


def test_the_case_of_a_parameters_value_counts() -> None:
    assert normalise_accept(b'a/b;v="X"') != normalise_accept(b'a/b;v="x"')
    assert normalise_accept(b"a/b;v=X") != normalise_accept(b"a/b;v=x")


@pytest.mark.parametrize(
    "value",
    [
        b"text",
        b"text/",
        b"text/html text/plain",
        b"text/html;q=2",
        b"text/html;q=0.1234",
        b"text/html;q=.5",
        b"text/html;q",
        b"text/html;q=1.001",
        b'text/html;q="0.5"',
        b"text/html;q=0.5;q=0.5",
        b"text/html;level",
        b"text/html;level=",
        b'text/html;level="1',
        b'text/html;level="1\\"',
        b"text/html;q=0.1, Text/HTML;q=0.2",
        b"text/html, \xff",
    ],
)
def test_accept_outside_the_grammar_stays_as_it_is(value: bytes) -> None:
    assert normalise_accept(b" \t" + value + b" ") == value


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (b"", b""),
        (b"EN", b"en"),
        (b"de-CH , de;q=0.9,en;q=0.9, *;q=0.5", b"de-ch, de;q=0.9, en;q=0.9, *;q=0.5"),
        (b"fr,da", b"da, fr"),
        (b"x-gzip", b"x-gzip"),
        (b"en_US", b"en_US"),
        (b"en;level=1", b"en;level=1"),
        (b"en;q=0.3, EN;q=0.4", b"en;q=0.3, EN;q=0.4"),
    ],
)
def test_accept_language(value: bytes, canonical: bytes) -> None:
    assert normalise_accept_language(value) == canonical


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (b"gzip, deflate, br", b"br, deflate, gzip"),
        (b"br;q=1.0, GZIP;q=0.8, *;q=0.1", b"br, gzip;q=0.8, *;q=0.1"),
        (b"zstd,dcb,dcz", b"dcb, dcz, zstd"),
        (b"x-gzip", b"gzip"),
        (b"gzip, x-gzip", b"gzip"),
        (b"gzip, sdch, compress, bzip2", b"gzip"),
        (b"gzip, br;q=0", b"gzip"),
        (b"identity", b"identity"),
        (b"identity;q=0, gzip", b"gzip, identity;q=0"),
        (b"gzip;q=0.5, identity", b"identity, gzip;q=0.5"),
        (b"", b"identity"),
        (b"compress", b"identity"),
        (b"gzip;q=0", b"identity"),
        (b"*", b"*"),
        (b"*;q=0", b"*;q=0"),
        (b"compress;q=0, *", b"*, compress;q=0"),
        (b"br;q=0, *", b"*, br;q=0"),
        (b"x-compress, *;q=0", b"compress, *;q=0"),
        (b"gzip;q=2", b"gzip;q=2"),
        (b"gzip;level=9", b"gzip;level=9"),
        (b"gzip, x-gzip;q=0.1", b"gzip, x-gzip;q=0.1"),
        (b"gzip br", b"gzip br"),
    ],
)
def test_accept_encoding(value: bytes, canonical: bytes) -> None:
    assert normalise_accept_encoding(value) == canonical


MEMBERS = st.sampled_from(
    [
        *(b"gzip", b"br;q=0.5", b"X-GZIP;Q=0.50", b"*;q=0", b"identity;q=0", b"compress", b""),
        *(b"en", b"de-CH;q=0.300", b"a/b", b"C/*;v=1", b'a/b;v="x,y";q=0.2', b'a/b;v="\\"'),
    ]
)
VALUES = st.one_of(st.lists(MEMBERS, max_size=6).map(b" ,\t".join), st.binary(max_size=60))


@pytest.mark.parametrize("normalise", ALL)
@given(value=VALUES)
def test_canonical_text_stays_the_same(normalise: Normalise, value: bytes) -> None:
    canonical = normalise(value)
    assert normalise(canonical) == canonical


@given(
    st.permutations([b"text/a", b"text/b", b"text/c;q=0.5", b"text/d;q=0.5"]),
    st.sampled_from([b",", b" , ", b",,\t"]),
)
def test_neither_order_nor_white_space_counts(members: list[bytes], comma: bytes) -> None:
    assert normalise_accept(comma.join(members)) == b"text/a, text/b, text/c;q=0.5, text/d;q=0.5"


@pytest.mark.parametrize("normalise", ALL)
@pytest.mark.parametrize(
    "value",
    [
        b"a" * LONG + b"(",
        b"a/b;" + b" " * LONG + b"(",
        b"a/b" + b";" * LONG + b"(",
        b"," * LONG + b"(",
        b'a/b;v="' + b'\\"' * (LONG // 2),
        b'a/b;v="' + b'"' * LONG,
        b"a" + b" ;q=1" * (LONG // 5),
    ],
    ids=["name", "spaces", "parameters", "members", "pairs", "quotes", "weights"],
)
def test_long_values_that_lead_nowhere_come_back(normalise: Normalise, value: bytes) -> None:
    assert normalise(value) == value
