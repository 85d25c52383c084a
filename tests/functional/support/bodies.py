"""Bodies that can be told apart from every other body, and checked without keeping them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from functools import lru_cache

# A prime, so that no buffer size divides it: a lost, doubled or swapped buffer shows in the hash.
_BLOCK = 65_521


@lru_cache(maxsize=256)
def _block(seed: str) -> bytes:
    return random.Random(seed).randbytes(_BLOCK)


def pieces(seed: str, size: int) -> Iterator[bytes]:
    """The body of `size` bytes that belongs to `seed`, piece by piece."""
    block = _block(seed)
    for start in range(0, size, _BLOCK):
        yield block[: size - start]


def body(seed: str, size: int) -> bytes:
    """The same body as a whole."""
    return b"".join(pieces(seed, size))


def digest(seed: str, size: int) -> str:
    """SHA-256 of the same body, in hexadecimal."""
    sha256 = hashlib.sha256()
    for piece in pieces(seed, size):
        sha256.update(piece)
    return sha256.hexdigest()
