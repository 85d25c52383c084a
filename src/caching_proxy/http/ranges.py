"""Byte ranges (RFC 9110 14): what a request asks for, what a part is, and how parts are sent.

Positions count octets from 0. Numbers in a Range field beyond 10**18 are taken as 10**18, longer
than any representation; the time taken grows with the length of a value, no faster.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple

from caching_proxy.http.dates import parse_http_date

Range = tuple[int, int]  # first and last position, both of them inside
RangeSpec = tuple[int | None, int | None]  # (first, last), (first, None) or (None, suffix length)


class Unsatisfiable(Enum):
    """The type of `UNSATISFIABLE`: a valid Range field, to be answered with 416."""

    UNSATISFIABLE = "unsatisfiable"


UNSATISFIABLE: Final = Unsatisfiable.UNSATISFIABLE


class ContentRange(NamedTuple):
    """Which octets a part holds, of how many (None: unknown)."""

    first: int
    last: int
    length: int | None


_DIGITS = 18  # so that positions and lengths fit 64 bits
_HUGE = 10**_DIGITS

_SPEC = re.compile(rb"(\d+)-(\d*)|-(\d+)")
_CONTENT_RANGE = re.compile(rb"bytes (\d{1,18})-(\d{1,18})/(?:(\d{1,18})|\*)", re.I)
_STRONG_TAG = re.compile(rb'"[\x21\x23-\x7e\x80-\xff]*"')


def requested_ranges(value: bytes, length: int, most: int) -> list[Range] | Unsatisfiable | None:
    """The ranges that a Range field selects from `length` octets, in the order asked.

    None: the field is to be ignored, since its unit is another, it is invalid, names more than
    `most` ranges, or overlaps so much that the parts outweigh the whole (RFC 9110 14.2, 17.15).
    """
    specs = _read_specs(value, most)
    if specs is None:
        return None
    ranges = [found for spec in specs if (found := _select(spec, length))]
    if sum(last - first + 1 for first, last in ranges) > length:
        return None
    if not length and any(first is None and suffix for first, suffix in specs):
        # Satisfiable (RFC 9110 14.1.2), but no Content-Range can say so: the empty whole is sent.
        return None
    return ranges or UNSATISFIABLE


def single_range(value: bytes) -> RangeSpec | None:
    """What a Range field with one range spec asks for; None when several or invalid.

    The suffix length may be 0, which nothing satisfies.
    """
    specs = _read_specs(value, 1)
    return specs[0] if specs else None


def _read_specs(value: bytes, most: int) -> list[RangeSpec] | None:
    unit, _, range_set = value.partition(b"=")
    if unit.lower() != b"bytes":
        return None
    specs: list[RangeSpec] = []
    for member in _members(range_set):
        spec = _read_spec(member)
        if spec is None or len(specs) == most:
            return None
        specs.append(spec)
    return specs or None


def _members(text: bytes) -> Iterator[bytes]:
    """List members without those that are empty (RFC 9110 5.6.1.2)."""
    return filter(None, (member.strip(b" \t") for member in text.split(b",")))


def _read_spec(member: bytes) -> RangeSpec | None:
    found = _SPEC.fullmatch(member)
    if found is None:
        return None
    if found[3]:
        return None, _number(found[3])
    first = _number(found[1])
    if not found[2]:
        return first, None
    last = _number(found[2])
    return (first, last) if first <= last else None


def _number(digits: bytes) -> int:
    significant = digits.lstrip(b"0") or b"0"
    return int(significant) if len(significant) <= _DIGITS else _HUGE


def _select(spec: RangeSpec, length: int) -> Range | None:
    first, last = spec
    if first is None:
        first, last = max(0, length - (last or 0)), None
    end = length - 1 if last is None else min(last, length - 1)
    return (first, end) if first <= end else None


def parse_content_range(value: bytes) -> ContentRange | None:
    """What a Content-Range field of a 206 says (RFC 9110 14.4).

    None: unsatisfied, of another unit, or invalid; such a part must not be combined with others.
    """
    found = _CONTENT_RANGE.fullmatch(value)
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    length = int(found[3]) if found[3] else None
    if last < first or (length is not None and length <= last):
        return None
    return ContentRange(first, last, length)


def if_range_holds(
    value: bytes, etag: bytes | None, last_modified: bytes | None, date: int
) -> bool:
    """Whether If-Range lets Range stand (RFC 9110 13.1.5).

    `etag` and `last_modified` are the stored fields, `date` is the stored Date.
    """
    if _STRONG_TAG.fullmatch(value):
        return value == etag
    modified = _strong_time(last_modified, date)
    return modified is not None and parse_http_date(value, date) == modified


def strong_validator(etag: bytes | None, last_modified: bytes | None, date: int) -> bytes | None:
    """What can go into If-Range for a stored response; None when nothing can.

    A Last-Modified beside a weak entity tag cannot (RFC 9110 13.1.5).
    """
    if etag is not None:
        return etag if _STRONG_TAG.fullmatch(etag) else None
    return None if _strong_time(last_modified, date) is None else last_modified


def _strong_time(last_modified: bytes | None, date: int) -> int | None:
    """Last-Modified if at least a second before Date (RFC 9110 8.8.2.2)."""
    modified = parse_http_date(last_modified, date) if last_modified else None
    return modified if modified is not None and modified < date else None


def missing(parts: Sequence[Range], length: int) -> Range | None:
    """The one range from the first to the last octet of `length` that no part holds.

    `parts` are sorted and do not overlap; they may touch.
    """
    first, last = _held_until(parts, 0), length - 1
    for start, end in reversed(parts):
        if end < last:
            break
        last = start - 1
    return (first, last) if first <= last else None


def covers(parts: Sequence[Range], wanted: Range) -> bool:
    """Whether the parts, sorted and not overlapping, together hold all of `wanted`."""
    return _held_until(parts, wanted[0]) > wanted[1]


def _held_until(parts: Sequence[Range], position: int) -> int:
    """The first position from `position` on that no part holds."""
    for first, last in parts:
        if first > position:
            break
        position = max(position, last + 1)
    return position


def new_boundary() -> bytes:
    """A boundary that no content can foresee; it needs no quotes (RFC 9110 14.6)."""
    return secrets.token_hex(16).encode()


def multipart_type(boundary: bytes) -> bytes:
    """Content-Type of a 206 with several parts."""
    return b"multipart/byteranges; boundary=" + boundary


def part_head(
    boundary: bytes, content_type: bytes | None, wanted: Range, length: int, first: bool
) -> bytes:
    """What stands before the octets of one part: delimiter and fields (RFC 9110 15.3.7.2)."""
    return b"%b--%b\r\n%bContent-Range: bytes %d-%d/%d\r\n\r\n" % (
        b"" if first else b"\r\n",
        boundary,
        b"" if content_type is None else b"Content-Type: %b\r\n" % content_type,
        *wanted,
        length,
    )


def multipart_end(boundary: bytes) -> bytes:
    """What stands after the octets of the last part."""
    return b"\r\n--%b--\r\n" % boundary
