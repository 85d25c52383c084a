"""Conditional requests answered from a stored response (RFC 9110 13, RFC 9111 4.3.2)."""

from __future__ import annotations

import re

from caching_proxy.http.dates import parse_http_date
from caching_proxy.http.section import FieldSection

# One member of If-None-Match with what separates it from the next: list members may be empty
# (RFC 9110 5.6.1.2).
_MEMBER = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,[ \t,]*|\Z)')


def not_modified(
    request: FieldSection,
    etag: bytes | None,
    last_modified: bytes | None,
    date: int | None,
    now: int,
) -> bool:
    """Whether a GET or HEAD that a 200 can answer is to be answered with 304.

    `etag` and `last_modified` are its fields; `date` is the Date (or the time of receipt) of a
    stored one, which stands in for an absent Last-Modified, and None of a new one. If-None-Match
    goes before If-Modified-Since; If-Match and If-Unmodified-Since are not a cache's to judge.
    """
    none_match = request.combined(b"if-none-match")
    if none_match is not None:
        return _matches(none_match, etag)
    since = request.combined(b"if-modified-since")
    if since is None:
        return False
    since_time = parse_http_date(since, now)
    modified = date if last_modified is None else parse_http_date(last_modified, now)
    return since_time is not None and modified is not None and modified <= since_time


def _matches(none_match: bytes, etag: bytes | None) -> bool:
    if none_match == b"*":
        return True
    if not etag:
        return False
    opaque = etag.removeprefix(b"W/")
    if opaque not in none_match:
        return False
    # A tag without quotes is told from others only where it stands alone.
    return none_match.removeprefix(b"W/") == opaque or _lists(none_match, opaque)


def _lists(none_match: bytes, opaque: bytes) -> bool:
    at = len(none_match) - len(none_match.lstrip(b" \t,"))
    while found := _MEMBER.match(none_match, at):
        if found[1] == opaque:
            return True
        at = found.end()
    return False
