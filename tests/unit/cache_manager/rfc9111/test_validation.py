from __future__ import annotations

import pytest

from caching_proxy.cache_manager.rfc9111.validation import (
    confirms,
    merged_fields,
    validation_fields,
)
from tests.unit.sections import Section

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
LATER = b"Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    ("etag", "last_modified", "fields"),
    [
        (None, None, []),
        (b"", b"", []),
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
    ],
)
def test_which_304_confirms(
    stored: dict[bytes, bytes], fresh: dict[bytes, bytes], expected: bool
) -> None:
    assert confirms(Section(stored), Section(fresh)) is expected


def test_fields_of_a_304_replace_stored_ones() -> None:
    stored = [(b"Date", DATE), (b"X-A", b"1"), (b"x-a", b"2"), (b"Content-Type", b"a/b")]
    fresh = [(b"date", LATER), (b"X-a", b"3"), (b"X-New", b"4"), (b"X-New", b"5")]
    assert merged_fields(stored, fresh) == [
        (b"Content-Type", b"a/b"),
        (b"date", LATER),
        (b"X-a", b"3"),
        (b"X-New", b"4"),
        (b"X-New", b"5"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *(b"Content-Length", b"content-encoding", b"Content-Range", b"Transfer-Encoding"),
        *(b"Connection", b"Keep-Alive", b"Proxy-Authenticate", b"Upgrade", b"Trailer", b"TE"),
    ],
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
