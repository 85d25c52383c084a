"""Bodies in Redis, compressed with Zstandard (RFC 8878): an extra, `caching-proxy[zstd]`."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

SMALLEST = 1024  # octets of a body that are worth the time
WORTH = 7 / 8  # of its size: what does not become smaller than this stays as it is
LEVEL = 3
WINDOW_MAX = 24  # binary logarithm of what decompressing may hold, however little comes out


def _module() -> Any:
    for name in ("compression.zstd", "backports.zstd"):  # the first from Python 3.14 on
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


_zstd = _module()


def is_available() -> bool:
    """Whether the extra is installed."""
    return _zstd is not None


def is_worth_trying(head: bytes, body: bytes | None) -> bool:
    """Whether the body of a response may become smaller: it is not coded already."""
    return (
        body is not None and len(body) >= SMALLEST and b"\r\ncontent-encoding:" not in head.lower()
    )


def compress(body: bytes) -> bytes | None:
    """The octets that stand for a body; None where that saves too little."""
    packed: bytes = _zstd.compress(body, LEVEL)
    return packed if len(packed) <= len(body) * WORTH else None


def decompress(packed: bytes, length: int) -> bytes | None:
    """The body of this length that octets stand for; None where they do not."""
    options = {_zstd.DecompressionParameter.window_log_max: WINDOW_MAX}
    decompressor = _zstd.ZstdDecompressor(options=options)
    try:
        body: bytes = decompressor.decompress(packed, max_length=length + 1)
    except _zstd.ZstdError:
        return None
    whole = decompressor.eof and len(body) == length and not decompressor.unused_data
    return body if whole else None
