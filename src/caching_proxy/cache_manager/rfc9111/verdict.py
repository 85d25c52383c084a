"""What the policy's enumerations have in common."""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    """An enumeration whose members are cheap to look up: one is only ever equal to itself.

    Enum hashes a member's name anew each time, in Python.
    """

    __hash__ = object.__hash__
