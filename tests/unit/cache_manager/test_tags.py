from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from http_sf import ser
from hypothesis import example, given
from hypothesis import strategies as st

from caching_proxy.cache_manager.tags import (
    GROUPS_FIELD_SIZE_MAX,
    TAG_SIZE_MAX,
    TAGS_MAX,
    TOO_MANY_TAGS,
    cache_groups,
    invalidated_groups,
    requested_tags,
    response_tags,
)
from tests.unit.sections import Section

NAMES = (b"cache-tag", b"surrogate-key", b"xkey")
Read = Callable[[Section, Sequence[bytes]], tuple[bytes, ...]]

both = pytest.mark.parametrize("read", [response_tags, requested_tags])


@both
@pytest.mark.parametrize(
    ("fields", "tags"),
    [
        ([], ()),
        ([(b"cache-tag", b"a")], (b"a",)),
        ([(b"cache-tag", b" a ,\tb b, ,c\t,")], (b"a", b"b b", b"c")),
        ([(b"surrogate-key", b"a  b\tc")], (b"a", b"b", b"c")),
        ([(b"surrogate-key", b" a,b ")], (b"a,b",)),
        ([(b"xkey", b"a, b c,,d")], (b"a", b"b", b"c", b"d")),
        ([(b"cache-tag", b"a"), (b"cache-tag", b"b,a")], (b"a", b"b")),
        ([(b"xkey", b"z a"), (b"cache-tag", b"a,b")], (b"a", b"b", b"z")),
        ([(b"cache-tag", b"A,a")], (b"A", b"a")),
        ([(b"cache-tag", b'"a,b"')], (b'"a', b'b"')),
        ([(b"cache-tag", b"a\nb\x0b")], (b"a\nb\x0b",)),
        ([(b"cache-tag", b""), (b"xkey", b" ")], ()),
        ([(b"other", b"a"), (b"cache-groups", b'"a"')], ()),
    ],
)
def test_tags(read: Read, fields: list[tuple[bytes, bytes]], tags: tuple[bytes, ...]) -> None:
    assert read(Section(None, *fields), NAMES) == tags


@both
def test_only_the_named_fields_are_read(read: Read) -> None:
    section = Section({b"cache-tag": b"a", b"edge-tag": b"b, c"})
    assert read(section, [b"edge-tag"]) == (b"b", b"c")
    assert read(section, ()) == ()


@both
def test_limits(read: Read) -> None:
    tags = [b"%d" % number for number in range(TAGS_MAX)]
    assert read(Section({b"xkey": b" ".join(tags)}), NAMES) == tuple(tags)
    assert read(Section({b"xkey": b" ".join([*tags, b"0"])}), NAMES) == tuple(tags)
    assert read(Section({b"xkey": b" ".join([*tags, b"more"])}), NAMES) is TOO_MANY_TAGS
    longest = b"x" * TAG_SIZE_MAX
    assert read(Section({b"cache-tag": b"a, " + longest}), NAMES) == (b"a", longest)
    assert read(Section({b"cache-tag": b"a, x" + longest}), NAMES) is TOO_MANY_TAGS
    assert (TAGS_MAX, TAG_SIZE_MAX, GROUPS_FIELD_SIZE_MAX) == (256, 256, 16384)


@given(st.lists(st.text("abAB-_:/.é", min_size=1).map(str.encode), max_size=20))
def test_tags_come_back_from_each_syntax(tags: list[bytes]) -> None:
    once = tuple(dict.fromkeys(tags))
    for name, separator in [(b"cache-tag", b", "), (b"surrogate-key", b" "), (b"xkey", b",")]:
        assert response_tags(Section({name: separator.join(tags)}), NAMES) == once


# Groups


def test_groups_are_read_from_their_own_field() -> None:
    response = Section({b"cache-groups": b'"a"', b"cache-group-invalidation": b'"b", "c"'})
    assert cache_groups(response) == (b"a",)
    assert invalidated_groups(response) == (b"b", b"c")
    assert cache_groups(Section()) == invalidated_groups(Section()) == ()


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        (b'"a", "b"', (b"a", b"b")),
        (b'"a" \t,\t"A","a"', (b"a", b"A")),
        (b'"a";x;y="b";z=(), "c"', ()),
        (b'"a";x;y="b";z=1.5, "c"', (b"a", b"c")),
        (rb'"\"a,b\\ "', (rb'"a,b\ ',)),
        (b'""', (b"",)),
        (b"", ()),
        *[
            (value, ())
            for value in [
                *(b"a", b"1", b"?1", b":YWJj:", b'("a")', b'%"a"', b"@1", b"1.5", b'"a", b'),
                *(b'"a",', b',"a"', b'"a" "b"', b'"a', b'"\xc3\xa9"', b'"\\a"', b'"a"="b"'),
            ]
        ],
    ],
)
def test_groups(value: bytes, groups: tuple[bytes, ...]) -> None:
    assert cache_groups(Section({b"cache-groups": value})) == groups
    assert invalidated_groups(Section({b"cache-group-invalidation": value})) == groups


@pytest.mark.parametrize("cut", [0, 1])
def test_several_lines_are_one_list(cut: int) -> None:
    lines = [(b"cache-groups", b'"a"'), (b"cache-groups", b'"b"')][cut:]
    assert cache_groups(Section(None, *lines)) == (b"a", b"b")[cut:]


def test_group_limits() -> None:
    groups = [b"%03d" % number for number in range(TAGS_MAX + 1)]
    value = b", ".join(b'"' + group + b'"' for group in groups)
    whole = {b"cache-groups": value, b"cache-group-invalidation": value}
    assert cache_groups(Section(whole)) is TOO_MANY_TAGS
    assert invalidated_groups(Section(whole)) == tuple(groups)
    assert cache_groups(Section({b"cache-groups": value[:-7]})) == tuple(groups[:-1])
    longest = b"x" * TAG_SIZE_MAX
    assert cache_groups(Section({b"cache-groups": b'"%b"' % longest})) == (longest,)
    assert cache_groups(Section({b"cache-groups": b'"x%b"' % longest})) is TOO_MANY_TAGS


def test_a_field_too_long_to_be_parsed() -> None:
    value = b'"a"' + b" " * (GROUPS_FIELD_SIZE_MAX - 6) + b',"a'
    assert len(value) == GROUPS_FIELD_SIZE_MAX
    whole = {b"cache-groups": value, b"cache-group-invalidation": value}
    assert cache_groups(Section(whole)) == invalidated_groups(Section(whole)) == ()
    value = b'"a"' + b" " * (GROUPS_FIELD_SIZE_MAX - 6) + b',""'
    whole = {b"cache-groups": value, b"cache-group-invalidation": value}
    assert cache_groups(Section(whole)) == invalidated_groups(Section(whole)) == (b"a", b"")
    whole = {b"cache-groups": value + b" ", b"cache-group-invalidation": value + b" "}
    assert cache_groups(Section(whole)) is TOO_MANY_TAGS
    assert invalidated_groups(Section(whole)) == ()


def test_what_the_rfc_asks_for_at_least() -> None:
    """RFC 9875 2: 32 groups of 32 characters, each of which may need its backslash."""
    groups = [b"\\" * 30 + b"%02d" % number for number in range(32)]
    value = ser([group.decode() for group in groups]).encode()
    assert cache_groups(Section({b"cache-groups": value})) == tuple(groups)


@given(st.text('"\\a1,;=() \t?:%@.-\xe9\0', max_size=40).map(lambda text: text.encode("latin-1")))
@example(b'%"%"')
@example(b'"a";')
@example(b"(")
def test_hostile_fields_never_raise(value: bytes) -> None:
    groups = cache_groups(Section({b"cache-groups": value}))
    assert all(b"\0" not in group for group in groups)


def test_no_tag_is_like_the_mark() -> None:
    assert all(b"\0" in tag for tag in TOO_MANY_TAGS)
    assert TOO_MANY_TAGS
