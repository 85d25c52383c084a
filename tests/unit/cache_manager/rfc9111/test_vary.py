from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.vary import (
    KEYED_FIELDS,
    choose_by_language,
    normalise_selecting,
    selecting_names,
    selecting_values,
)
from caching_proxy.http.memo import LONGEST
from tests.unit.sections import Section

LONG = 32 * 1024


def test_the_fields_of_every_key() -> None:
    assert {b"accept", b"accept-encoding", b"accept-language"} == KEYED_FIELDS


# Names


@pytest.mark.parametrize(
    ("vary", "names"),
    [
        (None, ()),
        (b"", ()),
        (b" ,\t,", ()),
        (b"Foo", (b"foo",)),
        (b"foo,Bar\t, BAZ", (b"bar", b"baz", b"foo")),
        (b"foo, FOO", (b"foo",)),
        (b"Accept, Accept-Encoding,accept-language", ()),
        (b"Accept-Encoding, Cookie", (b"cookie",)),
        (b"accept-charset", (b"accept-charset",)),
        (b"a*b", (b"a*b",)),
        (b"!#$%&'*+.^_`|~0-9Az", (b"!#$%&'*+.^_`|~0-9az",)),
    ],
)
def test_selecting_names(vary: bytes | None, names: tuple[bytes, ...]) -> None:
    assert selecting_names(vary) == names


@pytest.mark.parametrize(
    "vary",
    [
        *(b"*", b"*, *", b" * ", b", *", b"foo, *", b"*,foo", b"accept-encoding,*"),
        *(b"foo bar", b"foo;q=1", b'"foo"', b"foo\n", b"f\xf6\xf6", b"(foo)", b"foo, b@r"),
    ],
)
def test_what_no_request_can_match(vary: bytes) -> None:
    assert selecting_names(vary) is None


# Values


def test_selecting_values() -> None:
    request = Section({b"foo": b" 1,2 ", b"empty": b""}, (b"bar", b"a"), (b"bar", b"b"))
    assert selecting_values((b"bar", b"empty", b"foo", b"none"), request) == (
        (b"bar", b"a, b"),
        (b"empty", b""),
        (b"foo", b"1, 2"),
        (b"none", None),
    )
    assert selecting_values((), request) == ()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([b""], b""),
        ([b" \ta \t"], b"a"),
        ([b"1,2"], b"1, 2"),
        ([b" 1 \t,\t 2 "], b"1, 2"),
        ([b"1", b"2"], b"1, 2"),
        ([b"1,2", b"3"], b"1, 2, 3"),
        ([b"a  b , c\td"], b"a  b, c\td"),
        ([b"a,,b"], b"a, , b"),
        ([b",a"], b", a"),
        ([b"a , "], b"a,"),
        ([b"a", b""], b"a,"),
        ([b'"a,b" ,c'], b'"a,b", c'),
        ([rb'"a\",b",c'], rb'"a\",b", c'),
        ([rb'"a\\",b'], rb'"a\\", b'),
        ([b'a="x,y";b,c'], b'a="x,y";b, c'),
        ([b'a,"b,c'], b'a, "b,c'),
        ([b'"a", "b,c'], b'"a", "b,c'),
        ([b'a,"b,c\\'], b'a, "b,c\\'),
        ([b"A,b"], b"A, b"),
        ([b"a\n,b"], b"a\n, b"),
        ([b'"a\\\n",b'], b'"a\\\n", b'),
    ],
)
def test_lists(values: list[bytes], text: bytes) -> None:
    assert normalise_selecting(b"foo", values) == text


@pytest.mark.parametrize(
    "name",
    [
        *(b"authorization", b"cookie", b"from", b"host", b"origin", b"proxy-authorization"),
        *(b"referer", b"user-agent", b"content-length", b"content-location", b"content-type"),
        *(b"date", b"if-modified-since", b"if-range", b"if-unmodified-since", b"max-forwards"),
    ],
)
def test_white_space_within_what_is_no_list_counts(name: bytes) -> None:
    assert normalise_selecting(name, [b" a,b  ,c\t"]) == b"a,b  ,c"
    assert normalise_selecting(name, [b" a ", b" b,c "]) == b"a, b,c"


LINES = st.lists(st.text(' \t,"\\ab').map(str.encode), min_size=1, max_size=3)


@given(LINES)
def test_normal_text_is_normal(lines: list[bytes]) -> None:
    text = normalise_selecting(b"foo", lines)
    assert normalise_selecting(b"foo", [text]) == text
    assert normalise_selecting(b"foo", [b", ".join(lines)]) == text


@given(LINES)
def test_only_white_space_is_lost(lines: list[bytes]) -> None:
    text = normalise_selecting(b"foo", lines)
    spaces = bytes.maketrans(b"", b"")
    assert text.translate(spaces, b" \t") == b",".join(lines).translate(spaces, b" \t")


@given(st.lists(st.text(" ,\\ab").map(lambda t: b'"' + t.replace("\\", "").encode() + b'"')))
def test_quoted_strings_stay(strings: list[bytes]) -> None:
    assume(strings)
    assert normalise_selecting(b"foo", [b",".join(strings)]) == b", ".join(strings)


@pytest.mark.parametrize("unit", [b" ", b'"', b"\\", b'\\"', b'",', b" ,", b"\t \t", b'" '])
def test_long_values_end(unit: bytes) -> None:
    """Each of these takes minutes where the time grows with the square of the length."""
    value = b"a," + unit * (1024 * 1024 // len(unit)) + b"z"
    assert normalise_selecting(b"foo", [b'"' + value]).endswith(b"z")
    assert normalise_selecting(b"foo", [value]).endswith(b"z")


# Languages

Stored = list[tuple[bytes | None, bytes | None]]
DE, EN, FR = (b"de", None), (b"en", None), (b"fr", None)


@pytest.mark.parametrize(
    ("wanted", "stored", "chosen"),
    [
        # the most preferred language is there
        (b"de", [DE], 0),
        (b"de", [EN, DE], 1),
        (b"de, en;q=0.5", [EN, DE], 1),
        (b"fr;q=0.5, de;q=1.0", [(b"de", b"en, de")], 0),
        (b"DE-ch", [(b" De-CH\t", None)], 0),
        (b"de", [DE, DE], 0),
        (b"de, *;q=0.5", [DE], 0),
        # it is not known whether it is
        (b"de", [EN], None),
        (b"de, en;q=0.5", [EN], None),
        (b"de, en;q=0.5", [], None),
        (b"de-ch", [DE], None),
        (b"de", [(b"de-ch", None)], None),
        (b"de-ch, de;q=0.5", [DE], None),
        # it is known that it isn't
        (b"de, en;q=0.5", [(b"en", b"de, en;q=0.9")], 0),
        (b"de, en;q=0.5", [(b"en", b"fr, de;q=0.8, en;q=0.6")], 0),
        (b"fr, en;q=0.5", [(b"en", b"fr, de;q=0.8, en;q=0.6")], 0),
        (b"de, en;q=0.5", [EN, (b"fr", b"de, fr;q=0.9")], 0),
        (b"de, en;q=0.5, fr;q=0.1", [(b"fr", b"de, en;q=0.9, fr;q=0.8")], 0),
        (b"de, en;q=0.5, fr;q=0.1", [(b"fr", b"de, fr;q=0.8")], None),
        (b"de, en;q=0.5, fr;q=0.1", [(b"en", b"de, en;q=0.5, fr;q=0.8"), FR], 0),
        (b"fr, en;q=0.5", [(b"en", b"de, en;q=0.5, fr;q=0.8"), FR], None),
        # akin: either brought by the range, or the range brings nothing
        (b"de-ch, de;q=0.5", [(b"de", b"de-ch")], 0),
        (b"de-ch, de;q=0.5, en;q=0.1", [(b"de", b"de-ch, fr;q=0.1")], 0),
        (b"de-ch, en;q=0.5", [(b"de", b"de-ch"), EN], None),
        (b"de, en;q=0.5", [(b"de-ch", b"de"), EN], None),
        (b"de-ch, en;q=0.5", [(b"de", b"de-ch, de;q=0.9"), EN], None),
        (b"de-ch, fr;q=0.7, de;q=0.5", [(b"de", b"de-ch, fr;q=0.7, de;q=0.5")], None),
        (b"zh-tw, en;q=0.5", [(b"zh-hant", b"zh-tw, en;q=0.9"), EN], None),
        (b"nb, en;q=0.5", [(b"no", b"nb, no;q=0.9"), EN], None),
        (b"fr, de;q=0.5", [(b"de", b"fr, de-ch;q=0.9")], 0),
        # what came for the akin range once was its own: two witnesses
        (b"de-ch, en;q=0.5", [(b"de", b"de-ch"), (b"en", b"de-ch, en;q=0.9")], 1),
        # a default, perhaps
        (b"fr, en;q=0.5", [(b"en", b"fr")], 0),
        (b"fr, de;q=0.5", [(b"en", b"fr"), DE], None),
        (b"de, fr;q=0.5", [(b"en", b"fr, de;q=0.9"), FR], None),
        (b"fr, en;q=0.5", [(b"en", b"fr, it")], None),
        (b"fr, en;q=0.5", [(b"en", b"fr, *;q=0.1")], 0),
        (b"fr, en;q=0.5", [(b"en", b"*, fr;q=0.1")], None),
        (b"fr, en;q=0.5", [(b"en", b"*, fr")], None),
        (b"fr, en;q=0.5", [(b"en", b"*;q=0.9, fr;q=0.8, en;q=0.7")], None),
        (b"fr, en;q=0.5", [(b"en", b"it, *;q=0.9, fr;q=0.8, en;q=0.7")], None),
        # equal weights
        (b"de, en", [EN, DE], 0),
        (b"de, en", [DE, EN], 0),
        (b"de, en, fr;q=0.5", [EN], None),
        (b"de, en", [(b"en", b"de, en;q=0.5")], 0),
        (b"de, en, *", [EN, DE], None),
        (b"de, en;q=0.5", [(b"en", b"de, en")], None),
        (b"de, en;q=0.5", [(b"en", b"de, en-gb, en-us;q=0.1"), EN], None),
        (b"de, it, en;q=0.5", [(b"en", b"de, it, en;q=0.4")], 0),
        (b"de, en-gb", [DE, (b"en", b"en-gb")], 0),
        (b"de-at, de-ch, de;q=0.5", [(b"de", b"de-at"), (b"de", b"de-ch")], 0),
        (b"de-at, fr-ch, de;q=0.5", [(b"de", b"de-at"), (b"fr", b"fr-ch")], None),
        (b"de-at, de, fr;q=0.5", [(b"en", b"de-at"), DE], 1),
        (b"de-at, en, de;q=0.5", [(b"en", b"de-at, en;q=0.9"), DE], 0),
        # one earlier possibility has to be the answer as well
        (b"de-at, it;q=0.9, en;q=0.5", [(b"en", b"de-at"), (b"en", b"it")], 0),
        (b"de-at, it;q=0.9, en;q=0.5", [(b"en", b"de-at"), (b"de", b"it"), EN], None),
        (b"de-at, de;q=0.5, en;q=0.5", [EN, (b"de", b"de-at")], 1),
        # refused
        (b"de;q=0, en;q=0.5", [DE, EN], 1),
        (b"de;q=0", [DE], None),
        (b"en, en-us;q=0", [EN], None),
        (b"en-us, en;q=0", [(b"en-us", None)], None),
        (b"de, *;q=0", [DE], 0),
        (b"nb, no;q=0", [(b"nb", None)], None),
        (b"de, en, de-at;q=0", [DE, EN], 1),
        (b"fr, en;q=0.5", [(b"en", b"fr, fr-ch;q=0, en;q=0.5")], None),
        (b"fr, en;q=0.5", [(b"en", b"fr, *;q=0, en;q=0.4")], 0),
        # evidence that contradicts itself
        (b"de", [DE, (b"en", b"de, en;q=0.5")], None),
        (b"de", [(b"en", b"de, en;q=0.5"), DE], None),
        (b"de", [DE, (b"de-ch", b"de")], None),
        # what can't be judged
        (b"", [DE], None),
        (b"*", [DE], None),
        (b"*-ch", [(b"*-ch", None)], None),
        (b"de;q=2", [DE], None),
        (b"de;q=1.5", [DE], None),
        (b"de, de;q=0.5", [DE], None),
        (b"de;q=0.5, de;q=0.8", [DE], None),
        (b"de, it;q=0.5", [(b"it", b"de, fr;q=0.5")], 0),
        (b"de, it;q=0.5", [(b"it", b"de, fr;q=0.5, es;q=0.5")], 0),
        (b"de_DE", [(b"de_de", None)], None),
        (b"de", [(None, b"de")], None),
        (b"de", [(b"", b"de")], None),
        (b"de", [(b"de, en", None)], None),
        (b"de", [(b"de-", None)], None),
        (b"de, en;q=0.5", [EN, (b"fr, en", b"de, en;q=0.5")], None),
        (b"de, en;q=0.5", [(b"en", b"de, de;q=0.7, en;q=0.5")], None),
        (b"de, en;q=0.5", [(b"en", b"")], None),
    ],
)
def test_choice_by_language(wanted: bytes, stored: Stored, chosen: int | None) -> None:
    assert choose_by_language(wanted, stored) == chosen


def test_alias_subtags_are_akin() -> None:
    for alias, language in [
        *((b"iw", b"he"), (b"in", b"id"), (b"ji", b"yi"), (b"mo", b"ro"), (b"nb", b"no")),
        *((b"nn", b"no"), (b"tl", b"fil")),
    ]:
        brought = (language, alias + b", %b;q=0.9" % language)
        assert choose_by_language(alias + b", en;q=0.5", [brought, EN]) is None
        assert choose_by_language(alias + b", %b;q=0.5" % language, [brought, EN]) == 0


def test_values_too_long_to_be_read_for_each_variant() -> None:
    longest = b"de" + b"".join(b", x%03d;q=0.1" % number for number in range(42))
    longest += b" " * (LONGEST - len(longest))
    assert len(longest) == LONGEST
    assert choose_by_language(longest, [DE]) == 0
    assert choose_by_language(longest + b" ", [DE]) is None
    passed = b"fr, en;q=0.5" + b" " * (LONGEST - 12)
    assert choose_by_language(b"fr, en;q=0.5", [(b"en", passed)]) == 0
    assert choose_by_language(b"fr, en;q=0.5", [(b"en", passed + b" ")]) is None


# An origin that negotiates consistently, in one of the ways of RFC 4647

LANGUAGES = [b"de", b"de-ch", b"de-at", b"en", b"en-gb", b"fr"]
RANGES = [*LANGUAGES, b"de-de", b"en-us", b"it"]
WEIGHTS = [1000, 900, 500, 0]
Match = Callable[[bytes, Sequence[bytes]], list[bytes]]
Wishes = list[tuple[bytes, int]]


def exact(range_: bytes, available: Sequence[bytes]) -> list[bytes]:
    return [language for language in available if language == range_]


def filtered(range_: bytes, available: Sequence[bytes]) -> list[bytes]:
    """RFC 4647 3.3.1, the language that is the range itself first."""
    found = [language for language in available if (language + b"-").startswith(range_ + b"-")]
    return sorted(found, key=lambda language: language != range_)


def looked_up(range_: bytes, available: Sequence[bytes]) -> list[bytes]:
    """RFC 4647 3.4."""
    while range_ and range_ not in available:
        range_ = range_.rpartition(b"-")[0]
    return exact(range_, available)


def answer(match: Match, available: Sequence[bytes], wishes: Iterable[tuple[bytes, int]]) -> bytes:
    """The first of `available` is the default; ranges of one weight count in their order."""
    wishes = list(wishes)
    refused = {
        language
        for range_, weight in wishes
        if not weight and range_ != b"*"
        for language in filtered(range_, available)
    }
    left = [language for language in available if language not in refused]
    for range_, weight in sorted(wishes, key=lambda wish: -wish[1]):
        found = list(left) if range_ == b"*" else match(range_, left)
        if weight and found:
            return found[0]
    return available[0]


def field(wishes: Wishes) -> bytes:
    return b", ".join(b"%b;q=%d.%03d" % (r, w // 1000, w % 1000) for r, w in wishes)


def wish_lists(weights: st.SearchStrategy[int]) -> st.SearchStrategy[Wishes]:
    one = st.tuples(st.sampled_from([*RANGES, b"*"]), weights)
    return st.lists(one, min_size=1, max_size=4, unique_by=lambda wish: wish[0])


@given(
    match=st.sampled_from([exact, filtered, looked_up]),
    available=st.lists(st.sampled_from(LANGUAGES), min_size=1, max_size=5, unique=True),
    earlier=st.lists(wish_lists(st.sampled_from(WEIGHTS)), min_size=1, max_size=6),
    wishes=wish_lists(st.sampled_from(WEIGHTS)),
)
@example(exact, [b"en"], [[(b"fr", 1000)]], [(b"fr", 1000), (b"en", 500)])
def test_the_origin_would_answer_the_same(
    match: Match, available: list[bytes], earlier: list[Wishes], wishes: Wishes
) -> None:
    stored: Stored = [(answer(match, available, asked), field(asked)) for asked in earlier]
    chosen = choose_by_language(field(wishes), stored)
    if chosen is not None:
        orders = permutations(wishes)  # which range of one weight decides is open
        assert stored[chosen][0] in {answer(match, available, order) for order in orders}


@given(
    available=st.lists(st.sampled_from(LANGUAGES), min_size=1, max_size=5, unique=True),
    wishes=wish_lists(st.just(1)).map(
        lambda wishes: [(range_, 1000 - at) for at, (range_, _) in enumerate(wishes)]
    ),
)
def test_what_every_way_agrees_on_is_found(available: list[bytes], wishes: Wishes) -> None:
    """With a witness for each range and language, an answer is refused only where ways differ."""
    assume(all(range_ != b"*" for range_, _ in wishes))
    best = next((range_ for range_, _ in wishes if range_ in available), b"")
    assume(best)
    kin = {range_.partition(b"-")[0] for range_, _ in wishes if range_ != best}
    assume(not kin & {language.partition(b"-")[0] for language in available})
    stored: Stored = [(language, None) for language in available]
    stored += [
        (best, field([(range_, 1000), (best, 500)])) for range_, _ in wishes if range_ != best
    ]
    chosen = choose_by_language(field(wishes), stored)
    assert chosen is not None
    assert stored[chosen][0] == best
