"""Parts of a representation, combined."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.parts import PARTS_MAX, Part, combine, whole

DOC = bytes(range(60))
RANGES = st.tuples(st.integers(0, 59), st.integers(0, 59)).map(sorted)


def part(first: int, last: int) -> Part:
    return first, DOC[first : last + 1]


@given(st.lists(RANGES, min_size=1))
def test_parts_hold_what_was_put_in_and_never_overlap(ranges: list[list[int]]) -> None:
    parts: tuple[Part, ...] = ()
    held: set[int] = set()
    for first, last in ranges:
        parts = combine(parts, part(first, last))
        held |= set(range(first, last + 1))
    positions = [at for first, octets in parts for at in range(first, first + len(octets))]
    assert positions == sorted(held)
    assert all(DOC[first : first + len(octets)] == octets for first, octets in parts)
    assert whole(parts, 60) == (DOC if len(held) == 60 else None)


def test_what_is_there_stays() -> None:
    assert combine(((10, b"old"),), (9, b"newer")) == ((9, b"n"), (10, b"old"), (13, b"r"))


def test_neighbours_are_joined_when_there_are_many() -> None:
    parts: tuple[Part, ...] = ()
    for at in range(PARTS_MAX + 1):
        parts = combine(parts, (at, b"x"))
        assert len(parts) <= PARTS_MAX
    assert parts == ((0, b"x" * (PARTS_MAX + 1)),)


def test_too_many_apart_leave_the_latest() -> None:
    parts: tuple[Part, ...] = ()
    for number in range(PARTS_MAX):
        parts = combine(parts, (2 * number, b"x"))
    assert len(parts) == PARTS_MAX
    assert combine(parts, (9999, b"y")) == ((9999, b"y"),)
