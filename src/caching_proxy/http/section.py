"""What the policy needs to know of a header section."""

from __future__ import annotations

from typing import Protocol


class FieldSection(Protocol):
    """The field lines of one message; names are given in lower case."""

    def combined(self, name: bytes, /) -> bytes | None:
        """The values of all lines of that name joined by ", " (RFC 9110 5.3); None without any."""

    def values(self, name: bytes, /) -> list[bytes]:
        """The values of the lines of that name, one a line, in order."""
