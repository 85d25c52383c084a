"""Request targets and authorities (RFC 9110 4.2, 7.1, 7.2; RFC 9112 3.2; RFC 3986)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from caching_proxy.http.memo import memoised

_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([/?].*|)", re.DOTALL)
_AUTHORITY = re.compile(
    rb"(?P<host>(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])"
    rb"(?::(?P<port>[0-9]{0,5}))?"
)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_LAST_PORT = 65535

DEFAULT_PORTS = {b"http": 80, b"https": 443}


def normalise_target(target: bytes) -> bytes:
    """The origin-form `target` after RFC 3986 6.2.2, so that equivalent targets are equal.

    Encoded unreserved characters are decoded, hexadecimal digits get upper case, dot segments of
    the path are resolved (encoded dots as well). `//` and `%2F` stay. A target that holds a
    malformed percent-encoding, or is not origin-form, is returned unchanged.
    """
    if not target.startswith(b"/"):
        return target
    if b"%" in target:
        try:
            target = _PERCENT.sub(_normal_percent, target)
        except ValueError:
            return target
    path, mark, query = target.partition(b"?")
    return remove_dot_segments(path) + mark + query


def _normal_percent(found: re.Match[bytes]) -> bytes:
    if found[1] is None:
        raise ValueError("malformed percent-encoding")
    octet = int(found[1], 16)
    return bytes((octet,)) if octet in _UNRESERVED else found[0].upper()


def remove_dot_segments(path: bytes) -> bytes:
    """The absolute `path` without its `.` and `..` segments (RFC 3986 5.2.4)."""
    if b"/." not in path:
        return path
    segments = path.split(b"/")[1:]
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def split_absolute(target: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Scheme in lower case, authority, and origin-form of an absolute-form target, or None.

    The authority may be anything, empty too: `valid_authority` judges it. A missing path is `/`;
    what that means for OPTIONS (`*`, RFC 9112 3.2.4) is for the caller to say.
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return None
    scheme, authority, rest = found.groups()
    return scheme.lower(), authority, rest if rest.startswith(b"/") else b"/" + rest


def valid_authority(value: bytes) -> bool:
    """Whether `value` is `host [":" port]` as Host and the targets of http and https URIs take it.

    Refused: user information (RFC 9110 4.2.4), a comma, since it may be what is left of two Host
    fields, ports over 65535 or of more than 5 digits,
    IPvFuture, zone identifiers. The digits after the colon may be missing (RFC 3986 3.2.3). An
    empty host, though grammatical for Host, is refused: it belongs to targets without an authority,
    and http URIs have none such (RFC 9110 4.2.1).
    """
    return _host_and_port(value) is not None


def same_authority(one: bytes, other: bytes, default_port: int) -> bool:
    """Whether two authorities name the same host and port; never for one that is not valid."""
    if one == other:
        return _host_and_port(one) is not None
    first, second = _host_and_port(one), _host_and_port(other)
    if first is None or second is None or first[0] != second[0]:
        return False
    ports = [default_port if port is None else port for port in (first[1], second[1])]
    return ports[0] == ports[1]


@memoised
def _host_and_port(authority: bytes) -> tuple[bytes, int | None] | None:
    """Host in one spelling and the port (None: the scheme's), or None when this is no authority."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > _LAST_PORT:
        return None
    if found["ipv6"] is None:
        return found["host"].lower(), port
    try:
        return IPv6Address(found["ipv6"].decode()).compressed.encode(), port
    except ValueError:
        return None
