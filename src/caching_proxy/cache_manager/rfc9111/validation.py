"""Validating stored responses with the origin (RFC 9111 4.3)."""

from __future__ import annotations

from collections.abc import Iterable

from caching_proxy.http.section import FieldSection

Line = tuple[bytes, bytes]  # field name and value

# RFC 9111 3.1 and 3.2: fields of one connection or proxy, and those that describe the stored octets
# themselves. Content-Encoding is among these: what is stored stays encoded as it came.
_KEPT = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
        *(b"transfer-encoding", b"proxy-authenticate", b"proxy-authentication-info"),
        *(b"proxy-authorization", b"content-length", b"content-range", b"content-encoding"),
    }
)


def validation_fields(etag: bytes | None, last_modified: bytes | None) -> list[Line]:
    """The precondition fields for a stored response's validators as they came, none without any."""
    fields = []
    if etag:
        fields.append((b"If-None-Match", etag))
    if last_modified:
        fields.append((b"If-Modified-Since", last_modified))
    return fields


def confirms(stored: FieldSection, fresh: FieldSection) -> bool:
    """Whether a 304 with the fields `fresh` means the stored response (RFC 9111 4.3.4).

    A strong entity tag must be the stored one; a weak one matches weakly; without a tag the
    modification date must be the same. A 304 without validators answers the ones that were sent:
    the request must have had no others than those of `stored`.
    """
    etag, stored_etag = fresh.combined(b"etag"), stored.combined(b"etag")
    if etag is not None:
        if not etag.startswith(b"W/"):
            return etag == stored_etag
        return stored_etag is not None and stored_etag.removeprefix(b"W/") == etag[2:]
    last_modified = fresh.combined(b"last-modified")
    return last_modified is None or last_modified == stored.combined(b"last-modified")


def merged_fields(stored: Iterable[Line], fresh: Iterable[Line]) -> list[Line]:
    """The stored field lines, updated from those of a 304 (RFC 9111 3.2).

    Each field of the 304 replaces all stored lines of its name; the new lines come last.
    """
    lines = [(name.lower(), (name, value)) for name, value in fresh]
    options = b",".join(line[1] for name, line in lines if name == b"connection").lower()
    kept = _KEPT.union(option.strip(b" \t") for option in options.split(b","))
    updates = [(name, line) for name, line in lines if name not in kept]
    replaced = {name for name, _ in updates}
    return [line for line in stored if line[0].lower() not in replaced] + [
        line for _, line in updates
    ]
