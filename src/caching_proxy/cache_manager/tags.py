"""What a response is purged by besides its URL: tags, and cache groups (RFC 9875)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from http_sf import StructuredFieldError, parse

from caching_proxy.http.memo import memoised
from caching_proxy.http.section import FieldSection

TAGS_MAX = 256
TAG_SIZE_MAX = 256  # octets
GROUPS_FIELD_SIZE_MAX = 16 * 1024  # octets; more of Cache-Groups is not parsed

TOO_MANY_TAGS: Final[tuple[bytes, ...]] = (b"\0",)
"""In place of tags or groups beyond the limits; no tag and no group is like that.

What can't be found by all its tags must not be stored: a purge would miss it.
"""

_SEPARATORS = {b"cache-tag": re.compile(rb","), b"surrogate-key": re.compile(rb"[ \t]+")}
_ANY_SEPARATOR = re.compile(rb"[ \t,]+")


def response_tags(response: FieldSection, names: Sequence[bytes]) -> tuple[bytes, ...]:
    """The tags in the fields `names` (lower case), once each, or TOO_MANY_TAGS.

    Cache-Tag is split at commas, Surrogate-Key at white space, any other field at both; case
    counts.
    """
    return _within_limits(_read_tags(response, names))


def requested_tags(request: FieldSection, names: Sequence[bytes]) -> tuple[bytes, ...]:
    """The tags that a PURGE request names, read as those of a response are."""
    return _within_limits(_read_tags(request, names))


def cache_groups(response: FieldSection) -> tuple[bytes, ...]:
    """The groups of Cache-Groups (RFC 9875 2), once each, or TOO_MANY_TAGS.

    A field that is no list of strings is ignored whole (RFC 9651 4.2).
    """
    value = response.combined(b"cache-groups")
    if value is None:
        return ()
    if len(value) > GROUPS_FIELD_SIZE_MAX:
        return TOO_MANY_TAGS
    return _within_limits(_read_groups(value))


def invalidated_groups(response: FieldSection) -> tuple[bytes, ...]:
    """The groups of Cache-Group-Invalidation (RFC 9875 3), once each; the method is not looked at.

    A field that is no list of strings, or longer than GROUPS_FIELD_SIZE_MAX, is ignored whole.
    """
    value = response.combined(b"cache-group-invalidation")
    return () if value is None or len(value) > GROUPS_FIELD_SIZE_MAX else _read_groups(value)


def _read_tags(section: FieldSection, names: Sequence[bytes]) -> tuple[bytes, ...]:
    tags: dict[bytes, None] = {}
    for name in names:
        for value in section.values(name):
            parts = _SEPARATORS.get(name, _ANY_SEPARATOR).split(value)
            tags.update(dict.fromkeys([part.strip(b" \t") for part in parts]))
    tags.pop(b"", None)
    return tuple(tags)


@memoised
def _read_groups(value: bytes) -> tuple[bytes, ...]:
    try:
        members = parse(value, tltype="list")
    except StructuredFieldError:
        return ()
    groups: dict[bytes, None] = {}
    for member in members if isinstance(members, list) else []:
        group = member[0] if isinstance(member, tuple) else member
        if not isinstance(group, str):
            return ()
        groups[group.encode("ascii")] = None
    return tuple(groups)


def _within_limits(tags: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if len(tags) > TAGS_MAX or any(len(tag) > TAG_SIZE_MAX for tag in tags):
        return TOO_MANY_TAGS
    return tags
