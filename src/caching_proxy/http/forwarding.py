"""Who asked, for the origin: X-Forwarded-* and Forwarded (RFC 7239)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

from caching_proxy.http.section import FieldSection

_UNKNOWN = b"unknown"  # RFC 7239 6.2; Squid writes it into X-Forwarded-For as well
_IS_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
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
    the origin is not to learn it. What a trusted peer sent is kept: addresses and Forwarded are
    appended to; X-Forwarded-Proto and -Host tell of the first hop, so they stay as they came.
    """
    address = _address(peer)
    node = _UNKNOWN if address is None else str(address).encode()
    protocol = scheme.encode()
    element = b"for=%b;proto=%b" % (_forwarded_node(node, address), protocol)
    if host is not None:
        element += b";host=" + (host if _IS_TOKEN.fullmatch(host) else b'"' + host + b'"')

    kept = incoming if trusted else None
    lines = [
        b"X-Forwarded-For: " + _appended(kept, b"x-forwarded-for", node),
        b"X-Forwarded-Proto: " + (_kept(kept, b"x-forwarded-proto") or protocol),
        b"Forwarded: " + _appended(kept, b"forwarded", element),
    ]
    if host is not None:
        lines.append(b"X-Forwarded-Host: " + (_kept(kept, b"x-forwarded-host") or host))
    return b"\r\n".join(lines) + b"\r\n"


_PROTO = re.compile(rb"proto=\"?([A-Za-z][A-Za-z0-9+.-]*)")


def told_scheme(incoming: FieldSection) -> bytes | None:
    """The scheme of the first hop as trusted proxies tell it, in lower case, or None."""
    told = incoming.combined(b"x-forwarded-proto")
    if told is None:
        found = _PROTO.search(incoming.combined(b"forwarded") or b"")
        told = found[1] if found else b""
    return told.strip().lower() or None


def _kept(kept: FieldSection | None, name: bytes) -> bytes | None:
    return kept.combined(name) if kept is not None else None


def _appended(kept: FieldSection | None, name: bytes, value: bytes) -> bytes:
    before = _kept(kept, name)
    return before + b", " + value if before else value


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
