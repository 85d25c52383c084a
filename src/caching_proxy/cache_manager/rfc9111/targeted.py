"""Targeted cache control (RFC 9213): CDN-Cache-Control and its like, before Cache-Control."""

from __future__ import annotations

import re
from collections.abc import Iterable

from caching_proxy.cache_manager.rfc9111.directives import (
    QUALIFIED,
    Directives,
    collect_directives,
)
from caching_proxy.http.memo import memoised

# A member of a dictionary as RFC 9213 knows it (RFC 8941 3.2): dates and display strings, which
# came later, are errors.
_TRUE, _FALSE = b"?1", b"?0"
_KEY = rb"[a-z*][a-z0-9_.*-]*"
_VALUE = (
    rb"(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}|\?[01]|:[A-Za-z0-9+/=]*:"
    rb"|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*"
    rb'|"(?:[ !#-\[\]-~]|\\["\\])*")'
)
_PARAMETERS = rb"(?:; *" + _KEY + rb"(?:=" + _VALUE + rb")?)*"
_INNER_LIST = rb"\((?: *" + _VALUE + _PARAMETERS + rb"(?=[ )]))* *\)"
_MEMBER = re.compile(
    rb"("
    + _KEY
    + rb")(?:=("
    + _VALUE
    + rb"|"
    + _INNER_LIST
    + rb"))?"
    + _PARAMETERS
    + rb"[ \t]*(?:,[ \t]*(?=[a-z*])|\Z)"
)


def targeted_directives(values: Iterable[bytes | None]) -> Directives | None:
    """The directives of the first targeted field that is there, valid and not empty.

    `values` are combined field values, the most applicable field's first; None where there is no
    such field. None when nothing is found: then Cache-Control and Expires hold, otherwise they
    don't.
    """
    for value in values:
        if value is not None and (directives := parse_targeted(value)) is not None:
            return directives
    return None


@memoised
def parse_targeted(value: bytes) -> Directives | None:
    """The directives of a targeted field, or None when it has to be ignored (RFC 9213 2.1).

    The last of several members of one name holds; a duration that is no integer counts as 0, field
    names that are no string count as none, and `?0` takes a directive back.
    """
    members: dict[bytes, bytes] = {}
    at = 0
    while at < len(value):
        found = _MEMBER.match(value, at)
        if found is None:
            return None
        members[found[1]] = found[2] or _TRUE
        at = found.end()
    if not members:
        return None
    return collect_directives(
        (name, _argument(name, value)) for name, value in members.items() if value != _FALSE
    )


def _argument(name: bytes, value: bytes) -> bytes | None:
    if name in QUALIFIED:
        return value[1:-1] if value.startswith(b'"') else None
    return None if value == _TRUE else value
