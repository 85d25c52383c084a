"""A worker process, started by its supervisor.

    python -m caching_proxy.cli.worker CHANNEL SHARED

Both are numbers of descriptors.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
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
    _interrupt_nobody()
    channel, shared = map(int, sys.argv[1:])
    event_loop.run(_work(socket.socket(fileno=channel), shared))


def _interrupt_nobody() -> None:
    """Do not interrupt whoever runs when requests arrive: more of them then wait for one turn.

    A worker that shares its core with those who send would else be woken for every few requests
    (sched(7), SCHED_BATCH; docs/decisions/0005-costs.md has the measure).
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container may forbid it; then it is as before
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def _work(sock: socket.socket, shared: int) -> None:
    await Worker(sock, shared).run()


if __name__ == "__main__":
    main()
