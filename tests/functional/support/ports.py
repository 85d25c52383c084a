"""A port that a test can name before somebody listens on it."""

from __future__ import annotations

import itertools
import random
import socket

# Below those that the system gives to outgoing connections, of which tests make many at a time, and
# above those of the documented cluster (7001 to 7006, and ten thousand more).
_BLOCKS = range(18_000, 32_000, 1000)
_claims: list[socket.socket] = []


def _own_block() -> range:
    """Ports of which no other run of tests that goes on at the same time gives any away."""
    starts = random.sample(_BLOCKS, len(_BLOCKS))
    for start in starts:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0caching-proxy-tests-{start}")
        except OSError:  # taken, or no system that has such names
            claim.close()
            continue
        _claims.append(claim)
        return range(start, start + 1000)
    return range(starts[0], starts[0] + 1000)


_ports = itertools.cycle(_own_block())


def unused_port() -> int:
    """One of 127.0.0.1 that nobody has, and nobody else was given lately."""
    for port in _ports:
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError("ports never end")
