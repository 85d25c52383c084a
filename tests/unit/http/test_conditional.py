from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.http.conditional import not_modified
from caching_proxy.http.dates import format_http_date
from tests.unit.sections import Section

NOW = 1_700_000_000
MODIFIED = NOW - 1000
LONG = 32 * 1024


def judge(
    request: dict[bytes, bytes],
    etag: bytes | None = None,
    last_modified: bytes | None = None,
    date: int = NOW,
) -> bool:
    return not_modified(Section(request), etag, last_modified, date, NOW)


@pytest.mark.parametrize(
    ("none_match", "etag", "expected"),
    [
        (b'"a"', b'"a"', True),
        (b'"a"', b'"b"', False),
        (b'"a"', b'"A"', False),
        (b'W/"a"', b'"a"', True),
        (b'"a"', b'W/"a"', True),
        (b'W/"a"', b'W/"a"', True),
        (b'w/"a"', b'"a"', False),
        (b'"x", "a"', b'"a"', True),
        (b'"x",W/"a" ,"y"', b'"a"', True),
        (b', ,"x",, "a"', b'"a"', True),
        (b'"xa"', b'"a"', False),
        (b'"x,"a","', b'","', False),
        (b'"x\\", "a"', b'"a"', True),
        (b'""', b'""', True),
        (b'"\xe9"', b'"\xe9"', True),
        (b"*", b'"a"', True),
        (b"*", None, True),
        (b'"a"', None, False),
        (b'"a"', b"", False),
        (b'*, "a"', b'"a"', False),
        (b'junk, "a"', b'"a"', False),
        (b'"a" junk', b'"a"', False),
        (b"", b'"a"', False),
        (b"a", b"a", True),
        (b"a, b", b"a", False),
        (b"a", b'"a"', False),
    ],
)
def test_if_none_match(none_match: bytes, etag: bytes | None, expected: bool) -> None:
    assert judge({b"if-none-match": none_match}, etag) is expected


def test_lines_of_if_none_match_are_one_list() -> None:
    request = Section({b"if-none-match": b'"x"'}, (b"if-none-match", b'"a"'))
    assert not_modified(request, b'"a"', None, NOW, NOW)


@pytest.mark.parametrize(("ahead", "expected"), [(-1, False), (0, True), (1, True)])
@pytest.mark.parametrize("with_last_modified", [True, False])
def test_if_modified_since(ahead: int, expected: bool, with_last_modified: bool) -> None:
    since = {b"if-modified-since": format_http_date(MODIFIED + ahead)}
    if with_last_modified:
        assert judge(since, b'"a"', format_http_date(MODIFIED)) is expected
    else:
        assert judge(since, b'"a"', None, MODIFIED) is expected


@pytest.mark.parametrize(
    ("since", "last_modified"),
    [
        (b"yesterday", format_http_date(MODIFIED)),
        (format_http_date(NOW) + b", " + format_http_date(NOW), format_http_date(MODIFIED)),
        (format_http_date(NOW), b"yesterday"),
    ],
)
def test_invalid_dates_are_ignored(since: bytes, last_modified: bytes) -> None:
    assert not judge({b"if-modified-since": since}, None, last_modified)


def test_if_none_match_goes_before_if_modified_since() -> None:
    since = {b"if-modified-since": format_http_date(NOW)}
    last_modified = format_http_date(MODIFIED)
    assert judge(since, b'"a"', last_modified)
    assert not judge({**since, b"if-none-match": b'"b"'}, b'"a"', last_modified)
    assert judge({b"if-none-match": b'"a"', b"if-modified-since": b"x"}, b'"a"', last_modified)


def test_a_plain_request_and_other_preconditions_are_not_judged() -> None:
    last_modified = format_http_date(MODIFIED)
    assert not judge({}, b'"a"', last_modified)
    assert not judge({b"if-match": b'"a"'}, b'"a"', last_modified)
    assert not judge({b"if-unmodified-since": last_modified}, b'"a"', last_modified)


@pytest.mark.parametrize("filler", [b" ", b",", b'"', b'W/"b",'])
def test_long_lists_are_read(filler: bytes) -> None:
    value = filler * (LONG // len(filler))
    assert not judge({b"if-none-match": value + b'("a"'}, b'"a"')


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_any_octets_are_borne(value: bytes, etag: bytes) -> None:
    expected = etag.removeprefix(b"W/")
    if judge({b"if-none-match": value}, etag):
        assert value == b"*" or expected in value
    assert not judge({b"if-modified-since": value}, etag)
