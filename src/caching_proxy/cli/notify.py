"""Telling systemd how the service is (sd_notify); nothing happens where it does not ask."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time


def tell(*assignments: str) -> None:
    """Send `NAME=VALUE` lines to the socket that NOTIFY_SOCKET names."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):  # of the abstract namespace
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)  # nobody may read it: the proxy goes on
        sock.sendto("\n".join(assignments).encode(), address)


def monotonic() -> str:
    """What has to come with RELOADING=1 (Type=notify-reload)."""
    return f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"


async def watchdog() -> None:
    """Tell twice as often as WATCHDOG_USEC asks that the event loop runs."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or int(microseconds) == 0:
        return
    while True:
        tell("WATCHDOG=1")
        await asyncio.sleep(int(microseconds) / 2_000_000)
