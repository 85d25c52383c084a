"""Parts of one representation, combined until it is whole (RFC 9111 3.4)."""

from __future__ import annotations

Part = tuple[int, bytes]  # position of the first octet, and the octets

PARTS_MAX = 256  # of one response; each costs a look when another is added


def combine(parts: tuple[Part, ...], part: Part) -> tuple[Part, ...]:
    """`parts`, in order and apart from each other, with one more; what is there already stays.

    Neighbours are joined, and if need be all but the new part dropped, to have at most PARTS_MAX.
    """
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
    combined.sort()
    if len(combined) > PARTS_MAX:
        combined = _joined(combined)
    return tuple(combined) if len(combined) <= PARTS_MAX else (part,)


def _joined(parts: list[Part]) -> list[Part]:
    runs: list[tuple[int, list[bytes]]] = []
    end = -1
    for first, octets in parts:
        if first == end:
            runs[-1][1].append(octets)
        else:
            runs.append((first, [octets]))
        end = first + len(octets)
    return [(first, b"".join(pieces)) for first, pieces in runs]


def whole(parts: tuple[Part, ...], length: int) -> bytes | None:
    """All `length` octets, or None where some are missing."""
    if sum(len(octets) for _, octets in parts) < length:
        return None
    return b"".join(octets for _, octets in parts)
