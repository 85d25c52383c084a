"""Calls between two processes over a pair of connected sockets; descriptors may go along.

A message is its length (four octets, network order) and a JSON object: `call` with `name` and
`arguments`, or `answer` with `value` or `error`, both with the `id` of the call. `sockets` tells
how many descriptors belong to it; they come in order.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

logger = logging.getLogger("caching_proxy")

Handler = Callable[[dict[str, Any], list[socket.socket]], Awaitable[Any]]

MAX_MESSAGE = 16 << 20  # octets
_READ = 65536
_DESCRIPTORS = 250  # that the system passes with one message at most


class ChannelClosed(Exception):
    """The other process is gone, or did not answer."""


class CallFailed(Exception):
    """The other process says (one or more lines) why it did not do what it was asked."""


class Channel:
    """One end of it, on the running event loop."""

    def __init__(
        self, sock: socket.socket, handlers: Mapping[str, Handler], ended: Callable[[], None]
    ) -> None:
        """`handlers` do what the other side calls; `ended` is called once it is gone."""
        sock.setblocking(False)
        self._sock = sock
        self._handlers = handlers
        self._ended = ended
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._received = b""
        self._descriptors: list[int] = []
        self._out: list[tuple[bytes, list[int]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.closed = False
        self._loop.add_reader(sock.fileno(), self._read)

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        sockets: Sequence[socket.socket] = (),
        timeout: float | None = None,
    ) -> Any:
        """What the other side answers within `timeout` seconds.

        Raises ChannelClosed, or CallFailed with what it says is wrong.
        """
        if self.closed:
            raise ChannelClosed
        self._number += 1
        number = self._number
        future = self._waiting[number] = self._loop.create_future()
        self._send({"id": number, "call": name, "arguments": arguments or {}}, sockets)
        try:
            return await asyncio.wait_for(future, timeout)
        except (asyncio.TimeoutError, TimeoutError):
            raise ChannelClosed(f"no answer to {name} within {timeout:g} s") from None
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """End it; who waits for an answer gets ChannelClosed."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ChannelClosed())
        for descriptor in self._descriptors:
            socket.close(descriptor)

    # -- out

    def _send(self, message: dict[str, Any], sockets: Sequence[socket.socket] = ()) -> None:
        if self.closed:
            return
        message["sockets"] = len(sockets)
        text = json.dumps(message).encode()
        descriptors = [sock.fileno() for sock in sockets]
        self._out.append((struct.pack("!I", len(text)) + text, descriptors))
        if len(self._out) == 1:
            self._write()

    def _write(self) -> None:
        try:
            while self._out:
                data, descriptors = self._out[0]
                head = descriptors[:_DESCRIPTORS]
                # With descriptors left, one octet at a time: each carries its share.
                piece = data if len(descriptors) <= _DESCRIPTORS else data[:1]
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", head))]
                sent = self._sock.sendmsg([piece], rights if head else [])
                if sent == len(data):
                    self._out.pop(0)
                else:
                    self._out[0] = data[sent:], descriptors[_DESCRIPTORS:]
            self._loop.remove_writer(self._sock.fileno())
        except BlockingIOError:
            self._loop.add_writer(self._sock.fileno(), self._write)
        except OSError:
            self._end()

    # -- in

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, _READ, _DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        if not data:
            self._end()
            return
        self._received += data
        while (message := self._next()) is not None:
            self._take(message)

    def _next(self) -> dict[str, Any] | None:
        if len(self._received) < 4:
            return None
        (size,) = struct.unpack("!I", self._received[:4])
        if size > MAX_MESSAGE:
            self._end()
            return None
        if len(self._received) < 4 + size:
            return None
        message: dict[str, Any] = json.loads(self._received[4 : 4 + size])
        self._received = self._received[4 + size :]
        return message

    def _take(self, message: dict[str, Any]) -> None:
        count = message["sockets"]
        descriptors, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if "call" in message:
            task = asyncio.ensure_future(self._answer(message, sockets))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        future = self._waiting.get(message["id"])
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(CallFailed(message["error"]))
        else:
            future.set_result(message["value"])

    async def _answer(self, message: dict[str, Any], sockets: list[socket.socket]) -> None:
        answer: dict[str, Any] = {"id": message["id"]}
        try:
            handler = self._handlers[message["call"]]
            answer["value"] = await handler(message["arguments"], sockets)
        except CallFailed as failure:
            answer["error"] = str(failure)
        except ChannelClosed:
            answer["error"] = "the other process is gone"
        except Exception:
            logger.exception("%s failed", message["call"])
            answer["error"] = f"{message['call']} failed: the log tells why"
        self._send(answer)

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self.close()
        self._ended()
