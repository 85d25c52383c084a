"""An origin that records every byte and answers with exactly what a test says."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from .messages import (
    ByteStream,
    IncompleteError,
    MalformedError,
    Request,
    Sink,
    read_body,
    read_request_head,
)
from .waiting import DEADLINE, HungError

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_FIELDS: Final[Mapping[str, str]] = {}


def answer(
    status: str = "200 OK", fields: Mapping[str, str] = NO_FIELDS, body: bytes = b""
) -> bytes:
    """A response; Content-Length is added unless the fields frame the body themselves."""
    lines = [f"HTTP/1.1 {status}"] + [f"{name}: {value}" for name, value in fields.items()]
    framed = {"content-length", "transfer-encoding"} & {name.lower() for name in fields}
    if not framed and status[:3] not in ("204", "304"):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def fresh(body: bytes = b"fresh", *, seconds: int = 600) -> bytes:
    """A response that may be stored."""
    return answer("200 OK", {"Cache-Control": f"max-age={seconds}"}, body)


class Exchange:
    """One request and the connection it came on, as a script gets them."""

    def __init__(self, connection: OriginConnection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self._body_read = request.framing == "none"

    def read_body(self, sink: Sink | None = None) -> bytes:
        """Read the request body to its end, after a 100 where that is expected."""
        if not self._body_read:
            self._body_read = True
            if "expect" in self.request.fields and not self.connection.stream.buffer:
                self.send(CONTINUE)
            read_body(self.connection.stream, self.request, sink)
        return self.request.body

    def send(self, *pieces: bytes) -> None:
        """Send bytes; raises ConnectionError when the proxy has gone."""
        for piece in pieces:
            self.connection.sock.sendall(piece)

    def wait(self, event: threading.Event, what: str) -> None:
        """Wait for the test's event, or end with the origin."""
        for _ in range(int(DEADLINE / 0.05)):
            if event.wait(0.05):
                return
            if self.connection.origin.closing:
                raise ConnectionAbortedError
        raise HungError(f"the origin's script waited {DEADLINE:g} s for {what}")

    def wait_for_close(self) -> None:
        """Wait until the proxy ends this connection; bytes that come before are an error."""
        stream = self.connection.stream
        with contextlib.suppress(IncompleteError):
            if stream.fill("the proxy to close"):
                raise MalformedError(f"bytes instead of a close: {bytes(stream.buffer)!r}")
        raise ConnectionAbortedError

    def close(self) -> None:
        """End the connection in an orderly way."""
        raise ConnectionAbortedError

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self.connection.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with RST."""
        linger = struct.pack("ii", 1, 0)
        self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise ConnectionAbortedError


Script = Callable[[Exchange], None]


class OriginConnection:
    """A connection from the proxy, served by a thread of its own."""

    def __init__(self, origin: ScriptedOrigin, sock: socket.socket) -> None:
        self.origin = origin
        self.sock = sock
        self.stream = ByteStream(sock, "the proxy (upstream)")
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._run, name="origin connection")

    def wait_closed(self) -> None:
        """Return when the connection has ended on either side."""
        assert self.closed.wait(DEADLINE), "the proxy kept a connection open that it had to close"

    def _run(self) -> None:
        try:
            self.sock.settimeout(DEADLINE)
            if self.origin.tls is not None:
                self.sock = self.origin.tls.wrap_socket(self.sock, server_side=True)
                self.stream = ByteStream(self.sock, "the proxy (upstream)")
            while self._begins():
                self._serve(read_request_head(self.stream))
        except OSError:
            pass
        except IncompleteError as cut:
            if self.stream.total:
                self.origin.cut_requests.append(str(cut))
        except Exception as fault:
            self.origin.faults.append(f"{type(fault).__name__}: {fault}")
        finally:
            self.sock.close()
            self.closed.set()

    def _begins(self) -> bool:
        """Wait for the next request, as long as the proxy keeps the connection idle."""
        self.sock.settimeout(None)
        begins = bool(self.stream.buffer) or self.stream.fill("a request")
        self.sock.settimeout(DEADLINE)
        return begins and not self.origin.closing

    def _serve(self, request: Request) -> None:
        exchange = Exchange(self, request)
        given = self.origin.take(request, self)
        if isinstance(given, bytes):
            exchange.read_body()
            self._expect_silence()
            head, end, _ = given.partition(b"\r\n\r\n")
            exchange.send(head + end if request.method == "HEAD" else given)
        else:
            given(exchange)
            exchange.read_body()

    def _expect_silence(self) -> None:
        """No byte may follow a request before its answer: the proxy does not pipeline."""
        readable = select.select([self.sock], [], [], 0)[0]
        if readable and not self.stream.buffer and not self.stream.fill("nothing"):
            raise ConnectionAbortedError
        if self.stream.buffer:
            raise MalformedError(f"bytes after a request: {bytes(self.stream.buffer[:500])!r}")


class ScriptedOrigin:
    """Records what it gets; answers each target from its script, else with a no-store 200."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        unix: Path | None = None,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
    ) -> None:
        self.tls = tls
        self.connections: list[OriginConnection] = []
        self.requests: list[Request] = []
        self.served_on: list[OriginConnection] = []
        """The connection of each request, in the same order."""
        self.cut_requests: list[str] = []
        """Requests that ended before their end, as they should when a client breaks off."""
        self.faults: list[str] = []
        """What the proxy sent and HTTP forbids, or scripts that failed; a test fails on any."""
        self.closing = False
        self._scripts: dict[str, list[bytes | Script]] = {}
        self._lock = threading.Lock()
        self._listener = self._listen(host, unix)
        self.port = 0 if unix else self._listener.getsockname()[1]
        shown = name or (f"[{host}]" if ":" in host else host)
        self.authority = f"{shown}:{self.port}"
        self.url = f"unix:{unix}" if unix else f"http{'s' if tls else ''}://{self.authority}"
        self._thread = threading.Thread(target=self._accept, name="origin")
        self._thread.start()

    def on(self, target: str, *answers: bytes | Script) -> None:
        """Answer the first request for the target with the first answer, the rest with the last.

        A target without a query stands for every query on it. To HEAD only the head of bytes is
        sent.
        """
        self._scripts[target] = list(answers)

    def take(self, request: Request, connection: OriginConnection) -> bytes | Script:
        """Record the request; tell its answer."""
        with self._lock:
            self.requests.append(request)
            self.served_on.append(connection)
            path = request.target.partition("?")[0]
            answers = self._scripts.get(request.target) or self._scripts.get(path)
            if answers is None:
                return answer("200 OK", {"Cache-Control": "no-store"}, request.target.encode())
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def seen(self, target: str) -> list[Request]:
        """The requests for exactly that target."""
        return [request for request in self.requests if request.target == target]

    def targets(self) -> list[str]:
        """The target of every request, in order."""
        return [request.target for request in self.requests]

    def close(self) -> None:
        """End every connection and thread."""
        self.closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)
        self._listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.thread.join(DEADLINE)
            assert not connection.thread.is_alive(), "a script of the origin does not end"

    def _listen(self, host: str, unix: Path | None) -> socket.socket:
        if unix is not None:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.fspath(unix))
        else:
            listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            listener.bind((host, 0))
        listener.listen(1024)
        return listener

    def _accept(self) -> None:
        while not self.closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = OriginConnection(self, sock)
            self.connections.append(connection)
            connection.thread.start()
