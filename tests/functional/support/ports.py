"""A port that a test can name before somebody listens on it."""

from __future__ import annotations

import random
import socket

# Below those that the system gives to outgoing connections, of which tests make many at a time, and
# above those of the documented cluster (7001 to 7006, and ten thousand more).
_PORTS = range(18_000, 32_000)


def unused_port() -> int:
    """One of 127.0.0.1 that nobody has; the one who named it is likely to be the next to ask."""
    while True:
        port = random.choice(_PORTS)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
