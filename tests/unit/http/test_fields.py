"""Header sections as tables."""

from __future__ import annotations

from caching_proxy.http.fields import Fields

LINES = [
    (b"Host", b"example.com"),
    (b"X-One", b"1"),
    (b"Accept", b"text/html"),
    (b"x-one", b"2"),
    (b"ACCEPT", b"*/*"),
    (b"Empty", b""),
]


def test_lines_stay_as_they_came() -> None:
    fields = Fields.of(LINES)
    assert fields.items() == LINES
    assert len(fields) == fields.count == 6


def test_values_by_name_of_any_case() -> None:
    fields = Fields.of(LINES)
    assert fields.values(b"x-one") == [b"1", b"2"]
    assert fields.values(b"empty") == [b""]
    assert fields.values(b"none") == []


def test_combined() -> None:
    """RFC 9110 5.3."""
    fields = Fields.of(LINES)
    assert fields.combined(b"accept") == b"text/html, */*"
    assert fields.combined(b"x-one") == b"1, 2"
    assert fields.combined(b"empty") == b""
    assert fields.combined(b"host") == b"example.com"
    assert fields.combined(b"cookie") is None
    assert fields.combined(b"x-two") is None


def test_no_lines() -> None:
    fields = Fields.of([])
    assert (fields.items(), len(fields), fields.combined(b"host")) == ([], 0, None)
