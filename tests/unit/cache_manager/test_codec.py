"""Stored responses as octets: what is written is read again, and nothing else is."""

from __future__ import annotations

import struct
from typing import Any

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caching_proxy.cache_manager.cache_key import Variants, key_digest
from caching_proxy.cache_manager.codec import (
    decode,
    encode,
    encode_names,
    is_other_version,
    vary_names,
)
from caching_proxy.cache_manager.entry import Entry
from caching_proxy.cache_manager.purge_log import Stamp
from caching_proxy.cache_manager.rfc9111.freshness import LifetimeSource
from caching_proxy.cache_manager.rfc9111.storable import Storable

URL = b"http://one.example/a?b=c"
VARIANTS = Variants()
VARIANT = VARIANTS.of(b"text/html", b"gzip", None)
KEY = key_digest(URL, VARIANT)
STAMP = Stamp(5 << 20, 6 << 20)
TIMES = st.integers(0, 1 << 34)
TEXTS = st.binary(max_size=40)
VALUES = st.text("abcXYZ ,;=\"'\t", max_size=30).map(lambda text: text.strip().encode())
NAMES = st.sampled_from([b"Content-Type", b"ETag", b"X-A", b"Vary", b"Cache-Control"])
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=5)


def make_head(
    status: int, length: int, before: list[tuple[bytes, bytes]], after: list[tuple[bytes, bytes]]
) -> tuple[bytes, int]:
    """A head as the store has it, and where its validation begins."""
    first = b"HTTP/1.1 %d Reason\r\n" % status
    first += b"".join(b"%b: %b\r\n" % line for line in before)
    if status != 204:
        first += b"Content-Length: %d\r\n" % length
    rest = b"".join(b"%b: %b\r\n" % line for line in after)
    return first + rest + b"X-Cache: HIT\r\nX-Cache-Key: " + KEY + b"\r\nAge: ", len(first)


def make_entry(
    body: bytes | None = b"content",
    *,
    parts: tuple[tuple[int, bytes], ...] | None = None,
    length: int | None = None,
    status: int = 200,
    lines: tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]] = ([], []),
    selecting: tuple[tuple[bytes, bytes | None], ...] | None = None,
    texts: tuple[bytes | None, bytes | None] = (b'"x"', None),
    tags: tuple[bytes, ...] | None = None,
    numbers: tuple[int, int, int, int, int] = (60, 0, 0, 0, -1),
    switches: tuple[bool, bool] = (False, False),
    received_at: int = 1_000,
) -> Entry:
    size = length if length is not None else len(body or b"")
    head, validation = make_head(status, size, *lines)
    lifetime, age, date, renewing, on_error = numbers
    storable = Storable(
        *(lifetime, LifetimeSource.MAX_AGE, age, date, *switches, renewing, on_error, frozenset())
    )
    return Entry(
        *(URL, VARIANT, selecting, status, head, validation, body, parts, size),
        *(*texts, storable, received_at, tags),
    )


FIELDS = (
    *("url", "selecting", "status", "head", "validation", "body", "parts", "length", "etag"),
    *("last_modified", "tags", "date", "born", "fresh_until", "stale_while_revalidate"),
    *("stale_if_error", "must_revalidate", "no_cache"),
)


def described(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in FIELDS}


def bodies(draw: st.DrawFn) -> dict[str, object]:
    """A whole body, or parts of one."""
    if draw(st.booleans()):
        return {"body": draw(st.binary(max_size=200))}
    at, parts = 0, []
    for gap, octets in draw(
        st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=9)), max_size=4)
    ):
        parts.append((at + gap, octets))
        at += gap + len(octets)
    return {
        "body": None,
        "parts": tuple(parts),
        "length": at + draw(st.integers(0, 9)),
    }


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    selecting = st.tuples(TEXTS, st.none() | TEXTS)
    return make_entry(
        **bodies(draw),  # type: ignore[arg-type]
        status=draw(st.sampled_from([200, 203, 301, 404, 599, 999])),
        lines=(draw(LINES), draw(LINES)),
        selecting=draw(st.none() | st.lists(selecting, max_size=3).map(tuple)),
        texts=(draw(st.none() | VALUES), draw(st.none() | VALUES)),
        tags=draw(st.none() | st.lists(TEXTS, max_size=4, unique=True).map(tuple)),
        numbers=(draw(TIMES), draw(TIMES), draw(TIMES), draw(st.integers(0, 1 << 30)), -1),
        switches=(draw(st.booleans()), draw(st.booleans())),
        received_at=draw(TIMES),
    )


@given(entries(), st.data())
def test_what_is_written_is_read(entry: Entry, data: st.DataObject) -> None:
    count = len(entry.tags or ())
    generations = tuple(data.draw(st.lists(TIMES, min_size=count, max_size=count)))
    octets = encode(entry, STAMP, generations)
    assert octets is not None
    decoded = decode(octets, URL, VARIANT, KEY)
    assert decoded is not None
    assert described(decoded.entry) == described(entry)
    assert decoded.entry.variant is VARIANT
    assert decoded.generations == (None if entry.tags is None else generations)
    assert (decoded.chunks, decoded.compressed) == (0, False)
    assert (decoded.stamp.number, decoded.stamp.sequence) == (STAMP.number, STAMP.sequence)


def test_a_body_may_lie_elsewhere() -> None:
    entry = make_entry(bytes(1000))
    octets = encode(entry, STAMP, None, None, 3, 99)
    assert octets is not None and len(octets) < 500
    decoded = decode(octets, URL, VARIANT, KEY)
    assert decoded is not None
    assert (decoded.chunks, decoded.entry.body, decoded.entry.length) == (3, None, 1000)
    assert decoded.nonce == 99


def test_which_fields_select() -> None:
    octets = encode_names(((b"accept-language", b"de"), (b"x-kind", None)))
    assert vary_names(octets) == (b"accept-language", b"x-kind")
    stored = encode(make_entry(), STAMP)
    assert stored is not None and vary_names(stored) is None
    assert vary_names(octets + b"\na" * 1000) is None


def test_a_body_may_be_compressed() -> None:
    octets = encode(make_entry(bytes(1000)), STAMP, None, b"few")
    assert octets is not None
    decoded = decode(octets, URL, VARIANT, KEY)
    assert decoded is not None
    assert (decoded.compressed, decoded.entry.body, decoded.entry.length) == (True, b"few", 1000)


def test_a_response_without_content() -> None:
    octets = encode(make_entry(b"", status=204), STAMP)
    assert octets is not None and decode(octets, URL, VARIANT, KEY) is not None


def test_too_many_tags_are_not_written() -> None:
    tags = tuple(b"%d" % n for n in range(1025))
    assert encode(make_entry(tags=tags), STAMP, (0,) * len(tags)) is None


# -- what is not read


@pytest.mark.parametrize(
    "changes",
    [
        {"texts": (b'"a"\r\nX-Evil: 1', None)},
        {"texts": (None, b"x\0")},
        {"tags": (b"tag\na", b"tag\nb", b"tag\na")},
        {"status": 304},
        {"status": 205},
        {"status": 204, "body": b"content"},
        {"body": b"content", "length": 6},
        {"body": b"content", "length": 8},
        {"body": None, "parts": ((0, b"abc"), (2, b"x")), "length": 9},
        {"body": None, "parts": ((0, b"abc"),), "length": 2},
    ],
)
def test_what_would_reach_beyond_its_entry(changes: dict[str, Any]) -> None:
    octets = encode(make_entry(**changes), STAMP, (1,) * len(changes.get("tags", ())))
    assert octets is not None and decode(octets, URL, VARIANT, KEY) is None


def test_another_version_is_told_from_garbage() -> None:
    octets = encode(make_entry(), STAMP)
    assert octets is not None
    assert not is_other_version(octets)
    assert is_other_version(octets[:2] + b"\2" + octets[3:])
    assert not is_other_version(b"garbage") and not is_other_version(b"")


@pytest.mark.parametrize("url", [b"", URL + b"x", URL[:-1], URL.upper()])
def test_another_url(url: bytes) -> None:
    octets = encode(make_entry(), STAMP)
    assert octets is not None and decode(octets, url, VARIANT, KEY) is None


def test_another_variant() -> None:
    octets = encode(make_entry(), STAMP)
    assert octets is not None
    assert decode(octets, URL, VARIANTS.plain, KEY) is None


def test_another_key() -> None:
    octets = encode(make_entry(), STAMP)
    assert octets is not None
    assert decode(octets, URL, VARIANT, b"cache:" + b"0" * 64) is None


def test_another_version() -> None:
    octets = encode(make_entry(), STAMP)
    assert octets is not None
    magic, version = struct.unpack("=HB", octets[:3])
    for changed in (struct.pack(">H", magic) + octets[2:], octets[:2] + b"\2" + octets[3:]):
        assert changed != octets or version != 1
        assert decode(changed, URL, VARIANT, KEY) is None


def test_no_cut_is_read() -> None:
    octets = encode(make_entry(tags=(b"a",), selecting=((b"a", None),)), STAMP, (1,))
    assert octets is not None
    assert not [size for size in range(len(octets)) if decode(octets[:size], URL, VARIANT, KEY)]
    assert decode(octets + b"\0", URL, VARIANT, KEY) is None


HEAD, VALIDATION = make_head(200, 7, [(b"ETag", b"x")], [(b"Date", b"d")])


@pytest.mark.parametrize(
    "head",
    {
        "no status line": HEAD[HEAD.index(b"\n") + 1 :],
        "another status": HEAD.replace(b"200", b"201"),
        "another version of HTTP": HEAD.replace(b"1.1", b"1.0"),
        "a control in the reason": HEAD.replace(b"Reason", b"Rea\0son"),
        "another length": HEAD.replace(b"Length: 7", b"Length: 8"),
        "a length with a sign": HEAD.replace(b"Length: 7", b"Length: +7"),
        "two lengths": HEAD.replace(b"Date: d", b"Content-length: 7"),
        "no length": HEAD.replace(b"Content-Length: 7\r\n", b""),
        "a transfer coding": HEAD.replace(b"Date: d", b"transfer-Encoding: chunked"),
        "an empty line": HEAD.replace(b"Date: d", b"Date: d\r\n"),
        "a line alone": HEAD.replace(b"Date: d", b"Date: d\nX: y"),
        "a carriage return alone": HEAD.replace(b"Date: d", b"Date: d\rX: y"),
        "a folded line": HEAD.replace(b"Date: d", b"Date: d\r\n e: f"),
        "a blank before the colon": HEAD.replace(b"Date: d", b"Date : d"),
        "no colon": HEAD.replace(b"Date: d", b"Date d"),
        "no name": HEAD.replace(b"Date: d", b": d"),
        "another key": HEAD.replace(KEY, b"cache:" + b"0" * 64),
        "no X-Cache": HEAD.replace(b"X-Cache: HIT\r\n", b""),
        "an age": HEAD + b"5",
        "no room for the age": HEAD[:-5],
        "nothing": b"",
    }.values(),
    ids=lambda head: "",
)
@pytest.mark.parametrize("moved", [0, -1, 1])
def test_a_head_that_would_not_stand_for_itself(head: bytes, moved: int) -> None:
    """Nor where a 304 would begin elsewhere than at a line's beginning behind the length."""
    whole = encode(make_entry(lines=([(b"ETag", b"x")], [(b"Date", b"d")])), STAMP)
    assert whole is not None
    assert decode(whole, URL, VARIANT, KEY) is not None
    assert whole[12:16] == struct.pack("=I", VALIDATION)
    where = whole.index(HEAD)
    octets = whole[: where - 4] + struct.pack("=I", len(head)) + head + whole[where + len(HEAD) :]
    for validation in {VALIDATION + moved, len(head) // 2}:
        fixed = octets[:12] + struct.pack("=I", validation) + octets[16:]
        assert decode(fixed, URL, VARIANT, KEY) is None


class Parsed:
    """What llhttp makes of a head."""

    def __init__(self, head: bytes) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.heads = 0
        parser = httptools.HttpResponseParser(self)
        parser.feed_data(head)
        self.status = parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.heads += 1


@settings(max_examples=1500, deadline=None)
@given(entries(), st.data())
def test_whatever_is_read_can_be_sent(entry: Entry, data: st.DataObject) -> None:
    """Octets changed anywhere, by somebody who can write to Redis, are a miss or still an entry."""
    octets = bytearray(encode(entry, STAMP, (1,) * len(entry.tags or ())) or b"")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets) - 1))
        change = data.draw(st.sampled_from(["octet", "cut", "insert", "number", "double"]))
        if change == "octet":
            octets[at] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del octets[at : at + data.draw(st.integers(1, 8))]
        elif change == "insert":
            octets[at:at] = data.draw(st.sampled_from([b"\r\n", b"\r\n\r\n", b"\0", b"x: y\r\n"]))
        elif change == "number":
            number = data.draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
            octets[at : at + 4] = struct.pack("=I", number)
        else:
            octets[at:at] = octets[at : at + data.draw(st.integers(1, 64))]
        if not octets:
            return
    decoded = decode(bytes(octets), URL, VARIANT, KEY)
    if decoded is None:
        return
    found = decoded.entry
    parsed = Parsed(found.head + b"0\r\n\r\n")
    lengths = [value for name, value in parsed.fields if name == b"content-length"]
    assert (parsed.heads, parsed.status) == (1, found.status)
    assert lengths == ([] if found.status == 204 else [b"%d" % found.length])
    assert found.head[found.validation - 2 : found.validation] == b"\r\n"
    if found.parts is None and not decoded.compressed and not decoded.chunks:
        assert found.body is not None and len(found.body) == found.length
    end = 0
    for first, part in found.parts or ():
        assert end <= first and first + len(part) <= found.length
        end = first + len(part)
    again = encode(found, decoded.stamp, decoded.generations, nonce=decoded.nonce)
    assert decoded.chunks or decoded.compressed or again == bytes(octets)


def test_a_nonce_that_no_chunk_can_begin_with() -> None:
    octets = encode(make_entry(bytes(1000)), STAMP, None, None, 2, 5)
    assert octets is not None and decode(octets, URL, VARIANT, KEY) is not None
    changed = octets.replace(struct.pack("=q", 5), struct.pack("=q", -5), 1)
    assert decode(changed, URL, VARIANT, KEY) is None


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    assert decode(octets, URL, VARIANT, KEY) is None
