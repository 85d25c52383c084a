from __future__ import annotations

import pytest

from caching_proxy.http.memo import LONGEST, REMEMBERED, memoised


@pytest.mark.parametrize(("size", "reads"), [(LONGEST, 1), (LONGEST + 1, 2)])
def test_only_short_values_are_remembered(size: int, reads: int) -> None:
    read: list[bytes] = []

    @memoised
    def length(value: bytes) -> int:
        read.append(value)
        return len(value)

    assert [length(b"a" * size), length(b"a" * size)] == [size, size]
    assert len(read) == reads


def test_the_number_of_remembered_values_is_bounded() -> None:
    read: list[bytes] = []
    remember = memoised(read.append)
    for number in [*range(REMEMBERED + 1), 0]:
        remember(b"%d" % number)
    assert read.count(b"0") == 2
