"""A header section in plain Python, for tests of what reads one."""

from __future__ import annotations


class Section:
    """Lines of names (lower case) and values: Section({b"age": b"1"}, (b"age", b"2"))."""

    def __init__(
        self, fields: dict[bytes, bytes] | None = None, *more: tuple[bytes, bytes]
    ) -> None:
        self._lines = [*(fields or {}).items(), *more]

    def values(self, name: bytes, /) -> list[bytes]:
        return [value for line_name, value in self._lines if line_name == name]

    def combined(self, name: bytes, /) -> bytes | None:
        values = self.values(name)
        return b", ".join(values) if values else None
