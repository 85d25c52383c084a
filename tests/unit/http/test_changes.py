"""Changes of fields: removed, then set, then added; for lines and for stored heads."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.http import changes
from caching_proxy.http.changes import FieldChanges, Line


@dataclass
class Wanted:
    """What an operator asks for."""

    remove: list[str] = field(default_factory=list)
    set: dict[str, str] = field(default_factory=dict)
    add: dict[str, str] = field(default_factory=dict)


LINES: list[Line] = [
    (b"Server", b"one"),
    (b"X-Trace", b"a"),
    (b"x-trace", b"b"),
    (b"Cache-Control", b"max-age=60"),
]


def of(wanted: Wanted) -> FieldChanges:
    found = FieldChanges.of(wanted)
    assert found is not None
    return found


def test_nothing_asked_for_is_nothing() -> None:
    assert FieldChanges.of(None) is None
    assert FieldChanges.of(Wanted()) is None


@pytest.mark.parametrize(
    "wanted", [Wanted(remove=["a"]), Wanted(set={"a": ""}), Wanted(add={"a": ""})]
)
def test_each_part_alone_is_something(wanted: Wanted) -> None:
    assert isinstance(FieldChanges.of(wanted), FieldChanges)


@pytest.mark.parametrize("name", ["X-Trace", "x-trace", "X-TRACE"])
def test_removal_takes_every_line_of_the_name_in_any_case(name: str) -> None:
    assert of(Wanted(remove=[name])).apply(LINES) == [LINES[0], LINES[3]]


def test_only_whole_names_are_removed() -> None:
    assert of(Wanted(remove=["X-Trac", "Trace", "Serve"])).apply(LINES) == LINES


def test_setting_takes_the_place_of_all_lines() -> None:
    lines = of(Wanted(set={"x-Trace": "c"})).apply(LINES)
    assert lines == [LINES[0], LINES[3], (b"x-Trace", b"c")]


def test_setting_adds_what_is_not_there() -> None:
    assert of(Wanted(set={"X-New": "c"})).apply(LINES) == [*LINES, (b"X-New", b"c")]


def test_adding_leaves_the_lines_that_are_there() -> None:
    assert of(Wanted(add={"X-Trace": "c"})).apply(LINES) == [*LINES, (b"X-Trace", b"c")]


def test_removed_then_set_then_added() -> None:
    """What is removed can be set or added; what is set can be added to."""
    wanted = Wanted(remove=["Server", "X-Trace"], set={"X-Trace": "s"}, add={"x-trace": "t"})
    assert of(wanted).apply(LINES) == [LINES[3], (b"X-Trace", b"s"), (b"x-trace", b"t")]


def test_the_order_of_the_rest_stays() -> None:
    assert of(Wanted(remove=["none"])).apply(iter(LINES)) == LINES


def test_the_lines_given_stay_as_they_are() -> None:
    lines = list(LINES)
    found = of(Wanted(remove=["Server"], set={"A": "b"}))
    found.apply(lines).append((b"X", b"y"))
    assert lines == LINES
    assert found.lines == [(b"A", b"b")]


def test_no_lines_get_the_new_ones() -> None:
    assert of(Wanted(remove=["a"], add={"B": "c"})).apply([]) == [(b"B", b"c")]
    assert of(Wanted(remove=["a"])).apply([]) == []


def test_values_are_latin_1() -> None:
    found = of(Wanted(set={"A": "caf\xe9"}, add={"B": ""}))
    assert found.lines == [(b"A", b"caf\xe9"), (b"B", b"")]


def test_what_is_asked_for_is_shown() -> None:
    """The key tells requests by it: the same text for the same changes, and another for others."""
    one = of(Wanted(remove=["B", "a"], set={"C": "d"}))
    same = FieldChanges([b"c", b"A", b"b"], [(b"C", b"d")])
    assert repr(one) == repr(same) == "FieldChanges([b'a', b'b', b'c'], [(b'C', b'd')])"
    others = [
        Wanted(remove=["a"], set={"C": "d"}),
        Wanted(remove=["B", "a"], set={"C": "e"}),
        Wanted(remove=["B", "a", "C"], set={"X": "d"}),
        Wanted(remove=["B", "a"], add={"C": "d"}),
        Wanted(remove=["B", "a"], set={"C": "d"}, add={"C": "d"}),
    ]
    assert len({repr(of(wanted)) for wanted in others} | {repr(one)}) == len(others) + 1


# -- stored heads: status line, lines that describe the content, other lines (in a 304 as well)

CONTENT = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nServer: one\r\n"
OURS = b"Via: 1.1 proxy\r\nX-Cache: HIT\r\nAge: "
OTHERS = b"Cache-Control: max-age=60\r\nX-Trace: a\r\nx-trace: b\r\n" + OURS
HEAD = CONTENT + OTHERS


def test_a_stored_head_without_a_field() -> None:
    head, validation = of(Wanted(remove=["x-trace"])).stored_head(HEAD, len(CONTENT))
    assert head == CONTENT + b"Cache-Control: max-age=60\r\n" + OURS
    assert validation == len(CONTENT)


def test_the_other_lines_begin_elsewhere_when_content_lines_go() -> None:
    head, validation = of(Wanted(remove=["SERVER"])).stored_head(HEAD, len(CONTENT))
    assert head[:validation] == b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    assert head[validation:] == OTHERS


def test_new_lines_stand_behind_the_others_and_before_ours() -> None:
    wanted = Wanted(set={"Server": "two"}, add={"X-New": "", "X-More": "caf\xe9"})
    head, validation = of(wanted).stored_head(HEAD, len(CONTENT))
    assert head[:validation] == b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    new = b"Server: two\r\nX-New: \r\nX-More: caf\xe9\r\n"
    assert head[validation:] == OTHERS.removesuffix(OURS) + new + OURS


def test_the_status_line_and_the_unfinished_line_stay() -> None:
    wanted = Wanted(remove=["Content-Type", "Server", "Cache-Control", "X-Trace", "HTTP/1.1"])
    head, validation = of(wanted).stored_head(HEAD, len(CONTENT))
    assert head == b"HTTP/1.1 200 OK\r\n" + OURS
    assert head[validation:] == OURS


def test_a_value_that_looks_like_a_name_is_none() -> None:
    content = b"HTTP/1.1 200 OK\r\nContent-Type: x-trace:y\r\n"
    head = content + b"Via: x-trace: z\r\nAge: "
    assert of(Wanted(remove=["x-trace"])).stored_head(head, len(content)) == (head, len(content))


def test_a_head_without_lines_of_either_kind() -> None:
    bare = b"HTTP/1.1 204 No Content\r\n"
    head, validation = of(Wanted(add={"A": "b"})).stored_head(bare + OURS, len(bare))
    assert (head, validation) == (bare + b"A: b\r\n" + OURS, len(bare))


def test_a_changed_head_is_remembered() -> None:
    found = of(Wanted(set={"Server": "two"}))
    first = found.stored_head(HEAD, len(CONTENT))
    assert found.stored_head(bytes(bytearray(HEAD)), len(CONTENT)) is first
    other = HEAD.replace(b"max-age=60", b"max-age=61")
    changed = found.stored_head(other, len(CONTENT))
    assert changed[0] == first[0].replace(b"max-age=60", b"max-age=61")


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "REMEMBERED", 2)
    found = of(Wanted(set={"Server": "two"}))
    status = b"HTTP/1.1 200 OK\r\n"
    heads = [status + b"X: %d\r\n" % number + OURS for number in range(3)]
    first = found.stored_head(heads[0], len(status))
    second = found.stored_head(heads[1], len(status))
    assert found.stored_head(heads[0], len(status)) is first
    assert found.stored_head(heads[1], len(status)) is second
    found.stored_head(heads[2], len(status))
    again = found.stored_head(heads[0], len(status))
    assert again == first
    assert again is not first


NAMES = st.sampled_from(["Server", "server", "Link", "X-A", "x-a", "X-B"])
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=5)
FIELDS = st.dictionaries(NAMES, TEXTS, max_size=3)


@given(st.lists(st.tuples(NAMES, TEXTS)), st.lists(NAMES, max_size=3), FIELDS, FIELDS)
def test_lines_and_stored_heads_are_changed_alike(
    fields: list[tuple[str, str]], remove: list[str], sets: dict[str, str], adds: dict[str, str]
) -> None:
    found = FieldChanges.of(Wanted(remove, sets, adds))
    if found is None:
        return
    lines = [(name.encode(), value.encode()) for name, value in fields]
    status = b"HTTP/1.1 200 OK\r\n"
    head = status + b"".join([b"%b: %b\r\n" % line for line in lines]) + OURS
    changed, validation = found.stored_head(head, len(status))
    told = changed[validation:].removesuffix(OURS).split(b"\r\n")[:-1]
    assert told == [b"%b: %b" % line for line in found.apply(lines)]
    assert changed.startswith(status)
    assert changed.endswith(b"\r\n" + OURS)
