"""Targeted cache control (RFC 9213): CDN-Cache-Control and its like, before Cache-Control."""

from __future__ import annotations

import re

from caching_proxy.cache_manager.rfc9111.directives import Directives, collect_directives
from caching_proxy.http.memo import memoised
from caching_proxy.http.section import FieldSection

# A member of a dictionary (RFC 9651 3.2). Inner lists, dates and display strings, which no
# directive can have for a value (RFC 9213 2.1), are taken for errors.
_KEY = rb"[a-z*][a-z0-9_.*-]*"
_VALUE = (
    rb"(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}|\?[01]|:[A-Za-z0-9+/=]*:"
    rb"|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*"
    rb'|"(?:[ !#-\[\]-~]|\\["\\])*")'
)
_MEMBER = re.compile(
    rb"(" + _KEY + rb")(?:=(" + _VALUE + rb"))?"
    rb"(?:; *" + _KEY + rb"(?:=" + _VALUE + rb")?)*"
    rb"[ \t]*(?:,[ \t]*(?=[a-z*])|\Z)"
)


def targeted_directives(response: FieldSection, targets: tuple[bytes, ...]) -> Directives | None:
    """The directives of the first of the fields `targets` that is there, valid and not empty.

    None when there is none: then Cache-Control and Expires hold; otherwise they don't.
    """
    for name in targets:
        value = response.combined(name)
        if value is not None and (directives := parse_targeted(value)) is not None:
            return directives
    return None


@memoised
def parse_targeted(value: bytes) -> Directives | None:
    """The directives of a targeted field, or None when it has to be ignored (RFC 9213 2.1).

    The last of several members of one name holds; a duration that is no integer counts as 0, and
    `?0` takes a directive back.
    """
    members: dict[bytes, bytes | None] = {}
    at = 0
    while at < len(value):
        found = _MEMBER.match(value, at)
        if found is None:
            return None
        members[found[1]] = None if found[2] == b"?1" else found[2]
        at = found.end()
    if not members:
        return None
    return collect_directives(member for member in members.items() if member[1] != b"?0")
