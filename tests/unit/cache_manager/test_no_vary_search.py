from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from caching_proxy.cache_manager.no_vary_search import (
    FIELD_SIZE_MAX,
    NoVarySearch,
    canonical_query,
    parse_no_vary_search,
)


def names(*texts: str) -> frozenset[bytes]:
    return frozenset([text.encode() for text in texts])


NOTHING = NoVarySearch(False, names(), True)
ANY_ORDER = NoVarySearch(True, names(), False)
NOT_A = NoVarySearch(False, names("a"), False)
ONLY_A = NoVarySearch(False, names("a"), True)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (b"key-order", ANY_ORDER),
        (b"key-order=?1;x=2", ANY_ORDER),
        (b"key-order=?0, key-order", ANY_ORDER),
        (b"key-order, params=()", ANY_ORDER),
        (b"key-order, params=?0", ANY_ORDER),
        (b"params", NOTHING),
        (b"params=?1", NOTHING),
        (b"params, key-order=?0", NOTHING),
        (b"except=()", NOTHING),
        (b'params=("a")', NOT_A),
        (b'params=("a";x "a");y, other=1', NOT_A),
        (b'params=("a" "b"), key-order', NoVarySearch(True, names("a", "b"), False)),
        (b'except=("a")', ONLY_A),
        (b'params, except=("a")', ONLY_A),
        (b'params, except=("a" "B"), key-order', NoVarySearch(True, names("a", "B"), True)),
        (b'params=("%C3%A9+%E6%B0%97")', NoVarySearch(False, names("\xe9 \u6c17"), False)),
        (b'params=("%61" "%" "%2B")', NoVarySearch(False, names("a", "%", "+"), False)),
        (b'params=("")', NoVarySearch(False, names(""), False)),
    ],
)
def test_rules(value: bytes, rule: NoVarySearch) -> None:
    assert parse_no_vary_search(value) == rule


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"other", b"key-order=?0", b"params=()", b"params=?0", b"params=?0, key-order=?0"),
        # invalid
        *(b"key-order=1", b'key-order="a"', b"key-order=()", b'key-order=1, params=("a")'),
        *(b"params=1", b'params="a"', b"params=(a)", b'params=("a" 1)', b"params=a"),
        *(
            b"except",
            b"except=?0",
            b'except="a"',
            b"except=(a)",
            b"params, except",
            b"params, except=1",
        ),
        *(b'params=("a"), except=("a")', b"params=(), except=()", b'params=?0, except=("a")'),
        *(b'key-order, params=("a"), except=("a")', b"key-order, params=1", b"key-order, except=a"),
        *(b"Params", b"params,", b"params=(", b'params=("\xe9")', b"\xff", b"params key-order"),
    ],
)
def test_every_difference_counts(value: bytes) -> None:
    assert parse_no_vary_search(value) is None


def test_a_field_too_long_to_be_parsed() -> None:
    value = b"params" + b" " * (FIELD_SIZE_MAX - 6)
    assert len(value) == FIELD_SIZE_MAX == 4096
    assert parse_no_vary_search(value) == NOTHING
    assert parse_no_vary_search(value + b" ") is None


@given(st.text('params=("%61"), except;key-order?10\xe9', max_size=40))
@example("params=%")
def test_hostile_fields_never_raise(text: str) -> None:
    rule = parse_no_vary_search(text.encode("latin-1"))
    assert rule is None or rule.any_order or rule.names or rule.only


# Queries


@pytest.mark.parametrize(
    ("rule", "one", "other"),
    [
        (ANY_ORDER, b"a=1&b=2", b"b=2&a=1"),
        (ANY_ORDER, b"a=1&b&a=2", b"b&a=1&a=2"),
        (NOT_A, b"b=1", b"a=1&b=1&a"),
        (NOT_A, b"b=1", b"%61=1&b=1"),
        (NOT_A, b"", b"a=1"),
        (ONLY_A, b"a=1", b"b=2&a=1&c"),
        (ONLY_A, b"", b"b"),
        (NOTHING, b"", b"a=1&b&="),
        (NoVarySearch(False, names("a b"), False), b"", b"a+b=1&a%20b"),
        # as forms have it
        (ANY_ORDER, b"a=x", b"%61=%78"),
        (ANY_ORDER, b"a=\xc3\xa9", b"a=%c3%A9"),
        (ANY_ORDER, b"a=x&&&&", b"a=x"),
        (ANY_ORDER, b"a=", b"a"),
        (ANY_ORDER, b"a=%20", b"a=+"),
        (ANY_ORDER, b"a+b=1", b"a b=1"),
        (ANY_ORDER, b"a=1=2", b"a=1%3D2"),
        (ANY_ORDER, b"a=%zz", b"a=%25zz"),
    ],
)
def test_equivalent_queries(rule: NoVarySearch, one: bytes, other: bytes) -> None:
    assert canonical_query(one, rule) == canonical_query(other, rule)


@pytest.mark.parametrize(
    ("rule", "one", "other"),
    [
        (NOT_A, b"b=1&c=1", b"c=1&b=1"),
        (NOT_A, b"b=1", b"b=2"),
        (NOT_A, b"b=1", b"b=1&A=1"),
        (NOT_A, b"", b"ab=1"),
        (ONLY_A, b"a=1", b"a=2"),
        (ONLY_A, b"a=1&a=2", b"a=2&a=1"),
        (ONLY_A, b"a=1", b"a=1&a=1"),
        (ONLY_A, b"a", b""),
        (ANY_ORDER, b"a=1&a=2", b"a=2&a=1"),
        (ANY_ORDER, b"a=1", b"A=1"),
        (ANY_ORDER, b"a=b&c=d", b"a=b%26c%3Dd"),
        (ANY_ORDER, b"a=1+2", b"a=1%2B2"),
        (ANY_ORDER, b"a%3Db=1", b"a=b=1"),
        (ANY_ORDER, b"=", b""),
        (ANY_ORDER, b"a=%F6", b"a=%EF%BF%BD"),
        (ANY_ORDER, b"a;b", b"a&b"),
        (ANY_ORDER, b"a=%C3%A9", b"a=e%CC%81"),
    ],
)
def test_queries_that_differ(rule: NoVarySearch, one: bytes, other: bytes) -> None:
    assert canonical_query(one, rule) != canonical_query(other, rule)


QUERIES = st.lists(
    st.sampled_from(["a=1", "a=2", "%61=1", "a", "a=", "b", "b=1", "", "=", "c+d=%20", "c%20d=+"]),
    max_size=4,
).map("&".join)
RULES = st.builds(
    NoVarySearch, st.booleans(), st.frozensets(st.sampled_from([b"a", b"b", b"c d"])), st.booleans()
)


@given(QUERIES, QUERIES, RULES)
def test_as_the_draft_compares(one: str, other: str, rule: NoVarySearch) -> None:
    def parameters(query: str) -> list[tuple[str, str]]:
        found = parse_qsl(query, keep_blank_values=True)
        if rule.only:
            found = [pair for pair in found if pair[0].encode() in rule.names]
        else:
            found = [pair for pair in found if pair[0].encode() not in rule.names]
        return sorted(found, key=lambda pair: pair[0]) if rule.any_order else found

    texts = [canonical_query(query.encode(), rule) for query in (one, other)]
    assert (texts[0] == texts[1]) is (parameters(one) == parameters(other))


@given(QUERIES, RULES)
def test_canonical_text_is_canonical(query: str, rule: NoVarySearch) -> None:
    text = canonical_query(query.encode(), rule)
    assert canonical_query(text, rule) == text
