"""Changes of a message's fields that the operator asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

Line = tuple[bytes, bytes]  # field name and value

REMEMBERED = 4096  # stored heads; then they are changed anew


class Asked(Protocol):
    """What is to be changed."""

    @property
    def remove(self) -> Sequence[str]: ...
    @property
    def set(self) -> Mapping[str, str]: ...
    @property
    def add(self) -> Mapping[str, str]: ...


class FieldChanges:
    """Fields that are removed, and lines that are added in their place or besides."""

    def __init__(self, remove: Iterable[bytes], lines: Sequence[Line]) -> None:
        """`remove` are names; those in lower case count."""
        self.removed = frozenset([name.lower() for name in remove])
        self.lines = list(lines)
        self._text = b"".join([b"%b: %b\r\n" % line for line in lines])
        self._heads: dict[bytes, tuple[bytes, int]] = {}

    @classmethod
    def of(cls, asked: Asked | None) -> FieldChanges | None:
        """What is asked for; None where nothing is."""
        if asked is None or not (asked.remove or asked.set or asked.add):
            return None
        lines = [*asked.set.items(), *asked.add.items()]
        removed = [name.encode() for name in [*asked.remove, *asked.set]]
        return cls(removed, [(name.encode(), value.encode("latin-1")) for name, value in lines])

    def __repr__(self) -> str:
        return f"FieldChanges({sorted(self.removed)!r}, {self.lines!r})"

    def apply(self, lines: Iterable[Line]) -> list[Line]:
        """These lines, changed."""
        return [line for line in lines if line[0].lower() not in self.removed] + self.lines

    def stored_head(self, head: bytes, validation: int) -> tuple[bytes, int]:
        """A stored head (status line, lines that describe the content, other lines), changed.

        `validation` is where the other lines begin, before and after; our own begin with Via. The
        head's last line has no value and no end yet.
        """
        changed = self._heads.get(head)
        if changed is None:
            if len(self._heads) >= REMEMBERED:
                self._heads.clear()
            first, rest = self._kept(head[:validation]), self._kept(head[validation:])
            at = rest.rindex(b"Via: ")  # ours, which stands behind what came
            changed = first + rest[:at] + self._text + rest[at:], len(first)
            self._heads[head] = changed
        return changed

    def _kept(self, lines: bytes) -> bytes:
        kept = [
            line
            for line in lines.split(b"\r\n")
            if line.partition(b":")[0].lower() not in self.removed
        ]
        return b"\r\n".join(kept)
