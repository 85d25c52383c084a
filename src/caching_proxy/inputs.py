"""What people write: as messages quote it, as numbers of any length, as hosts in normal form."""

from __future__ import annotations

import ipaddress
from typing import Any

ROOM = 80
"""Characters of a value that a message has room for."""
BEYOND = 10**40
"""A number that is beyond every bound."""

_MAX_LABEL, _MAX_NAME = 63, 253  # octets (RFC 1035 2.3.4; the name as it is written)


def shown(value: Any) -> str:
    """A value as a message quotes it: what is long is cut short; nothing of what tables hold."""
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    try:
        text = repr(value)
    except ValueError:  # an integer of too many digits
        return "the number"
    if len(text) <= ROOM:
        return text
    quote = text[-1] if isinstance(value, str) else ""
    return f"{text[: ROOM - 3 - len(quote)]}...{quote}"


def one_line(text: str) -> str:
    """The same of a text that needs no quotes; control characters are escaped."""
    plain = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text[: ROOM + 1]
    )
    return plain if len(plain) <= ROOM else f"{plain[: ROOM - 3]}..."


def whole_number(text: str) -> int:
    """The number of these decimal digits, with or without a sign; BEYOND where they are too many.

    Python reads no more than some thousands of them.
    """
    return int(text) if len(text) <= len(str(BEYOND)) else BEYOND


def normal_host(host: str) -> str:
    """A host as it is compared: an IP address as RFC 5952 has it, a name in lower case.

    An IPv6 address is given in brackets, and returned without; the dot at the end of an absolute
    name stays. Raises ValueError("cause: cure") that continues what names the host.
    """
    if host.startswith("["):
        return _normal_ipv6(host[1:-1])
    name = host.lower()
    labels = name.removesuffix(".").split(".")
    if labels[-1].isdecimal():
        return _normal_ipv4(name)
    if "" in labels:
        raise ValueError("has an empty label: write one dot between labels")
    if len(".".join(labels)) > _MAX_NAME:
        raise ValueError(f"is longer than {_MAX_NAME} octets: shorten it")
    if any(len(label) > _MAX_LABEL for label in labels):
        raise ValueError(f"has a label of more than {_MAX_LABEL} octets: shorten it")
    if any(label.startswith("-") or label.endswith("-") for label in labels):
        raise ValueError("has a label that begins or ends with a hyphen: leave that out")
    return name


def _normal_ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("is not an IPv6 address: write one such as [2001:db8::1]") from None
    mapped = address.ipv4_mapped  # that Python before 3.13 writes in hexadecimal
    return str(address) if mapped is None else f"::ffff:{mapped}"


def _normal_ipv4(text: str) -> str:
    """What ends in a number is no name (RFC 1123 2.1), and resolvers read it in several ways."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError("is not an IPv4 address: write four numbers up to 255") from None
