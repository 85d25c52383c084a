"""On which line of a TOML document each value stands; tomllib does not tell."""

from __future__ import annotations

import re
import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Place = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'", re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def positions(text: str) -> dict[Place, int]:
    """The line, from 1, of every table, key and list member of a valid document."""
    return _Scanner(text).scan()


class _Scanner:
    """Walks over a document that tomllib has found valid."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[Place, int] = {}
        self._lengths: dict[Place, int] = {}  # of lists of tables
        self._counted = 0, 1  # an offset, and its line

    def scan(self) -> dict[Place, int]:
        table: Place = ()
        while self._skip(_BLANK) and self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._found

    def _header(self) -> Place:
        """`[a.b]` or `[[a.b]]`."""
        line = self._line()
        is_list = self._text.startswith("[[", self._at)
        self._at += 2 if is_list else 1
        path: Place = ()
        names = self._key()
        for name in names[:-1]:
            path = self._last((*path, name))
            self._found.setdefault(path, line)
        path = (*path, names[-1])
        self._found.setdefault(path, line)
        if is_list:
            self._lengths[path] = self._lengths.get(path, 0) + 1
        path = self._last(path)
        self._found[path] = line
        self._at = self._text.index("]", self._at) + (2 if is_list else 1)
        return path

    def _last(self, path: Place) -> Place:
        """The table at `path`: of a list of tables its last one so far."""
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, table: Place) -> None:
        line = self._line()
        path = table
        for name in self._key():
            path = (*path, name)
            self._found.setdefault(path, line)
        self._at = self._text.index("=", self._at) + 1
        self._value(path)

    def _key(self) -> list[str]:
        """A dotted key, and the blanks around it."""
        names = []
        while True:
            self._skip(_SPACE)
            found = _STRING.match(self._text, self._at) or _BARE_KEY.match(self._text, self._at)
            assert found is not None, "tomllib takes no such document"
            names.append(_name(found[0]))
            self._at = found.end()
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return names
            self._at += 1

    def _value(self, path: Place) -> None:
        self._skip(_SPACE)
        self._found.setdefault(path, self._line())
        first = self._text[self._at]
        if first == "[":
            self._members(path, "]")
        elif first == "{":
            self._members(path, "}")
        else:
            found = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            assert found is not None
            self._at = found.end()

    def _members(self, path: Place, end: str) -> None:
        """Of a list or an inline table."""
        self._at += 1
        number = 0
        while self._skip(_BLANK) and self._text[self._at] != end:
            if self._text[self._at] == ",":
                self._at += 1
            elif end == "]":
                self._value((*path, number))
                number += 1
            else:
                self._pair(path)
        self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        found = pattern.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return True

    def _line(self) -> int:
        at, line = self._counted
        line += self._text.count("\n", at, self._at)
        self._counted = self._at, line
        return line


def _name(key: str) -> str:
    """What a simple key says."""
    return next(iter(tomllib.loads(f"{key} = 0"))) if key[0] in "\"'" else key
