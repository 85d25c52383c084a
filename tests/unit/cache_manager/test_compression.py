"""Zstandard around bodies: what is worth it, and what hostile octets may not do."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.compression import compress, decompress, is_worth_trying

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
TEXT = b"the same again and again, " * 1000


def test_a_body_comes_back() -> None:
    packed = compress(TEXT)
    assert packed is not None and len(packed) < len(TEXT) / 10
    assert decompress(packed, len(TEXT)) == TEXT


def test_what_does_not_become_smaller_stays_as_it_is() -> None:
    assert compress(os.urandom(5000)) is None


@pytest.mark.parametrize(
    ("head", "body", "worth"),
    [
        (HEAD, TEXT, True),
        (HEAD, TEXT[:1023], False),
        (HEAD, None, False),
        (HEAD + b"Content-Encoding: gzip\r\n", TEXT, False),
    ],
)
def test_what_is_tried(head: bytes, body: bytes | None, worth: bool) -> None:
    assert is_worth_trying(head, body) is worth


@pytest.mark.parametrize("length", [0, 1, len(TEXT) - 1, len(TEXT) + 1, 10**9])
def test_another_length_than_was_said(length: int) -> None:
    assert decompress(compress(TEXT) or b"", length) is None


def test_octets_behind_it() -> None:
    packed = compress(TEXT) or b""
    assert decompress(packed + b"x", len(TEXT)) is None
    assert decompress(packed + packed, len(TEXT)) is None


def test_a_bomb_is_not_unpacked() -> None:
    assert decompress(compress(bytes(100_000_000)) or b"", 1000) is None


@given(st.binary(max_size=200), st.integers(0, 1000))
def test_any_octets(octets: bytes, length: int) -> None:
    found = decompress(octets, length)
    assert found is None or len(found) == length
