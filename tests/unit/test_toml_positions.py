"""Lines of a TOML document: where keys and tables stand, against what tomllib finds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caching_proxy.toml_positions import Place, positions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """Every table, key and list member that tomllib found."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, (*path, number))


# -- by hand


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# nothing\n\n", {}),
        ("a = 1", {("a",): 1}),
        ("\n# b = 2\na = 1 # c = 3\n", {("a",): 3}),
        ("a = 1\r\n\r\nb = 2\r\n", {("a",): 1, ("b",): 3}),
        ("\t a\t=\t1\t\n", {("a",): 1}),
        ('"a b" = 1\n\'c.d\' = 2\n"" = 3', {("a b",): 1, ("c.d",): 2, ("",): 3}),
        ('"é#=[x]" = 1', {("é#=[x]",): 1}),
        ("1979-05-27 = 1\n2 = 3", {("1979-05-27",): 1, ("2",): 2}),
    ],
)
def test_keys(text: str, expected: dict[Place, int]) -> None:
    assert positions(text) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("1", "0x1f", "1e3", "inf", "true", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00"),
        *('""', "''", '"a # b"', '"\\""', '"\\\\"', "'\\'", "'\"'", '"]}"', "'''a'''", '"""a"""'),
        *("[]", "{}", "[[], [[]]]", "[ ]", "{ }", '"""a""b"""', '""""a"""""', "''''a'''''"),
    ],
)
def test_what_follows_a_value_has_the_next_line(value: str) -> None:
    text = f"a = {value} # x = 1\nb = 2"
    assert ("b",) in {*places(tomllib.loads(text))}
    found = positions(text)
    assert (found["a",], found["b",]) == (1, 2)
    assert ("x",) not in found


@pytest.mark.parametrize(
    "value",
    [
        '"""\nx = 1\n"""',
        "'''\nx = 1\n'''",
        '"""x \\\n  y\n"""',
        '"""\n[x]\\"""\n"""',
        '"""\n"x"\n""x""\n"""""',
        "'''\n'x'\n''\\'''''",
        "[\n1,\n2]",
        "[ # [\n 1, # ]\n]",
        '[\n"]"\n,\n"#", ]',
    ],
)
def test_what_follows_a_value_of_many_lines(value: str) -> None:
    text = f"a = {value}\nb = 2"
    assert ("b",) in {*places(tomllib.loads(text))}
    found = positions(text)
    assert (found["a",], found["b",]) == (1, text.count("\n") + 1)
    assert ("x",) not in found


def test_members_of_a_list_have_the_lines_where_they_begin() -> None:
    text = """
list = [
    1, 2,
    # not a member: 3,
    "four",
    [
        5,
    ], { six = 6, seven = [
        7,
    ], eight = 8 },
]
"""
    assert positions(text) == {
        ("list",): 2,
        ("list", 0): 3,
        ("list", 1): 3,
        ("list", 2): 5,
        ("list", 3): 6,
        ("list", 3, 0): 7,
        ("list", 4): 8,
        ("list", 4, "six"): 8,
        ("list", 4, "seven"): 8,
        ("list", 4, "seven", 0): 9,
        ("list", 4, "eight"): 10,
    }


def test_a_member_may_begin_behind_the_key() -> None:
    assert positions("a =  [\n\n1]") == {("a",): 1, ("a", 0): 3}


def test_dotted_keys() -> None:
    text = "a.b.c = 1\na . \"b\" . d = 2\na.e = { f.g = 3 }\n[t]\na.b = 4\n't'.c = 5"
    assert positions(text) == {
        ("a",): 1,
        ("a", "b"): 1,
        ("a", "b", "c"): 1,
        ("a", "b", "d"): 2,
        ("a", "e"): 3,
        ("a", "e", "f"): 3,
        ("a", "e", "f", "g"): 3,
        ("t",): 4,
        ("t", "a"): 5,
        ("t", "a", "b"): 5,
        ("t", "t"): 6,
        ("t", "t", "c"): 6,
    }


def test_tables() -> None:
    text = '[a]\nb = 1\n[ a . "c d" ] # [e]\n\nf = 2\n["g]h"]\ni = 3'
    assert positions(text) == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c d"): 3,
        ("a", "c d", "f"): 5,
        ("g]h",): 6,
        ("g]h", "i"): 7,
    }


def test_a_table_whose_header_comes_after_that_of_its_own_table() -> None:
    assert positions("[a.b]\nc = 1\n\n[a]\nd = 2") == {
        ("a", "b"): 1,
        ("a", "b", "c"): 2,
        ("a",): 4,
        ("a", "d"): 5,
    }


def test_lists_of_tables() -> None:
    text = """[[a]]
b = 1
[[a.c]]
d = 2
[[a.c]]
[a.c.e]
f = 3

[[ a ]]
[[a.c]]
d = 4
[a.g]
"""
    assert positions(text) == {
        ("a",): 1,
        ("a", 0): 1,
        ("a", 0, "b"): 2,
        ("a", 0, "c"): 3,
        ("a", 0, "c", 0): 3,
        ("a", 0, "c", 0, "d"): 4,
        ("a", 0, "c", 1): 5,
        ("a", 0, "c", 1, "e"): 6,
        ("a", 0, "c", 1, "e", "f"): 7,
        ("a", 1): 9,
        ("a", 1, "c"): 10,
        ("a", 1, "c", 0): 10,
        ("a", 1, "c", 0, "d"): 11,
        ("a", 1, "g"): 12,
    }


def test_a_list_in_a_table() -> None:
    assert positions("[a]\n[[a.b]]\nc = 1\n[[a.b]]") == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "b", 0): 2,
        ("a", "b", 0, "c"): 3,
        ("a", "b", 1): 4,
    }


# -- documents written in many ways

KEYS = st.sampled_from(
    ["a", "b", "name", "a-b", "a_b", "1", "A", "a b", "c.d", "é", "", "x#y", "[z]", "k = v", "]"]
)
SCALARS = st.sampled_from(
    [
        *("1", "-17", "1.5", "0xff", "inf", "true", "1979-05-27T07:32:00Z", "07:32:00"),
        *('""', "''", '"text"', "'text'", '"# none"', "'[a]'", '"\\"]"', "'\\'", '"a, b } = c"'),
        *('"""a = 1"""', "'''[b]'''", '"""\n[a]\n# c\n"""', "'''\nb = 1\n\n'''"),
        *('""""q"""""', "'''it''s'''", '"""a \\\n   b\\"""\n"""', "'''\\\n'''"),
    ]
)
"""As they are written."""
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)


class Writer:
    """Writes a document in styles that it draws, and notes the lines."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw
        self.text = ""
        self.lines: dict[Place, int] = {}

    def table(self, table: dict[str, Any], path: Place, header: str = "") -> None:
        """A table with a header, and the tables in it; the order of both may be the other way."""
        later = {name: value for name, value in table.items() if self._has_headers(value)}
        body = partial(self._body, table, later, path, header)
        below = [partial(self._below, value, (*path, name)) for name, value in later.items()]
        order = [body, *below]
        # A list of tables has its own header first; so has what is in one.
        if header.startswith("[") and not header.startswith("[[") and self._coin():
            order = [*below, body]
        for write in order:
            write()

    def _body(self, table: dict[str, Any], later: dict[str, Any], path: Place, header: str) -> None:
        if header:
            self._blank()
            self.lines[path] = self._line()
            if header.startswith("[["):
                self.lines.setdefault(path[:-1], self._line())
            self.text += header
            self._end()
        for name, value in table.items():
            if name not in later:
                self._pair([name], value, path)

    def _below(self, value: Any, path: Place) -> None:
        if isinstance(value, dict):
            self.table(value, path, f"[{self._dotted(path)}]")
        else:
            for number, member in enumerate(value):
                self.table(member, (*path, number), f"[[{self._dotted(path)}]]")

    def _has_headers(self, value: Any) -> bool:
        if isinstance(value, list):
            return (
                bool(value) and all(isinstance(member, dict) for member in value) and self._coin()
            )
        return isinstance(value, dict) and self._coin()

    def _pair(self, names: list[str], value: Any, path: Place) -> None:
        """`name = value`, or the members of a table as dotted keys."""
        if isinstance(value, dict) and value and self._coin():
            for name, inner in value.items():
                self._pair([*names, name], inner, path)
            return
        self._blank()
        self._named(names, value, path)
        self._end()

    def _named(self, names: list[str], value: Any, path: Place) -> None:
        for end in range(1, len(names) + 1):
            self.lines.setdefault((*path, *names[:end]), self._line())
        equals = self._draw(st.sampled_from(["=", " = ", "\t=  "]))
        self.text += self._dotted(tuple(names)) + equals
        self._value(value, (*path, *names))

    def _value(self, value: Any, path: Place) -> None:
        self.lines.setdefault(path, self._line())
        if isinstance(value, list):
            self._members(value, path)
        elif isinstance(value, dict):
            self.text += self._draw(st.sampled_from(["{", "{ "]))
            for number, (name, inner) in enumerate(value.items()):
                self.text += ", " if number else ""
                self._named([name], inner, path)
            self.text += self._draw(st.sampled_from(["}", " }"]))
        else:
            self.text += value

    def _members(self, values: list[Any], path: Place) -> None:
        breaks = ["", " ", "\n", "\n  # , ]\n\t", " # [\n"]
        self.text += "[" + self._draw(st.sampled_from(breaks))
        for number, value in enumerate(values):
            self._value(value, (*path, number))
            is_last = number == len(values) - 1
            self.text += self._draw(st.sampled_from(breaks))
            self.text += "," if not is_last or self._coin() else ""
            self.text += self._draw(st.sampled_from(breaks))
        self.text += "]"

    def _dotted(self, path: Place) -> str:
        names = [self._key(step) for step in path if isinstance(step, str)]
        return str(self._draw(st.sampled_from([".", " . "])).join(names))

    def _key(self, name: str) -> str:
        forms = [f'"{name}"', f"'{name}'"]
        if name and name.isascii() and name.replace("-", "").replace("_", "").isalnum():
            forms.append(name)
        return str(self._draw(st.sampled_from(forms)))

    def _blank(self) -> None:
        self.text += self._draw(st.sampled_from(["", "", "\n", "# a = 1\n", " \t\n\n", "  "]))

    def _end(self) -> None:
        self.text += self._draw(st.sampled_from(["\n", "\n", " # [a]\n", "\t\n\n"]))

    def _line(self) -> int:
        return self.text.count("\n") + 1

    def _coin(self) -> bool:
        return bool(self._draw(st.booleans()))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(DOCUMENTS, st.data())
def test_all_that_tomllib_finds_has_its_line(document: dict[str, Any], data: st.DataObject) -> None:
    writer = Writer(data.draw)
    writer.table(document, ())
    found = places(tomllib.loads(writer.text))
    assert set(writer.lines) == set(found)
    assert positions(writer.text) == writer.lines
    assert positions(writer.text.replace("\n", "\r\n")) == writer.lines
