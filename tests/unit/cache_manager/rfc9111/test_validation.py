from __future__ import annotations

import pytest

from caching_proxy.cache_manager.rfc9111.validation import (
    caching_fields,
    can_validate,
    confirms,
    fields_for_all,
    head_agrees,
    merged_fields,
    same_strong_validator,
    unstored_fields,
    validation_fields,
)
from tests.unit.sections import Section

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
LATER = b"Sun, 06 Nov 1994 08:49:38 GMT"
AT = 784111777  # DATE


@pytest.mark.parametrize(
    ("etag", "last_modified", "fields"),
    [
        (None, None, []),
        (b"", b"", []),
        (b"*", None, []),
        (b"*", DATE, [(b"If-Modified-Since", DATE)]),
        (b'W/"a"', None, [(b"If-None-Match", b'W/"a"')]),
        (None, DATE, [(b"If-Modified-Since", DATE)]),
        (b'"a"', DATE, [(b"If-None-Match", b'"a"'), (b"If-Modified-Since", DATE)]),
    ],
)
def test_preconditions(
    etag: bytes | None, last_modified: bytes | None, fields: list[tuple[bytes, bytes]]
) -> None:
    assert validation_fields(etag, last_modified) == fields


@pytest.mark.parametrize(
    ("etag", "last_modified", "expected"),
    [
        (None, None, False),
        (b"", b"", False),
        (b"*", b"0", False),
        (b'"a"', None, True),
        (b'W/"a"', b"0", True),
        (b'""', None, True),
        (None, DATE, True),
        (b"*", DATE, True),
        (b"", DATE, True),
        (None, b"Sunday, 06-Nov-94 08:49:37 GMT", True),
    ],
)
def test_usable_validators(etag: bytes | None, last_modified: bytes | None, expected: bool) -> None:
    assert can_validate(etag, last_modified, AT) is expected


@pytest.mark.parametrize(
    ("stored", "fresh", "expected"),
    [
        ({b"etag": b'"a"'}, {b"etag": b'"a"'}, True),
        ({b"etag": b'"a"'}, {b"etag": b'"b"'}, False),
        ({b"etag": b'W/"a"'}, {b"etag": b'"a"'}, False),
        ({}, {b"etag": b'"a"'}, False),
        ({b"etag": b'"a"'}, {b"etag": b'W/"a"'}, True),
        ({b"etag": b'W/"a"'}, {b"etag": b'W/"a"'}, True),
        ({b"etag": b'W/"a"'}, {b"etag": b'W/"b"'}, False),
        ({}, {b"etag": b'W/"a"'}, False),
        ({b"last-modified": DATE}, {b"last-modified": DATE}, True),
        ({b"last-modified": DATE}, {b"last-modified": LATER}, False),
        ({b"etag": b'"a"'}, {b"last-modified": DATE}, False),
        ({b"etag": b'"a"', b"last-modified": DATE}, {b"last-modified": DATE}, True),
        (
            {b"etag": b'"a"', b"last-modified": DATE},
            {b"etag": b'"a"', b"last-modified": LATER},
            True,
        ),
        ({b"etag": b'"a"'}, {}, True),
        ({}, {}, True),
        ({b"etag": b'"a"'}, {b"etag": b""}, True),
        ({b"last-modified": DATE}, {b"etag": b"", b"last-modified": LATER}, False),
        ({}, {b"last-modified": DATE}, False),
    ],
)
def test_which_304_confirms(
    stored: dict[bytes, bytes], fresh: dict[bytes, bytes], expected: bool
) -> None:
    assert confirms(Section(stored), Section(fresh)) is expected


def test_fields_of_a_304_replace_stored_ones() -> None:
    stored = [
        (b"Date", DATE),
        (b"Age", b"9"),
        (b"X-A", b"1"),
        (b"x-a", b"2"),
        (b"Content-Type", b"a/b"),
    ]
    fresh = [(b"date", LATER), (b"X-a", b"3"), (b"X-New", b"4"), (b"X-New", b"5")]
    assert merged_fields(stored, fresh) == [
        (b"Content-Type", b"a/b"),
        (b"date", LATER),
        (b"X-a", b"3"),
        (b"X-New", b"4"),
        (b"X-New", b"5"),
    ]


def test_the_time_of_a_stored_response_is_not_kept() -> None:
    stored = [(b"Date", DATE), (b"age", b"9"), (b"Expires", DATE)]
    assert merged_fields(stored, []) == [(b"Expires", DATE)]
    assert merged_fields(stored, [(b"Age", b"1")]) == [(b"Expires", DATE), (b"Age", b"1")]


UNSTORED = [
    *(b"Transfer-Encoding", b"Connection", b"Keep-Alive", b"Proxy-Connection", b"Upgrade"),
    *(b"Proxy-Authenticate", b"Proxy-Authorization", b"Proxy-Authentication-Info"),
    *(b"Trailer", b"TE"),
]


def test_fields_that_are_never_stored() -> None:
    names = {name.lower() for name in UNSTORED}
    assert unstored_fields(None) == names
    assert unstored_fields(b"X-A ,\tx-b,") - {b""} == names | {b"x-a", b"x-b"}
    for usual in (b"keep-alive", b"Keep-Alive, TE", b",".join(names)):
        assert unstored_fields(usual) is unstored_fields(None)


@pytest.mark.parametrize(
    "name", [b"Content-Length", b"content-encoding", b"Content-Range", *UNSTORED]
)
def test_fields_that_a_304_does_not_change(name: bytes) -> None:
    stored = [(b"Content-Length", b"5"), (b"Content-Encoding", b"br")]
    assert merged_fields(stored, [(name, b"x")]) == stored


def test_fields_that_connection_names_are_not_taken() -> None:
    fresh = [
        (b"X-Hop", b"1"),
        (b"Connection", b"close, X-HOP"),
        (b"connection", b"x-b"),
        (b"X-B", b""),
    ]
    assert merged_fields([(b"X-Hop", b"0")], fresh) == [(b"X-Hop", b"0")]


TAGGED = {b"etag": b'"a"', b"last-modified": DATE}


@pytest.mark.parametrize(
    ("stored", "head", "expected"),
    [
        (TAGGED, {}, True),
        (TAGGED, TAGGED, True),
        (TAGGED, {b"etag": b'"b"'}, False),
        (TAGGED, {b"etag": b'W/"a"'}, False),
        (TAGGED, {b"etag": b'"a"', b"last-modified": LATER}, False),
        (TAGGED, {b"last-modified": DATE}, True),
        (TAGGED, {b"last-modified": LATER}, False),
        ({}, {b"etag": b'"a"'}, False),
        ({}, {b"last-modified": DATE}, False),
        ({}, {}, True),
        (TAGGED, {**TAGGED, b"content-length": b"10"}, True),
        (TAGGED, {**TAGGED, b"content-length": b"010"}, True),
        (TAGGED, {**TAGGED, b"content-length": b"11"}, False),
        (TAGGED, {**TAGGED, b"content-length": b"1"}, False),
        ({}, {b"content-length": b"10, 10"}, False),
        ({}, {b"content-length": b""}, False),
        ({}, {b"content-length": b"9" * 5000}, False),
    ],
)
def test_whether_a_response_to_head_agrees(
    stored: dict[bytes, bytes], head: dict[bytes, bytes], expected: bool
) -> None:
    assert head_agrees(Section(stored), 10, Section(head)) is expected


def test_an_empty_response_agrees_with_length_0() -> None:
    assert head_agrees(Section(), 0, Section({b"content-length": b"0"}))
    assert not head_agrees(Section(), 0, Section({b"content-length": b"1"}))


@pytest.mark.parametrize(
    ("stored", "new", "expected"),
    [
        ({b"etag": b'"a"'}, {b"etag": b'"a"'}, True),
        (TAGGED, {b"etag": b'"a"'}, True),
        ({b"etag": b'"a"'}, {b"etag": b'"b"'}, False),
        ({b"etag": b'W/"a"'}, {b"etag": b'W/"a"'}, False),
        (TAGGED, {b"last-modified": DATE}, False),
        ({b"last-modified": DATE}, TAGGED, False),
        ({b"last-modified": DATE}, {b"last-modified": DATE}, True),
        ({b"last-modified": DATE}, {b"last-modified": DATE, b"etag": b'W/"a"'}, False),
        ({b"last-modified": DATE}, {}, False),
        ({}, {}, False),
    ],
)
def test_parts_of_one_representation(
    stored: dict[bytes, bytes], new: dict[bytes, bytes], expected: bool
) -> None:
    assert same_strong_validator(Section(stored), Section(new), AT + 1) is expected


def test_a_date_of_the_same_second_is_weak() -> None:
    dated = Section({b"last-modified": DATE})
    assert not same_strong_validator(dated, dated, AT)
    at_once = Section({b"last-modified": DATE, b"date": DATE})
    later = Section({b"last-modified": DATE, b"date": LATER})
    assert not same_strong_validator(at_once, later, AT + 1)
    assert same_strong_validator(later, at_once, AT)


SAID = [
    (b"ETag", b'"a"'),
    (b"Set-Cookie", b"id=1"),
    (b"X-Own", b"1"),
    (b"set-cookie2", b"id=1"),
    (b"CDN-Cache-Control", b"max-age=1"),
    (b"Vary", b"A"),
]


def test_a_cookie_is_set_for_one_alone() -> None:
    assert [name for name, _ in fields_for_all(SAID)] == [
        *(b"ETag", b"X-Own", b"CDN-Cache-Control", b"Vary")
    ]


@pytest.mark.parametrize("targets", [(), (b"cdn-cache-control",)])
def test_fields_about_caching(targets: tuple[bytes, ...]) -> None:
    targeted = [b"CDN-Cache-Control"] * len(targets)
    assert [name for name, _ in caching_fields(SAID, targets)] == [b"ETag", *targeted, b"Vary"]


@pytest.mark.parametrize(
    "name", [b"Age", b"Cache-Control", b"Date", b"ETag", b"Expires", b"Last-Modified", b"Vary"]
)
def test_each_field_about_caching(name: bytes) -> None:
    assert caching_fields([(name, b"1")], ()) == [(name, b"1")]
