"""Remembering what field values mean: a few values make up nearly all traffic."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")

REMEMBERED = 1024  # values a function
LONGEST = 512  # octets; longer values are read anew each time, so that memory stays bounded


def memoised(read: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """`read`, a pure function, that remembers its results for short values."""
    remembered = lru_cache(maxsize=REMEMBERED)(read)

    @wraps(read)
    def look_up(value: bytes) -> T:
        return remembered(value) if len(value) <= LONGEST else read(value)

    return look_up
