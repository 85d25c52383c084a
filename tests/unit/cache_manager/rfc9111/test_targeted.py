from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.directives import NO_DIRECTIVES, Directives
from caching_proxy.cache_manager.rfc9111.targeted import parse_targeted, targeted_directives

LONG = 32 * 1024


@pytest.mark.parametrize(
    ("value", "directives"),
    [
        (b"max-age=600", Directives(max_age=600)),
        (b"none", NO_DIRECTIVES),
        (b"no-store, max-age=5", Directives(no_store=True, max_age=5)),
        (b"no-store ,\tprivate", Directives(no_store=True, private=True)),
        (b"no-store=?1", Directives(no_store=True)),
        (b"no-store=?0", NO_DIRECTIVES),
        (b"private, no-cache", Directives(private=True, no_cache=True)),
        (b'private="set-cookie, X"', Directives(private_fields=frozenset({b"set-cookie", b"x"}))),
        (b'no-cache="a\\"b"', Directives(no_cache=True)),
        (b'no-cache="\\\\"', Directives(no_cache=True)),
        (b"private=set-cookie", Directives(private=True)),
        (b"no-cache=:YWJj:", Directives(no_cache=True)),
        (b"private=(a)", Directives(private=True)),
        (b"private=?0, no-cache=?0", NO_DIRECTIVES),
        (b'private, private="a"', Directives(private_fields=frozenset({b"a"}))),
        (
            b"stale-while-revalidate=5, stale-if-error=6",
            Directives(stale_while_revalidate=5, stale_if_error=6),
        ),
        (b"must-revalidate, immutable", Directives(must_revalidate=True, immutable=True)),
        (b"max-age=(1 2)", Directives(max_age=0)),
        (b"x=(), y=( ), max-age=5", Directives(max_age=5)),
        (b'x=(a  "b )";c=1 ?0;d; e);f;g=:aa:, max-age=5', Directives(max_age=5)),
        (b'max-age=5;x;y=1; z="a", public;x=?0', Directives(max_age=5, public=True)),
        (b"max-age=1, max-age=2", Directives(max_age=2)),
        (b"max-age=999999999999999", Directives(max_age=2**31)),
        (b"max-age", Directives(max_age=0)),
        (b"max-age=-5", Directives(max_age=0)),
        (b"max-age=5.5", Directives(max_age=0)),
        (b'max-age="5"', Directives(max_age=0)),
        (b"max-age=five", Directives(max_age=0)),
        (b"x=:YWJj:, y=*/a, public", Directives(public=True)),
    ],
)
def test_valid_fields(value: bytes, directives: Directives) -> None:
    assert parse_targeted(value) == directives


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b",",
        b"max-age=5,",
        b"max-age=5, ,public",
        b"Max-Age=5",
        b"max-age =5",
        b"max-age= 5",
        b"max-age=5 public",
        b"max-age=",
        b"max-age=5;",
        b"max-age=5;X",
        b"max-age=9999999999999999",
        b"max-age=5.",
        b"no-store=?2",
        b'private="a',
        b'private="\\a"',
        b'private="\xe9"',
        b"max-age=5, \xff",
        b"max-age=5, x=(",
        b"max-age=5, x=(a",
        b"max-age=5, x=(a(b))",
        b'max-age=5, x=(a"b")',
        b"max-age=5, x=(a,b)",
        b"max-age=5, x=(a\tb)",
        b"max-age=5, x=@1",
    ],
)
def test_invalid_and_empty_fields_are_ignored(value: bytes) -> None:
    assert parse_targeted(value) is None


def test_the_first_usable_field_of_the_list_is_taken() -> None:
    assert targeted_directives((b"max-age=2", b"max-age=1")) == Directives(max_age=2)
    for unusable in (None, b"", b"="):
        assert targeted_directives((unusable, b"max-age=1")) == Directives(max_age=1)
        assert targeted_directives((unusable,)) is None
    assert targeted_directives(()) is None


PARTS = [
    *(b"a;", b"a=1;", b"a, ", b" ", b"1", b'"', b'\\"', b"a=1.1;b=1.1"),
    *(b"a ", b"a;b ", b"a; b", b"a  ", b'"" ', b"1.1 ", b"a=()", b"a=(1), "),
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("start", [b"a", b'a="', b"a=1", b"a ", b"a=(", b"a=(a "])
def test_long_fields_that_lead_nowhere(start: bytes, part: bytes) -> None:
    assert parse_targeted(start + part * (LONG // len(part)) + b"(") is None


@given(st.binary(max_size=60))
def test_any_octets_are_borne(value: bytes) -> None:
    directives = parse_targeted(value)
    assert directives is None or value[:1] in b"*abcdefghijklmnopqrstuvwxyz"
