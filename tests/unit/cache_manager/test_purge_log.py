"""The log of purges: which of them mean a response, and when it no longer tells."""

from __future__ import annotations

import pytest

from caching_proxy.cache_manager.purge_log import PurgeLog, purge_line
from caching_proxy.cache_manager.standing import Standing

START = 7 << 20
URL = b"http://one.example/a/b"
TAGS = (b"tag\nshop", b"tag\nnews")


def lines(*purges: bytes, start: int = START) -> list[bytes]:
    """A log as Redis has it."""
    first = b"%d start hard " % start
    return [first, *(b"%d %b" % (start + n, purge) for n, purge in enumerate(purges, 1))]


def by_tag(tag: bytes, *, soft: bool = False) -> bytes:
    return purge_line(soft, b"tag\n" + tag, b"", b"")


def by_prefix(prefix: bytes, suffix: bytes = b"", *, soft: bool = False) -> bytes:
    return purge_line(soft, None, prefix, suffix)


def standing(
    *purges: bytes, since: int = START, url: bytes = URL, tags: tuple[bytes, ...] | None = TAGS
) -> Standing:
    log = PurgeLog()
    log.take(lines(*purges))
    return log.verdict(since, url, tags)


@pytest.mark.parametrize(
    ("purge", "meant"),
    [
        (by_tag(b"shop"), True),
        (by_tag(b"news"), True),
        (by_tag(b"sho"), False),
        (by_tag(b""), False),
        (by_prefix(b""), True),
        (by_prefix(b"http://one.example/a"), True),
        (by_prefix(URL), True),
        (by_prefix(URL + b"/c"), False),
        (by_prefix(b"http://one", b"/b"), True),
        (by_prefix(b"http://one", b"/c"), False),
    ],
)
def test_whom_a_purge_means(purge: bytes, meant: bool) -> None:
    assert standing(purge) is (Standing.GONE if meant else Standing.CURRENT)
    soft = purge.replace(b"hard", b"soft", 1)
    assert standing(soft) is (Standing.STALE if meant else Standing.CURRENT)


def test_slices_are_meant_by_the_end_of_their_whole() -> None:
    assert standing(by_prefix(b"http", b"/b"), url=URL + b"\0" + b"3") is Standing.GONE


def test_what_has_no_tags() -> None:
    assert standing(by_tag(b"shop"), tags=None) is Standing.CURRENT


def test_only_later_purges_count() -> None:
    purges = [by_tag(b"shop"), by_tag(b"other")]
    assert standing(*purges, since=START) is Standing.GONE
    assert standing(*purges, since=START + 1) is Standing.CURRENT
    assert standing(*purges, since=START + 2) is Standing.CURRENT


def test_a_hard_purge_is_more_than_a_soft_one() -> None:
    soft, hard = by_tag(b"shop", soft=True), by_tag(b"news")
    assert standing(soft, hard) is standing(hard, soft) is Standing.GONE


@pytest.mark.parametrize("since", [0, 1, START - 2, START + 3, START << 1])
def test_what_the_log_does_not_reach_is_gone(since: int) -> None:
    """It is too old, or of another log."""
    assert standing(by_tag(b"x"), by_tag(b"y"), since=since) is Standing.GONE


def test_without_a_log_everything_is_gone() -> None:
    log = PurgeLog()
    for since in (0, START):
        assert log.verdict(since, URL, TAGS) is Standing.GONE


def test_what_is_new_is_told_once() -> None:
    log = PurgeLog()
    assert log.take(lines()) is None, "nothing was known before"
    assert log.take(lines()) == []
    whole = lines(by_tag(b"a"), by_prefix(b"b"))
    fresh = log.take(whole)
    assert fresh is not None
    assert [(purge.tag, purge.prefix) for purge in fresh] == [(b"tag\na", None), (None, b"b")]
    assert log.take(whole) == []
    cut = whole[2:]
    assert log.take(cut) == []
    assert (log.first, log.last) == (START + 2, START + 2)
    assert log.verdict(START + 1, URL, None) is Standing.CURRENT
    assert log.verdict(START, URL, None) is Standing.GONE


@pytest.mark.parametrize(
    "found",
    [
        [],
        lines(start=START << 1),
        lines(*[by_tag(b"x")] * 5)[4:],
        [*lines(by_tag(b"x"))[:1], b"garbage"],
        [b"1" * 30 + b" start hard "],
        [b"-1 start hard "],
        [b"%d other hard x" % START],
        [5],
        [None],
    ],
)
def test_a_log_in_which_something_may_be_missing(found: list[bytes]) -> None:
    log = PurgeLog()
    log.take(lines())
    assert log.take(found) is None
