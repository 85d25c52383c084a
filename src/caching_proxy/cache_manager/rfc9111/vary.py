"""Which stored variant a request selects (RFC 9110 12.5.4, 12.5.5; RFC 9111 4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from caching_proxy.http.accept import normalise_accept_language
from caching_proxy.http.memo import LONGEST, memoised
from caching_proxy.http.section import FieldSection

KEYED_FIELDS = frozenset({b"accept", b"accept-encoding", b"accept-language"})
"""Request fields that are part of every cache key, so that `Vary` may name them."""

Selecting = tuple[tuple[bytes, bytes | None], ...]
"""What a request says in the selecting fields: names and normalised values, None where absent."""

# Fields whose value is no list, so that white space around a comma may mean something.
_SINGLETONS = frozenset(
    {
        *(b"authorization", b"cookie", b"from", b"host", b"origin", b"proxy-authorization"),
        *(b"referer", b"user-agent", b"content-length", b"content-location", b"content-type"),
        *(b"date", b"if-modified-since", b"if-range", b"if-unmodified-since", b"max-forwards"),
    }
)
# The proxy tells the origin of the client's address in its own words: no two clients are alike.
_OF_CLIENTS = frozenset({b"x-forwarded-for", b"forwarded"})
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# A quoted string is taken to the end where it isn't closed: then nothing is read twice.
_QUOTED_OR_SPACED = re.compile(rb'"(?:[^"\\]|\\.)*"?|(?P<comma>[ \t]*,[ \t]*)|[ \t]+', re.DOTALL)

_RANGE = re.compile(rb"([a-z0-9*-]+)(?:;q=(0(?:\.[0-9]{1,3})?))?")
_LANGUAGE = re.compile(rb"[a-z0-9]+(?:-[a-z0-9]+)*")
# Subtags under which origins look for one language, apart from their own (CLDR).
_ALIASES = {
    b"iw": b"he",
    b"in": b"id",
    b"ji": b"yi",
    b"mo": b"ro",
    b"nb": b"no",
    b"nn": b"no",
    b"tl": b"fil",
}
_NOTHING = b""

_Outcome = frozenset[bytes]
"""The languages that a range may bring, _NOTHING among them where it may be passed over."""


def selecting_names(vary: bytes | None) -> tuple[bytes, ...] | None:
    """The names in a combined `Vary` value (None: no such field) that the cache key leaves out.

    In lower case, sorted, once each. None where no request can be known to match: `*` is a member,
    or something that is no field name, or a field that tells the client's address.
    """
    return () if vary is None else _names(vary)


@memoised
def _names(vary: bytes) -> tuple[bytes, ...] | None:
    members = [member.strip(b" \t").lower() for member in vary.split(b",")]
    names = {member for member in members if member}
    if b"*" in names or names & _OF_CLIENTS or not all(map(_FIELD_NAME.fullmatch, names)):
        return None
    return tuple(sorted(names - KEYED_FIELDS))


def selecting_values(names: tuple[bytes, ...], request: FieldSection) -> Selecting:
    """What `request` says in the fields `names`; equal for requests that match (RFC 9111 4.1)."""
    return tuple(
        [
            (name, normalise_selecting(name, values) if (values := request.values(name)) else None)
            for name in names
        ]
    )


def normalise_selecting(name: bytes, values: list[bytes]) -> bytes:
    """One text for the lines `values` of the field `name` (lower case).

    The lines are combined; white space around them goes, and around commas outside quoted strings
    it becomes one space after the comma, but not in fields that are no lists. The time taken grows
    with the length of the lines, no faster.
    """
    if name in _SINGLETONS:
        return b", ".join([value.strip(b" \t") for value in values])
    combined = b", ".join(values)
    if b"," in combined:
        combined = _QUOTED_OR_SPACED.sub(_space_comma, combined)
    return combined.strip(b" \t")


def _space_comma(found: re.Match[bytes]) -> bytes:
    return found[0] if found["comma"] is None else b", "


def choose_by_language(
    wanted: bytes, stored: Sequence[tuple[bytes | None, bytes | None]]
) -> int | None:
    """The index of the variant that the origin would answer with, None where that isn't known.

    `wanted` is the request's Accept-Language. Each variant, the most recent first, is its
    Content-Language and the Accept-Language of the request that brought it; all else that selects
    has to be equal. Taken for granted is an origin that goes by the weights and has one
    representation a language, but not how it matches ranges to languages (RFC 4647 3.3.1, 3.3.2,
    3.4): every way has to lead to the same variant. Of ranges of one weight any may decide.
    Not judged are values over `LONGEST` octets, several languages in one variant, and `*` unless
    something weightier decides.
    """
    preferences = _read_preferences(wanted)
    if preferences is None:
        return None
    languages = [_single_language(language) for language, _ in stored]
    outcomes: dict[bytes, _Outcome] = {}
    for language, (_, accepted) in zip(languages, stored, strict=True):
        if language is not None:
            for range_, outcome in _evidence(language, accepted):
                outcomes[range_] = outcomes.get(range_, outcome) & outcome
    candidates = _decide(preferences, outcomes)
    return next((at for at, language in enumerate(languages) if language in candidates), None)


class _Preferences(NamedTuple):
    """An Accept-Language: ranges of one weight together, by falling weight; those of weight 0."""

    groups: tuple[tuple[bytes, ...], ...]
    refused: tuple[bytes, ...]


@memoised
def _read_preferences(value: bytes) -> _Preferences | None:
    """None for what is malformed or too long to be read for each of many variants."""
    if len(value) > LONGEST:
        return None
    groups: dict[float, list[bytes]] = {}
    ranges: set[bytes] = set()
    for member in normalise_accept_language(value).split(b", "):
        found = _RANGE.fullmatch(member)
        if found is None or found[1] in ranges:
            return None
        ranges.add(found[1])
        groups.setdefault(float(found[2] or 1), []).append(found[1])
    refused = [range_ for range_ in groups.pop(0.0, []) if range_ != b"*"]
    return _Preferences(tuple([tuple(group) for group in groups.values()]), tuple(refused))


def _single_language(content_language: bytes | None) -> bytes | None:
    language = (content_language or b"").strip(b" \t").lower()
    return language if _LANGUAGE.fullmatch(language) else None


def _primary(range_: bytes) -> bytes:
    primary = range_.partition(b"-")[0]
    return _ALIASES.get(primary, primary)


def _evidence(language: bytes, accepted: bytes | None) -> Iterator[tuple[bytes, _Outcome]]:
    """What ranges can bring, as one variant in `language` shows that came for `accepted`.

    Its own language brings it. Ranges that were preferred to the one that brought it bring nothing.
    A range that is akin may have brought it, or nothing; so may the first where none is akin: the
    origin has names for languages that we don't know, or the variant is its default.
    """
    yield language, frozenset({language})
    preferences = None if accepted is None else _read_preferences(accepted)
    if preferences is None or preferences.refused:
        return
    passed: list[bytes] = []
    for group in preferences.groups:
        if any(b"*" in range_ for range_ in group):
            break
        if any(_primary(range_) == _primary(language) for range_ in group):
            for range_ in passed:
                yield range_, frozenset({_NOTHING})
            if len(group) == 1:
                yield group[0], frozenset({language, _NOTHING})
            return
        passed += group
    if passed and len(preferences.groups[0]) == 1:
        yield passed[0], frozenset({language, _NOTHING})


def _decide(preferences: _Preferences, outcomes: dict[bytes, _Outcome]) -> frozenset[bytes]:
    """The languages any of which is right in every world that `outcomes` leave possible."""
    possible: set[bytes] = set()
    for group in preferences.groups:
        brought = [outcomes.get(range_, frozenset()) for range_ in group]
        if not all(brought):  # unknown, a wildcard, or contradictory evidence
            break
        certain = frozenset().union(*[outcome for outcome in brought if _NOTHING not in outcome])
        if certain:
            right = [language for language in certain if possible <= {language}]
            return frozenset([each for each in right if not _is_refused(each, preferences)])
        possible |= frozenset().union(*brought) - {_NOTHING}
    return frozenset()


def _is_refused(language: bytes, preferences: _Preferences) -> bool:
    return any(_primary(range_) == _primary(language) for range_ in preferences.refused)
