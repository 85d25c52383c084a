"""Parts of one representation, combined until it is whole (RFC 9111 3.4)."""

from __future__ import annotations

Part = tuple[int, bytes]  # position of the first octet, and the octets


def combine(parts: tuple[Part, ...], part: Part) -> tuple[Part, ...]:
    """`parts`, in order and apart from each other, with one more; what is there already stays."""
    at, octets = part
    end = at + len(octets)
    combined = []
    for first, held in parts:
        if at < first and at < end:
            combined.append((at, octets[at - part[0] : min(first, end) - part[0]]))
        combined.append((first, held))
        at = max(at, first + len(held))
    if at < end:
        combined.append((at, octets[at - part[0] :]))
    return tuple(sorted(combined))


def whole(parts: tuple[Part, ...], length: int) -> bytes | None:
    """All `length` octets, or None where some are missing."""
    if sum(len(octets) for _, octets in parts) < length:
        return None
    return b"".join(octets for _, octets in parts)
