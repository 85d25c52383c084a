"""What an unsafe request makes invalid (RFC 9111 4.4)."""

from __future__ import annotations

import re
from collections.abc import Collection

from caching_proxy.http.section import FieldSection
from caching_proxy.http.target import (
    DEFAULT_PORTS,
    remove_dot_segments,
    same_authority,
    split_absolute,
)

SAFE_METHODS = frozenset(
    {
        *(b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY"),
        *(b"PROPFIND", b"REPORT", b"SEARCH"),
    }
)
"""Methods registered as safe (RFC 9110 9.2.1, 18.2); any other one may change state."""

Origin = tuple[bytes, bytes]  # b"http" or b"https", and a valid authority

_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")


def invalidated_targets(
    method: bytes,
    status: int,
    target: bytes,
    response: FieldSection,
    origins: Collection[Origin],
) -> list[bytes]:
    """The origin-form targets of which every stored response is invalid now.

    These are `target` (origin-form, as sent upstream) and what Location and Content-Location name
    on one of `origins`, the names under which the target's own origin is known. An error response
    invalidates nothing, nor does a safe method.
    """
    if method in SAFE_METHODS or not 200 <= status < 400:
        return []
    targets = {target: None}
    for name in (b"location", b"content-location"):
        for reference in response.values(name)[:1]:
            resolved = (_resolve(reference, target, origin) for origin in origins)
            targets.update((found, None) for found in resolved if found is not None)
    return list(targets)


def _resolve(reference: bytes, base: bytes, origin: Origin) -> bytes | None:
    """The origin-form of a URI reference (RFC 3986 5.2.2), None when it has another origin."""
    scheme, authority = origin
    reference = reference.partition(b"#")[0]
    if reference.startswith(b"//"):
        reference = scheme + b":" + reference
    if _SCHEME.match(reference):
        absolute = split_absolute(reference)
        if absolute is None or absolute[0] != scheme:
            return None
        if not same_authority(absolute[1], authority, DEFAULT_PORTS[scheme]):
            return None
        reference = absolute[2]
    elif not reference.startswith(b"/"):
        reference = _merge(reference, base)
    path, mark, query = reference.partition(b"?")
    return remove_dot_segments(path) + mark + query


def _merge(reference: bytes, base: bytes) -> bytes:
    if not reference:
        return base
    path = base.partition(b"?")[0]
    if reference.startswith(b"?"):
        return path + reference
    return path[: path.rfind(b"/") + 1] + reference
