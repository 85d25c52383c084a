"""A worker process, started by its supervisor.

    python -m caching_proxy.cli.worker CHANNEL SHARED

Both are numbers of descriptors.
"""

from __future__ import annotations

import faulthandler
import logging
import signal
import socket
import sys

from caching_proxy.cli import event_loop
from caching_proxy.proxy_server.worker import Worker


def main() -> None:
    """Serve until the supervisor at the other end of the descriptor has enough, or is gone."""
    faulthandler.enable()  # SIGABRT shows where one hangs
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)  # the supervisor heeds them
    logging.basicConfig(format="caching-proxy: %(levelname)s: %(message)s")
    channel, shared = map(int, sys.argv[1:])
    event_loop.run(_work(socket.socket(fileno=channel), shared))


async def _work(sock: socket.socket, shared: int) -> None:
    await Worker(sock, shared).run()


if __name__ == "__main__":
    main()
