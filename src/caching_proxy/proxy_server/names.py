"""A name of servers, and what DNS says of it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

logger = logging.getLogger("caching_proxy")

Address = tuple[str, int]
Resolve = Callable[[str, int], Awaitable[list[Address]]]

LOOKUP_TIME = 10.0  # seconds: whoever waits for a name has given up by then
RETRY_PAUSE = 1.0  # seconds from a look-up to the next at most, while there is no address at all


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a name by the system's resolver. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((str(item[4][0]), port) for item in found))


class Name:
    """One name: its addresses as of the last answer, and why there is no newer one.

    The log tells when it begins to fail, and when that is over.
    """

    def __init__(self, host: str, port: int, resolver: Resolve, quiet: bool = False) -> None:
        """`quiet`: its failures are told elsewhere, here only for who debugs."""
        self.host = host
        self.addresses: list[Address] = []
        self.failure = ""
        """Of the last look-up, in words; nothing where all is well."""
        self._port = port
        self._resolver = resolver
        self._levels = (logging.DEBUG,) * 2 if quiet else (logging.WARNING, logging.INFO)

    async def look_up(self) -> None:
        """Ask DNS, for at most LOOKUP_TIME; where that fails the last addresses hold."""
        failed, back = self._levels
        try:
            found = await asyncio.wait_for(self._resolver(self.host, self._port), LOOKUP_TIME)
        except Exception as error:  # whatever it is, the name is to be looked up again
            cause = str(error) or f"no answer of DNS within {LOOKUP_TIME:g} s"
            if not self.failure:
                held = ", its last addresses hold" if self.addresses else ""
                logger.log(failed, "%s does not resolve%s: %s", self.host, held, cause)
            self.failure = cause
            return
        if self.failure:
            logger.log(back, "%s resolves again", self.host)
        self.addresses, self.failure = found, ""
