"""How much of what was written has not reached the client's side."""

from __future__ import annotations

import struct
import sys
from asyncio import WriteTransport

if sys.platform == "linux":
    import fcntl
    import termios

    def unsent_octets(transport: WriteTransport) -> int:
        """Octets in the send buffer that the peer has not acknowledged (tcp(7), SIOCOUTQ)."""
        sock = transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return 0
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
        return int(struct.unpack("i", answer)[0])

else:

    def unsent_octets(transport: WriteTransport) -> int:
        """Not known on this system: what the kernel has taken counts as sent."""
        return 0
