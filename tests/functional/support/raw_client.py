"""A client that sends exact bytes and believes nothing."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final

from .messages import (
    ByteStream,
    IncompleteError,
    PeerResetError,
    Response,
    Sink,
    read_body,
    read_response,
    read_response_head,
)
from .waiting import DEADLINE

Address = tuple[str, int] | str
NO_FIELDS: Final[Mapping[str, str]] = {}


def chunked(pieces: Iterable[bytes], trailers: bytes = b"") -> Iterable[bytes]:
    """The pieces in chunked coding (RFC 9112 7.1)."""
    for piece in pieces:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n%b\r\n" % trailers


class RawClient:
    """One connection; every wait is bounded, and what comes back is read strictly."""

    def __init__(
        self,
        address: Address,
        *,
        timeout: float = DEADLINE,
        source: str | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        if isinstance(address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(timeout)
            if receive_buffer is not None:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source is not None:
                self.sock.bind((source, 0))
            self.sock.connect(address)
        except BaseException:
            self.sock.close()
            raise
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = ByteStream(self.sock, "the proxy")
        host, port = ("localhost", 80) if isinstance(address, str) else address
        self.authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, *pieces: bytes) -> None:
        """Send the bytes; a proxy that has closed already shows when the answer is read."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for piece in pieces:
                self.sock.sendall(piece)

    def head(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str] = NO_FIELDS,
        *,
        version: str = "1.1",
    ) -> bytes:
        """A request head with our Host, unless the fields bring one."""
        lines = [f"{method} {target} HTTP/{version}"]
        if "Host" not in fields:
            lines.append(f"Host: {self.authority}")
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def request(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str] = NO_FIELDS,
        body: bytes = b"",
        *,
        sink: Sink | None = None,
    ) -> Response:
        """One exchange; a body goes with its Content-Length."""
        if body or method in ("POST", "PUT", "PATCH"):
            fields = {**fields, "Content-Length": str(len(body))}
        self.send(self.head(method, target, fields) + body)
        return self.response(method, sink=sink)

    def get(
        self, target: str, fields: Mapping[str, str] = NO_FIELDS, *, sink: Sink | None = None
    ) -> Response:
        """One exchange with GET."""
        return self.request("GET", target, fields, sink=sink)

    def response(self, method: str = "GET", *, sink: Sink | None = None) -> Response:
        """The next whole response."""
        return read_response(self.stream, method, sink)

    def response_head(self, method: str = "GET") -> Response:
        """The next response head, interim or final, without its body."""
        return read_response_head(self.stream, method)

    def finish(self, response: Response, *, sink: Sink | None = None) -> Response:
        """The body that belongs to a head already read."""
        read_body(self.stream, response, sink)
        return response

    def half_close(self) -> None:
        """Send FIN and go on reading; a connection that is reset already shows there."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def expect_closed(self) -> None:
        """The proxy ends the connection (FIN or RST) and sends nothing more before."""
        with contextlib.suppress(PeerResetError):
            self.stream.fill("the end of the connection")
        assert not self.stream.buffer, f"unexpected bytes: {bytes(self.stream.buffer[:500])!r}"

    def rest(self) -> bytes:
        """Everything until the proxy ends the connection."""
        kept = bytearray()
        with contextlib.suppress(PeerResetError):
            self.stream.pass_on_all(kept.extend, "the end of the connection")
        return bytes(kept)

    def refusal(self, method: str = "GET") -> Response | None:
        """What came before the proxy closed: one response, or none at all."""
        response: Response | None
        try:
            response = self.response(method)
        except IncompleteError as end:
            assert not self.stream.buffer, f"half an answer: {end}"
            return None
        self.expect_closed()
        return response

    def ended(self) -> bool:
        """True when the proxy has ended or reset the connection; reads nothing."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close our side."""
        self.sock.close()
