"""Who asked, for the origin: X-Forwarded-* and Forwarded (RFC 7239)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

from caching_proxy.http.section import FieldSection

_UNKNOWN = b"unknown"  # RFC 7239 6.2; Squid writes it into X-Forwarded-For as well
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_IS_TOKEN = re.compile(_TOKEN)
_IS_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]*")
# A parameter of Forwarded with what separates it from the next; a comma begins a new element.
_PARAMETER = re.compile(
    rb"(" + _TOKEN + rb")=(" + _TOKEN + rb'|"(?:[^"\\]|\\.)*")([ \t]*(?:[,;][ \t,;]*|\Z))',
    re.DOTALL,
)
_MAPPED = IPv6Network("::ffff:0:0/96")


def forwarding_lines(
    peer: str,
    scheme: Literal["http", "https"],
    trusted: bool,
    incoming: FieldSection,
    host: bytes | None,
) -> bytes:
    """The field lines to send upstream, ready for the wire, in place of all that came.

    `peer` is the client's address, "" on a unix socket; `host` is a valid authority, or None when
    the origin is not to learn it. Of a trusted peer the addresses that it tells are kept, and the
    scheme (`told_scheme`). No other word on hosts and schemes goes upstream, since it could change
    the answer without being in the cache key.
    """
    address = _address(peer)
    node = _UNKNOWN if address is None else str(address).encode()
    protocol = (told_scheme(incoming) if trusted else None) or scheme.encode()
    told_addresses = incoming.combined(b"x-forwarded-for") if trusted else None
    told_elements = _told_nodes(incoming) if trusted else []
    element = b"for=%b;proto=%b" % (_forwarded_node(node, address), protocol)
    host_line = b""
    if host is not None:
        element += b";host=" + (host if _IS_TOKEN.fullmatch(host) else b'"' + host + b'"')
        host_line = b"X-Forwarded-Host: " + host + b"\r\n"
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nForwarded: %b\r\n%b" % (
        told_addresses + b", " + node if told_addresses else node,
        protocol,
        b", ".join([*told_elements, element]),
        host_line,
    )


def told_scheme(incoming: FieldSection) -> bytes | None:
    """The scheme that the client used as trusted proxies tell it, in lower case, or None.

    The first one in X-Forwarded-Proto, or without that field in Forwarded.
    """
    value = incoming.combined(b"x-forwarded-proto")
    if value is not None:
        told = value.partition(b",")[0].strip(b" \t")
    else:
        schemes = (element.get(b"proto") for element in _elements(incoming))
        told = next(filter(None, schemes), b"").strip(b'"')
    told = told.lower()
    return told if _IS_SCHEME.fullmatch(told) else None


def _told_nodes(incoming: FieldSection) -> list[bytes]:
    """The elements of Forwarded reduced to who asked whom."""
    pairs = [
        [b"%b=%b" % (name, element[name]) for name in (b"by", b"for") if name in element]
        for element in _elements(incoming)
    ]
    return [b";".join(element) for element in pairs if element]


def _elements(incoming: FieldSection) -> list[dict[bytes, bytes]]:
    """The elements of Forwarded (RFC 7239 4), names in lower case; none if it is malformed."""
    value = (incoming.combined(b"forwarded") or b"").strip(b" \t,;")
    elements: list[dict[bytes, bytes]] = [{}]
    at = 0
    while at < len(value):
        found = _PARAMETER.match(value, at)
        if found is None:
            return []
        elements[-1].setdefault(found[1].lower(), found[2])
        if b"," in found[3]:
            elements.append({})
        at = found.end()
    return elements


def _forwarded_node(node: bytes, address: IPv4Address | IPv6Address | None) -> bytes:
    return b'"[%b]"' % node if isinstance(address, IPv6Address) else node


def _address(peer: str) -> IPv4Address | IPv6Address | None:
    """The address without its zone; an IPv4 address that came mapped into IPv6 is IPv4."""
    if not peer:
        return None
    address = ip_address(peer.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class TrustedNetworks:
    """The networks whose word on where a request came from is taken."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(_unmapped(network) for network in networks)

    def __contains__(self, peer: str) -> bool:
        """Whether the address lies in one of the networks; "" (a unix socket) lies in none."""
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return IPv4Network((int(mapped or 0), network.prefixlen - _MAPPED.prefixlen))
    return network
