"""Validating stored responses with the origin (RFC 9111 4.3), and updating them (RFC 9111 3.2)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from caching_proxy.cache_manager.rfc9111.freshness import response_date
from caching_proxy.http.dates import parse_http_date
from caching_proxy.http.memo import memoised
from caching_proxy.http.ranges import strong_validator
from caching_proxy.http.section import FieldSection

Line = tuple[bytes, bytes]  # field name and value

# RFC 9111 3.1: fields of one connection or of one proxy.
_UNSTORED = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
        *(b"transfer-encoding", b"proxy-authenticate", b"proxy-authentication-info"),
        b"proxy-authorization",
    }
)
# RFC 9111 3.2: fields that describe the stored octets themselves, which stay encoded as they came.
_OF_CONTENT = frozenset({b"content-length", b"content-range", b"content-encoding"})
# What is said to one client, never to all: a validation is one client's (RFC 6265 3).
_OF_ONE = frozenset({b"set-cookie", b"set-cookie2"})
# What a validation says about caching itself, besides targeted fields.
_OF_CACHING = frozenset(
    {b"age", b"cache-control", b"date", b"etag", b"expires", b"last-modified", b"vary"}
)
# What tells when a response was made: the old values say nothing of one that is valid now.
_OF_TIME = frozenset({b"age", b"date"})


def unstored_fields(connection: bytes | None) -> frozenset[bytes]:
    """The names of fields that are never stored (RFC 9111 3.1), in lower case.

    `connection` is the message's combined Connection field.
    """
    return _UNSTORED if connection is None else _with_options(connection)


@memoised
def _with_options(connection: bytes) -> frozenset[bytes]:
    options = frozenset(option.strip(b" \t") for option in connection.lower().split(b","))
    return _UNSTORED if options <= _UNSTORED else _UNSTORED | options


def can_validate(etag: bytes | None, last_modified: bytes | None, now: int) -> bool:
    """Whether the validators can tell if a stored response is still current.

    For that the entity tag must not be empty, nor be `*`, which matches everything, or the
    modification date has to be a date. `now` is the time of receipt.
    """
    if _is_tag(etag):
        return True
    return last_modified is not None and parse_http_date(last_modified, now) is not None


def validation_fields(etag: bytes | None, last_modified: bytes | None) -> list[Line]:
    """The precondition fields for a stored response's validators as they came, none without any."""
    fields = []
    if etag is not None and _is_tag(etag):
        fields.append((b"If-None-Match", etag))
    if last_modified:
        fields.append((b"If-Modified-Since", last_modified))
    return fields


def _is_tag(etag: bytes | None) -> bool:
    return etag not in (None, b"", b"*")


def confirms(stored: FieldSection, fresh: FieldSection) -> bool:
    """Whether a 304 with the fields `fresh` means the stored response (RFC 9111 4.3.4).

    A strong entity tag must be the stored one; a weak one matches weakly; without a tag the
    modification date must be the same. A 304 without validators answers the ones that were sent:
    the request must have had no others than those of `stored`.
    """
    etag, stored_etag = fresh.combined(b"etag"), stored.combined(b"etag")
    if etag:
        if not etag.startswith(b"W/"):
            return etag == stored_etag
        return stored_etag is not None and stored_etag.removeprefix(b"W/") == etag[2:]
    last_modified = fresh.combined(b"last-modified")
    return last_modified is None or last_modified == stored.combined(b"last-modified")


def head_agrees(stored: FieldSection, stored_length: int, head: FieldSection) -> bool:
    """Whether a 200 to HEAD describes the stored response to GET (RFC 9111 4.3.5).

    Each validator that it has must be the stored one, and so must Content-Length:
    `stored_length` is that of the whole representation in octets. If it agrees the stored fields
    are to be updated, otherwise the stored response is not current any more.
    """
    for name in (b"etag", b"last-modified"):
        validator = head.combined(name)
        if validator is not None and validator != stored.combined(name):
            return False
    length = head.combined(b"content-length")
    return length is None or (length.lstrip(b"0") or b"0") == b"%d" % stored_length


def same_strong_validator(stored: FieldSection, new: FieldSection, date: int) -> bool:
    """Whether the parts of two responses are parts of one representation (RFC 9110 15.3.7.3).

    The Date of `stored` tells whether a modification date is strong (RFC 9110 8.8.2.2); `date`
    counts where it has none. The lengths in Content-Range have to be compared as well.
    """
    date = response_date(stored, date)
    validator = _strong_validator(stored, date)
    return validator is not None and validator == _strong_validator(new, date)


def _strong_validator(fields: FieldSection, date: int) -> bytes | None:
    return strong_validator(fields.combined(b"etag"), fields.combined(b"last-modified"), date)


def merged_fields(stored: Iterable[Line], fresh: Iterable[Line]) -> list[Line]:
    """The stored field lines, updated from those of a newer response (RFC 9111 3.2).

    That is a 304, a 206 to be combined, or a 200 to HEAD. Each of its fields replaces all stored
    lines of that name, and stored Age and Date go in any case; the new lines come last.
    """
    lines = [(name.lower(), (name, value)) for name, value in fresh]
    connection = b",".join(line[1] for name, line in lines if name == b"connection")
    kept = unstored_fields(connection) | _OF_CONTENT
    updates = [(name, line) for name, line in lines if name not in kept]
    replaced = _OF_TIME.union(name for name, _ in updates)
    return [line for line in stored if line[0].lower() not in replaced] + [
        line for _, line in updates
    ]


def fields_for_all(fresh: Iterable[Line]) -> list[Line]:
    """Of the fields of a newer response those that may update what everybody gets.

    A 304, or the answer to a HEAD, may set a cookie for who asked; nobody else is to have it.
    """
    return [line for line in fresh if line[0].lower() not in _OF_ONE]


def caching_fields(fresh: Iterable[Line], targets: Collection[bytes]) -> list[Line]:
    """Of these fields those about caching itself; `targets` are names in lower case (RFC 9213)."""
    return [line for line in fresh if line[0].lower() in _OF_CACHING or line[0].lower() in targets]
