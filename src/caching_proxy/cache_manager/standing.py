"""What purges have left of a stored response."""

from __future__ import annotations

import enum


class Standing(enum.Enum):
    """Whether a response may still be used."""

    CURRENT = enum.auto()
    STALE = enum.auto()
    """A soft purge has ended its freshness."""
    GONE = enum.auto()
