from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.directives import (
    FOREVER,
    NO_DIRECTIVES,
    Directives,
    parse_cache_control,
    parse_delta_seconds,
    request_directives,
)
from tests.unit.sections import Section

LONG = 32 * 1024


@pytest.mark.parametrize(
    ("value", "directives"),
    [
        (None, Directives()),
        (b"", Directives()),
        (b" , ,", Directives()),
        (b"no-store", Directives(no_store=True)),
        (b"No-STORE", Directives(no_store=True)),
        (b"max-age=60", Directives(max_age=60)),
        (b"public,\tMax-Age=60 ,, s-maxage=5", Directives(public=True, max_age=60, s_maxage=5)),
        (
            b"must-revalidate, proxy-revalidate",
            Directives(must_revalidate=True, proxy_revalidate=True),
        ),
        (b"must-understand, no-store", Directives(must_understand=True, no_store=True)),
        (b"private", Directives(private=True)),
        (b"no-cache, immutable", Directives(no_cache=True, immutable=True)),
        (b"immutable=0, Immutable", Directives(immutable=True)),
        (b"stale-while-revalidate=5", Directives(stale_while_revalidate=5)),
        (b'Stale-If-Error="7"', Directives(stale_if_error=7)),
        (
            b"stale-while-revalidate, stale-if-error=-1",
            Directives(stale_while_revalidate=0, stale_if_error=0),
        ),
        (b"only-if-cached, max-stale", Directives(only_if_cached=True, max_stale=FOREVER)),
        (b"max-stale=5, min-fresh=7", Directives(max_stale=5, min_fresh=7)),
        (b"no-transform, community=UCI", Directives()),
        (b'x="no-store, private", max-age=1', Directives(max_age=1)),
        (b'x="\\", no-store", max-age=1', Directives(max_age=1)),
    ],
)
def test_directives(value: bytes | None, directives: Directives) -> None:
    assert parse_cache_control(value) == directives


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        (b'="set-cookie"', {b"set-cookie"}),
        (b'="Set-Cookie,X-A ,\t x_b,, "', {b"set-cookie", b"x-a", b"x_b"}),
        (b"=Set-Cookie", {b"set-cookie"}),
        (b'="set\\-cookie, \\x"', {b"set-cookie", b"x"}),
        (b"", set()),
        (b"=", set()),
        (b'=""', set()),
        (b'=" , "', set()),
        (b'="set cookie"', set()),
        (b'="a, set cookie"', set()),
        (b'="a, \\"b"', set()),
        (b'="a, \xe9"', set()),
        (b'="a', set()),
        (b"=a b", set()),
        (b' ="a"', set()),
    ],
)
@pytest.mark.parametrize("name", [b"no-cache", b"private"])
def test_field_names(name: bytes, argument: bytes, names: set[bytes]) -> None:
    directives = parse_cache_control(b"public, " + name + argument + b", max-age=1")
    unqualified = {b"no-cache": directives.no_cache, b"private": directives.private}
    fields = {b"no-cache": directives.no_cache_fields, b"private": directives.private_fields}
    assert unqualified.pop(name) is (not names)
    assert fields.pop(name) == names
    assert list(unqualified.values()) == [False]
    assert list(fields.values()) == [frozenset()]
    assert directives.public
    assert directives.max_age == 1


def test_both_forms_may_be_there_and_names_add_up() -> None:
    directives = parse_cache_control(b'private="a, b", no-cache=c, private=d, no-cache')
    assert directives == Directives(
        no_cache=True,
        no_cache_fields=frozenset({b"c"}),
        private_fields=frozenset({b"a", b"b", b"d"}),
    )


@pytest.mark.parametrize(
    ("argument", "seconds"),
    [
        (b"=0", 0),
        (b"=007", 7),
        (b'="5"', 5),
        (b"=2147483647", FOREVER - 1),
        (b"=2147483648", FOREVER),
        (b"=2147483649", FOREVER),
        (b"=" + b"9" * 5000, FOREVER),
        (b"=" + b"0" * 5000 + b"3", 3),
        (b"", 0),
        (b"=", 0),
        (b'=""', 0),
        (b"=-1", 0),
        (b"=+1", 0),
        (b"=1.5", 0),
        (b"=5s", 0),
        (b"=5;a", 0),
        (b"= 5", 0),
        (b" =5", 0),
        (b"='5'", 0),
        (b'="5', 0),
        (b"=5 6", 0),
        (b"=\xb2", 0),
    ],
)
def test_seconds(argument: bytes, seconds: int) -> None:
    for name in (b"max-age", b"s-maxage"):
        directives = parse_cache_control(b"public, " + name + argument + b", private")
        assert getattr(directives, name.decode().replace("-", "_")) == seconds
        assert directives.public
        assert directives.private


@pytest.mark.parametrize(
    ("value", "directives"),
    [
        (b"max-age=5, max-age=10", Directives(max_age=5)),
        (b"max-age=10, max-age=5", Directives(max_age=5)),
        (b"max-age=10, max-age=x", Directives(max_age=0)),
        (b"max-stale, max-stale=5", Directives(max_stale=5)),
        (
            b"stale-while-revalidate=9, stale-while-revalidate=5, stale-while-revalidate=7",
            Directives(stale_while_revalidate=5),
        ),
        (b"stale-if-error=5, stale-if-error=9", Directives(stale_if_error=5)),
        (b"min-fresh=5, min-fresh=10, min-fresh=7", Directives(min_fresh=10)),
        (b"no-store, no-store=1", Directives(no_store=True)),
    ],
)
def test_the_most_restrictive_of_several_holds(value: bytes, directives: Directives) -> None:
    assert parse_cache_control(value) == directives


@pytest.mark.parametrize(
    "value",
    [
        b'"x, no-store',
        b'x="y, no-store',
        b"=x, no-store",
        b"(x), no-store",
        b"no-store (x)",
        b"no-store = x",
        b"\xff, no-store;x",
    ],
)
def test_what_can_be_read_beside_garbage_holds(value: bytes) -> None:
    assert parse_cache_control(value).no_store


@pytest.mark.parametrize(
    ("fields", "directives"),
    [
        ({}, NO_DIRECTIVES),
        ({b"cache-control": b"max-age=0"}, Directives(max_age=0)),
        ({b"pragma": b"No-Cache"}, Directives(no_cache=True)),
        ({b"pragma": b"x, no-cache"}, Directives(no_cache=True)),
        ({b"pragma": b"no-store"}, NO_DIRECTIVES),
        ({b"pragma": b"no-cache=x"}, Directives(no_cache=True)),
        (
            {b"cache-control": b"no-cache=x"},
            Directives(no_cache=True, no_cache_fields=frozenset({b"x"})),
        ),
        ({b"cache-control": b"private=x"}, Directives(private_fields=frozenset({b"x"}))),
        ({b"cache-control": b"max-stale", b"pragma": b"no-cache"}, Directives(max_stale=FOREVER)),
    ],
)
def test_directives_of_a_request(fields: dict[bytes, bytes], directives: Directives) -> None:
    assert request_directives(Section(fields)) == directives


def test_nothing_asked_for_is_one_object_that_asks_for_nothing() -> None:
    assert parse_cache_control(b"no-transform") is NO_DIRECTIVES
    assert not any(astuple(NO_DIRECTIVES))


@pytest.mark.parametrize(
    "value",
    [
        b"a" * LONG + b"(",
        b" " * LONG + b"(",
        b"a" + b" " * LONG + b"(",
        b"a," + b" " * LONG + b"(",
        b'a="' + b'\\"' * (LONG // 2),
        b'a="b' * (LONG // 4),
        b'a="' * (LONG // 3),
        b"," * LONG,
        b"(," * (LONG // 2),
        b'private="' + b"\\a," * (LONG // 3) + b'"',
        b"".join(b"private=%x," % number for number in range(LONG // 8)),
    ],
    ids=[
        *("name", "spaces", "after", "before", "pairs", "open", "quotes", "commas", "garbage"),
        *("fields", "field-lists"),
    ],
)
def test_long_values_are_read_to_the_end(value: bytes) -> None:
    assert parse_cache_control(value + b",no-store").no_store


@given(st.integers(0, 10**30))
def test_delta_seconds_saturate(seconds: int) -> None:
    assert parse_delta_seconds(b"%d" % seconds) == min(seconds, FOREVER)


PIECES = st.sampled_from(
    [
        b"max-age",
        b"=",
        b'"',
        b"\\",
        b",",
        b" ",
        b"60",
        b"-1",
        b"no-store",
        b"private",
        b"x",
        b"\xff",
    ]
)


@given(st.one_of(st.binary(), st.lists(PIECES).map(b"".join)))
def test_any_octets_are_borne(value: bytes) -> None:
    directives = parse_cache_control(value)
    assert directives.no_store <= (b"no-store" in value.lower())
    assert directives.max_age is None or 0 <= directives.max_age <= FOREVER
    assert directives.private | bool(directives.private_fields) <= (b"private" in value.lower())
