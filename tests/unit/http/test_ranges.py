from __future__ import annotations

import email
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.http.dates import format_http_date
from caching_proxy.http.ranges import (
    UNSATISFIABLE,
    ContentRange,
    Range,
    RangeSpec,
    Unsatisfiable,
    covers,
    if_range_holds,
    missing,
    multipart_end,
    multipart_type,
    new_boundary,
    parse_content_range,
    part_head,
    requested_ranges,
    single_range,
    strong_validator,
)

MOST = 4
HUGE = 10**18
LONG = 32 * 1024
DATE = 1_700_000_000
BEFORE = format_http_date(DATE - 1)
ETAG = b'"a"'

Found = list[Range] | Unsatisfiable | None


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        (b"bytes=0-499", [(0, 499)]),
        (b"bytes=500-999", [(500, 999)]),
        (b"bytes=-500", [(9500, 9999)]),
        (b"bytes=9500-", [(9500, 9999)]),
        (b"bytes=0-0,-1", [(0, 0), (9999, 9999)]),
        (b"bytes= 0-999, 4500-5499, -1000", [(0, 999), (4500, 5499), (9000, 9999)]),
        (b"bytes=500-600,601-999", [(500, 600), (601, 999)]),
        (b"bytes=500-700,601-999", [(500, 700), (601, 999)]),
    ],
)
def test_the_examples_of_the_standard(value: bytes, ranges: list[Range]) -> None:
    assert requested_ranges(value, 10_000, MOST) == ranges


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        (b"bytes=0-9", [(0, 9)]),
        (b"bytes=0-10", [(0, 9)]),
        (b"bytes=0-", [(0, 9)]),
        (b"bytes=9-9", [(9, 9)]),
        (b"bytes=9-", [(9, 9)]),
        (b"bytes=10-", UNSATISFIABLE),
        (b"bytes=10-10", UNSATISFIABLE),
        (b"bytes=-0", UNSATISFIABLE),
        (b"bytes=-1", [(9, 9)]),
        (b"bytes=-10", [(0, 9)]),
        (b"bytes=-11", [(0, 9)]),
        (b"bytes=-0,10-,3-4", [(3, 4)]),
        (b"bytes=-0,10-", UNSATISFIABLE),
        (b"bytes=5-6,0-1", [(5, 6), (0, 1)]),
        (b"BYTES=0-1", [(0, 1)]),
        (b"bytes=\t, ,0-1 ,,\t3-3, ", [(0, 1), (3, 3)]),
        (b"bytes=007-0008", [(7, 8)]),
        (b"bytes=1-%d" % HUGE**9, [(1, 9)]),
        (b"bytes=-%d" % HUGE**9, [(0, 9)]),
        (b"bytes=%d-" % HUGE**9, UNSATISFIABLE),
        (b"bytes=%d-%d" % (HUGE**9, HUGE**9), UNSATISFIABLE),
    ],
)
def test_ranges_of_ten_octets(value: bytes, ranges: Found) -> None:
    assert requested_ranges(value, 10, MOST) == ranges


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        (b"bytes=0-", UNSATISFIABLE),
        (b"bytes=0-0", UNSATISFIABLE),
        (b"bytes=-0", UNSATISFIABLE),
        (b"bytes=-1", None),
        (b"bytes=0-,-0,-1", None),
    ],
)
def test_of_nothing_only_a_suffix_is_satisfiable_and_gets_the_whole(
    value: bytes, ranges: Found
) -> None:
    assert requested_ranges(value, 0, MOST) == ranges


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"bytes", b"bytes=", b"bytes= , ,", b"bytes 0-1", b"items=0-1", b"bytes =0-1"),
        *(b" bytes=0-1", b"bytes=-", b"bytes=1", b"bytes=a-b", b"bytes=0-1-2", b"bytes=--1"),
        *(b"bytes=0 -1", b"bytes=0- 1", b"bytes=+0-1", b"bytes=0-+1", b"bytes=0x0-1"),
        *(b"bytes=0-1;2-3", b"bytes=0-1 2-3", b"bytes=0-1,x", b"bytes=x,0-1", b"bytes=0-1\n"),
        *(b"bytes=1-0", b"bytes=0-1,3-2", b"bytes=0_0-1", b"bytes=\xb2-3", b"bytes==0-1"),
    ],
)
def test_an_invalid_field_is_ignored(value: bytes) -> None:
    assert requested_ranges(value, 10, MOST) is None
    assert single_range(value) is None


def test_more_ranges_than_allowed_are_ignored() -> None:
    four = b"bytes=0-0,,2-2,4-4,6-6"
    assert requested_ranges(four, 10, 4) == [(0, 0), (2, 2), (4, 4), (6, 6)]
    assert requested_ranges(four, 10, 3) is None
    assert requested_ranges(b"bytes=10-,11-", 10, 1) is None


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        (b"bytes=0-4,0-4", [(0, 4), (0, 4)]),
        (b"bytes=0-4,0-5", None),
        (b"bytes=0-,0-", None),
        (b"bytes=0-0,-10", None),
        (b"bytes=0-9,10-", [(0, 9)]),
    ],
)
def test_parts_that_outweigh_the_whole_are_ignored(value: bytes, ranges: Found) -> None:
    assert requested_ranges(value, 10, MOST) == ranges


POSITIONS = st.integers(0, 24)
SPECS: st.SearchStrategy[RangeSpec] = st.one_of(
    st.tuples(POSITIONS, POSITIONS),
    st.tuples(POSITIONS, st.none()),
    st.tuples(st.none(), POSITIONS),
)
COMMAS = st.sampled_from([b",", b" , ", b",,\t", b", "])


def write(spec: RangeSpec) -> bytes:
    return b"-".join(b"" if number is None else b"%d" % number for number in spec)


def octets_selected(spec: RangeSpec, length: int) -> list[int]:
    whole = list(range(length))
    first, last = spec
    if first is None:
        return whole[-last:] if last else []
    return [octet for octet in whole if first <= octet and (last is None or octet <= last)]


@given(st.lists(SPECS, max_size=5), POSITIONS, COMMAS)
def test_ranges_select_octets(specs: list[RangeSpec], length: int, comma: bytes) -> None:
    selected = [octets for spec in specs if (octets := octets_selected(spec, length))]
    valid = all(first is None or last is None or first <= last for first, last in specs)
    expected: Found = [(octets[0], octets[-1]) for octets in selected] or UNSATISFIABLE
    outweighed = sum(map(len, selected)) > length
    unspeakable = length == 0 and any(first is None and last for first, last in specs)
    if not valid or not 1 <= len(specs) <= MOST or outweighed or unspeakable:
        expected = None
    assert requested_ranges(b"Bytes=" + comma.join(map(write, specs)), length, MOST) == expected


@given(st.binary(max_size=40).map(b"bytes=".__add__), POSITIONS)
def test_no_value_selects_what_is_not_there(value: bytes, length: int) -> None:
    ranges = requested_ranges(value, length, MOST)
    for first, last in ranges if isinstance(ranges, list) else []:
        assert 0 <= first <= last < length


@pytest.mark.parametrize(
    "member",
    [b"1" * LONG + b"-", b"-" + b"1" * LONG, b"1" * LONG + b"-" + b"1" * LONG],
    ids=["first", "suffix", "both"],
)
def test_long_numbers_are_taken_as_huge(member: bytes) -> None:
    spec = single_range(b"bytes=" + member)
    assert spec is not None
    assert set(spec) <= {HUGE, None}


def test_long_values_that_lead_nowhere() -> None:
    assert requested_ranges(b"bytes=" + b"," * LONG, 10, MOST) is None
    assert requested_ranges(b"bytes=" + b"1" * LONG, 10, MOST) is None
    assert requested_ranges(b"bytes=" + b"0-," * LONG, 10, MOST) is None
    assert requested_ranges(b"bytes=" + b"0" * LONG + b"1-" + b"0" * LONG + b"2", 10, 1) == [(1, 2)]


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        (b"bytes=0-0", (0, 0)),
        (b"bytes=2-7", (2, 7)),
        (b"Bytes= 2-", (2, None)),
        (b"bytes=,-7,", (None, 7)),
        (b"bytes=-0", (None, 0)),
        (b"bytes=0-1,3-4", None),
        (b"bytes=0-1,0-1", None),
        (b"bytes=%d-" % (HUGE - 1), (HUGE - 1, None)),
        (b"bytes=%d-" % (HUGE * 10 - 1), (HUGE, None)),
    ],
)
def test_single_range(value: bytes, spec: RangeSpec | None) -> None:
    assert single_range(value) == spec


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes 42-1233/1234", ContentRange(42, 1233, 1234)),
        (b"Bytes 42-1233/*", ContentRange(42, 1233, None)),
        (b"bytes 0-0/1", ContentRange(0, 0, 1)),
        (b"bytes 0-%d/*" % (HUGE - 1), ContentRange(0, HUGE - 1, None)),
        (b"bytes %d-%d/*" % (HUGE - 1, HUGE - 1), ContentRange(HUGE - 1, HUGE - 1, None)),
        (b"bytes 0-1/%d" % (HUGE - 1), ContentRange(0, 1, HUGE - 1)),
    ],
)
def test_content_range(value: bytes, expected: ContentRange) -> None:
    assert parse_content_range(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"bytes", b"bytes */1234", b"bytes */*", b"bytes 0-/2", b"bytes -1/2", b"bytes 0-1"),
        *(b"items 0-1/2", b"bytes=0-1/2", b"bytes  0-1/2", b"bytes 0-1/", b"bytes 0-1/2 "),
        *(b"bytes 1-0/2", b"bytes 1-0/*", b"bytes 0-1/1", b"bytes 0-0/0", b"bytes 0-2/1"),
        *(b"bytes 0-1/2, bytes 0-1/2", b"bytes 0-1/2\n", b"bytes 0-1/**", b"bytes a-b/c"),
        *(b"bytes 0-1/%d" % HUGE, b"bytes 0-%d/*" % HUGE, b"bytes %d-%d/*" % (HUGE, HUGE)),
    ],
)
def test_a_part_that_says_nothing_sure(value: bytes) -> None:
    assert parse_content_range(value) is None


@pytest.mark.parametrize(
    ("value", "etag", "holds"),
    [
        (b'"a"', b'"a"', True),
        (b'""', b'""', True),
        (b'"!#~\x80\xff"', b'"!#~\x80\xff"', True),
        (b'"a"', b'"A"', False),
        (b'"a"', None, False),
        (b'"a"', b'W/"a"', False),
        (b'W/"a"', b'"a"', False),
        (b'W/"a"', b'W/"a"', False),
        (b'"a", "b"', b'"a", "b"', False),
        (b'"a', b'"a', False),
        (b'a"', b'a"', False),
        (b'"a"b', b'"a"b', False),
        (b'"\x7f"', b'"\x7f"', False),
        (b"a", b"a", False),
        (b"*", b'"a"', False),
        (b"", b"", False),
    ],
)
def test_if_range_with_an_entity_tag(value: bytes, etag: bytes | None, holds: bool) -> None:
    assert if_range_holds(value, etag, BEFORE, DATE) is holds


@pytest.mark.parametrize(
    ("value", "last_modified", "holds"),
    [
        (BEFORE, BEFORE, True),
        (BEFORE.lower(), BEFORE, True),
        (b"Tuesday, 14-Nov-23 22:13:19 GMT", b"Tue Nov 14 22:13:19 2023", True),
        (format_http_date(DATE - 2), BEFORE, False),
        (format_http_date(DATE), BEFORE, False),
        (format_http_date(DATE), format_http_date(DATE), False),
        (format_http_date(DATE + 1), format_http_date(DATE + 1), False),
        (BEFORE, None, False),
        (BEFORE, b"yesterday", False),
        (b"yesterday", b"yesterday", False),
        (b"yesterday", BEFORE, False),
        (b"yesterday", None, False),
    ],
)
@pytest.mark.parametrize("etag", [None, ETAG])
def test_if_range_with_a_date(
    value: bytes, etag: bytes | None, last_modified: bytes | None, holds: bool
) -> None:
    assert if_range_holds(value, etag, last_modified, DATE) is holds


@pytest.mark.parametrize(
    ("etag", "last_modified", "validator"),
    [
        (ETAG, None, ETAG),
        (ETAG, BEFORE, ETAG),
        (b'""', BEFORE, b'""'),
        (None, BEFORE, BEFORE),
        (None, format_http_date(DATE), None),
        (None, format_http_date(DATE + 1), None),
        (None, b"yesterday", None),
        (None, b"", None),
        (None, None, None),
        (b'W/"a"', None, None),
        (b'W/"a"', BEFORE, None),
        (b"a", BEFORE, None),
    ],
)
def test_strong_validator(
    etag: bytes | None, last_modified: bytes | None, validator: bytes | None
) -> None:
    assert strong_validator(etag, last_modified, DATE) == validator
    if validator is not None:
        assert if_range_holds(validator, etag, last_modified, DATE)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], (0, 9)),
        ([(0, 9)], None),
        ([(0, 4), (5, 9)], None),
        ([(0, 8)], (9, 9)),
        ([(1, 9)], (0, 0)),
        ([(4, 4)], (0, 9)),
        ([(0, 3), (5, 9)], (4, 4)),
        ([(0, 0), (2, 4), (6, 6), (9, 9)], (1, 8)),
        ([(0, 1), (2, 3), (6, 7), (8, 9)], (4, 5)),
    ],
)
def test_missing_of_ten_octets(parts: list[Range], expected: Range | None) -> None:
    assert missing(parts, 10) == expected


def test_of_nothing_nothing_is_missing() -> None:
    assert missing([], 0) is None


@st.composite
def parts_of(draw: st.DrawFn) -> tuple[list[Range], int]:
    """Sorted parts that do not overlap, touching ones among them, and a length that fits."""
    length = draw(POSITIONS)
    cuts = sorted(draw(st.sets(st.integers(0, length))))
    pieces = [(first, after - 1) for first, after in pairwise(cuts)]
    return [piece for piece in pieces if draw(st.booleans())], length


def octets_of(parts: list[Range]) -> set[int]:
    return {octet for first, last in parts for octet in range(first, last + 1)}


@given(parts_of())
def test_missing_spans_every_gap(case: tuple[list[Range], int]) -> None:
    parts, length = case
    gaps = set(range(length)) - octets_of(parts)
    assert missing(parts, length) == ((min(gaps), max(gaps)) if gaps else None)


@given(parts_of(), POSITIONS, POSITIONS)
def test_covers_every_octet(case: tuple[list[Range], int], first: int, more: int) -> None:
    wanted = (first, first + more)
    assert covers(case[0], wanted) is (octets_of([wanted]) <= octets_of(case[0]))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [((2, 7), True), ((2, 8), False), ((1, 7), False), ((7, 7), True), ((0, 0), False)],
)
def test_touching_parts_cover_together(wanted: Range, expected: bool) -> None:
    assert covers([(2, 4), (5, 7), (9, 9)], wanted) is expected


def multipart(
    content: bytes, ranges: list[Range], content_type: bytes | None, boundary: bytes
) -> bytes:
    heads = [
        part_head(boundary, content_type, wanted, len(content), number == 0)
        for number, wanted in enumerate(ranges)
    ]
    parts = zip(heads, ranges, strict=True)
    body = b"".join(head + content[first : last + 1] for head, (first, last) in parts)
    return body + multipart_end(boundary)


def test_multipart_looks_like_the_example_of_the_standard() -> None:
    written = multipart(b"0123456789", [(1, 2), (8, 9)], b"text/example", b"SEPARATES")
    assert multipart_type(b"SEPARATES") == b"multipart/byteranges; boundary=SEPARATES"
    assert written == (
        b"--SEPARATES\r\nContent-Type: text/example\r\nContent-Range: bytes 1-2/10\r\n\r\n12\r\n"
        b"--SEPARATES\r\nContent-Type: text/example\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n"
        b"--SEPARATES--\r\n"
    )


@st.composite
def contents(draw: st.DrawFn) -> tuple[bytes, list[Range]]:
    content = draw(
        st.binary(min_size=1, max_size=40) | st.text("\r\n-:a", min_size=1).map(str.encode)
    )
    ends = st.integers(0, len(content) - 1)
    pairs = draw(st.lists(st.tuples(ends, ends), min_size=1, max_size=4))
    return content, [(min(pair), max(pair)) for pair in pairs]


@given(contents(), st.sampled_from([None, b"application/octet-stream"]))
def test_multipart_reads_back(case: tuple[bytes, list[Range]], content_type: bytes | None) -> None:
    content, ranges = case
    boundary = new_boundary()
    written = multipart(content, ranges, content_type, boundary)
    head = b"Content-Type: " + multipart_type(boundary) + b"\r\n\r\n"
    message = email.message_from_bytes(head + written)
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    parts = list(message.walk())[1:]
    assert len(parts) == len(ranges)
    for part, (first, last) in zip(parts, ranges, strict=True):
        assert part.get_payload(decode=True) == content[first : last + 1]
        assert part["Content-Range"] == f"bytes {first}-{last}/{len(content)}"
        assert part["Content-Type"] == (content_type.decode() if content_type else None)


def test_boundaries_are_legal_and_never_the_same() -> None:
    boundaries = {new_boundary() for _ in range(100)}
    assert len(boundaries) == 100
    assert all(re.fullmatch(rb"[0-9a-z]{32,70}", boundary) for boundary in boundaries)
