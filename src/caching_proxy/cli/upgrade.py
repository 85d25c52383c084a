"""What a process is handed: sockets by a service manager, and what operators want of servers by the
process whose place it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from caching_proxy.cli import notify
from caching_proxy.proxy_server.errors import ListenError
from caching_proxy.proxy_server.listeners import SERVICE_MANAGER, Bound, Endpoint
from caching_proxy.proxy_server.orders import Orders

logger = logging.getLogger("caching_proxy")

VARIABLE = "CACHING_PROXY_HERITAGE"
"""A JSON object of descriptors and orders, in the environment of the new process."""
_FIRST_OF_SYSTEMD = 3  # sd_listen_fds(3)
_READY = b"ready"


@dataclass
class Heritage:
    """What this process was handed."""

    bound: Bound = field(default_factory=dict)
    admin: list[socket.socket] = field(default_factory=list)
    orders: Orders = field(default_factory=dict)
    _pipe: int | None = None

    @classmethod
    def take(cls) -> Heritage:
        """What there is, once: it is gone from the environment afterwards."""
        text = os.environ.pop(VARIABLE, "")
        if text:
            told = json.loads(text)
            return cls(
                {_endpoint(place): _slots(slots) for place, slots in told["bound"]},
                [_adopted(number) for number in told["admin"]],
                told.get("orders", {}),  # an older version hands on none
                told["ready"],
            )
        number = os.environ.pop("LISTEN_FDS", "")
        if os.environ.pop("LISTEN_PID", "") != str(os.getpid()) or not number:
            return cls()
        return cls({SERVICE_MANAGER: [_passed(number)]})

    def take_admin(self, host: str, port: int) -> list[socket.socket]:
        """The control API's sockets, where they are there (port 0: any); else they are closed."""
        with contextlib.suppress(OSError):  # who binds it tells
            address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
            places = [sock.getsockname() for sock in self.admin]
            if all(place[0] == address[0] and port in (0, place[1]) for place in places):
                return self.admin
        self.leave_admin()
        return []

    def leave_admin(self) -> None:
        """Close the control API's sockets: nobody would accept what comes there."""
        for sock in self.admin:
            sock.close()

    def ready(self) -> None:
        """Tell the process whose place this one takes that it may end."""
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                os.write(self._pipe, _READY)
            os.close(self._pipe)
            self._pipe = None


async def upgrade(
    bound: Bound,
    admin: Sequence[socket.socket],
    orders: Orders,
    timeout: float,
    ending: asyncio.Event,
) -> bool:
    """Start the program that this process is anew, with these sockets; whether it is ready.

    `orders` hold there too.

    One that is not within `timeout` seconds, or before this process is `ending`, is ended.
    """
    reader, writer = os.pipe()
    told: dict[str, Any] = {
        "bound": [
            [list(endpoint), [[sock.fileno() for sock in slot] for slot in slots]]
            for endpoint, slots in bound.items()
        ],
        "admin": [sock.fileno() for sock in admin],
        "orders": orders,
        "ready": writer,
    }
    descriptors = [sock.fileno() for slots in bound.values() for slot in slots for sock in slot]
    try:
        process = await asyncio.to_thread(_start, told, [*descriptors, *told["admin"], writer])
    except OSError as error:
        logger.error("the new process cannot be started: %s: this one goes on", error)
        os.close(reader)
        return False
    finally:
        os.close(writer)
    if await _said(reader, timeout, ending) == _READY:
        logger.info("process %d has taken over", process.pid)
        # This is still the main process: systemd takes no word of others (NotifyAccess=main).
        notify.tell(f"MAINPID={process.pid}")
        process.returncode = 0  # it outlives this process: nobody waits for it
        return True
    logger.error("the new process is not ready: this one goes on")
    process.terminate()
    await asyncio.to_thread(_reap, process)
    return False


def _start(told: dict[str, Any], descriptors: list[int]) -> subprocess.Popen[bytes]:
    """The command that started this process, once more."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, VARIABLE: json.dumps(told)},
        pass_fds=descriptors,
    )


async def _said(reader: int, timeout: float, ending: asyncio.Event) -> bytes:
    """What comes through a pipe within so many seconds and before `ending`, b"" without."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(reader, readable.set)
    waiting = [asyncio.ensure_future(event.wait()) for event in (readable, ending)]
    try:
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        return os.read(reader, len(_READY)) if readable.is_set() else b""
    finally:
        for task in waiting:
            task.cancel()
        loop.remove_reader(reader)
        os.close(reader)


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _endpoint(place: list[object]) -> Endpoint:
    hosts, port, paths, backlog = place
    assert isinstance(hosts, list) and isinstance(paths, list)
    assert isinstance(port, int) and isinstance(backlog, int)
    found = Endpoint(tuple(hosts), port, tuple(paths), backlog)
    return SERVICE_MANAGER if found == SERVICE_MANAGER else found


def _passed(number: str) -> list[socket.socket]:
    """The sockets that a service manager passes, LISTEN_FDS of them. Raises ListenError."""
    if not number.isascii() or not number.isdigit() or int(number) == 0:
        raise ListenError(f"LISTEN_FDS={number}: it has to be the number of sockets passed")
    found = []
    for descriptor in range(_FIRST_OF_SYSTEMD, _FIRST_OF_SYSTEMD + int(number)):
        try:
            sock = _adopted(descriptor)
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise ListenError(f"descriptor {descriptor} of LISTEN_FDS: {error.strerror}") from None
        if not listens:
            raise ListenError(
                f"descriptor {descriptor} of LISTEN_FDS does not listen: pass stream sockets"
                " (ListenStream= of the .socket unit, Accept=no)"
            )
        found.append(sock)
    return found


def _slots(numbers: list[list[int]]) -> list[list[socket.socket]]:
    return [[_adopted(number) for number in slot] for slot in numbers]


def _adopted(number: int) -> socket.socket:
    """The socket of a descriptor, which the processes started from here do not get."""
    sock = socket.socket(fileno=number)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock
