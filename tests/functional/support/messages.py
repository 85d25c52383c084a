"""HTTP/1.1 messages, read strictly as RFC 9112 has them; independent of any parsing library."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from .waiting import HungError

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]+) (HTTP/1\.[01])")
_FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")

Sink = Callable[[bytes], object]


class MalformedError(AssertionError):
    """The peer sent what RFC 9112 does not allow."""


class IncompleteError(AssertionError):
    """The peer ended the connection inside a message; `body` holds what had come of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.body = b""


class NoMessageError(IncompleteError):
    """The peer ended the connection before the first byte of a message."""


class PeerResetError(IncompleteError):
    """The peer reset the connection inside a message."""


class ByteStream:
    """What arrives on a socket, with every wait bounded by the socket's timeout."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._sock = sock
        self._peer = peer
        self.buffer = bytearray()
        self.total = 0
        """Bytes received so far."""

    def fill(self, what: str) -> bool:
        """Receive something; False when the peer has ended its side."""
        try:
            data = self._sock.recv(262_144)
        except TimeoutError:
            raise HungError(
                f"{self._peer} sent nothing more within {self._sock.gettimeout():g} s; "
                f"waiting for {what}; received before: {bytes(self.buffer[:200])!r}"
            ) from None
        except (ConnectionResetError, BrokenPipeError):
            raise PeerResetError(f"{self._peer} reset the connection; waiting for {what}") from None
        self.buffer += data
        self.total += len(data)
        return bool(data)

    def line(self, what: str, *, first: bool = False) -> bytes:
        """The next line without its CRLF; a bare CR or LF is an error."""
        start = 0
        while (end := self.buffer.find(b"\n", start)) < 0:
            start = len(self.buffer)
            if not self.fill(what):
                kind = NoMessageError if first and not self.buffer else IncompleteError
                raise kind(f"{self._peer} closed; waiting for {what}; had {bytes(self.buffer)!r}")
        line = bytes(self.buffer[: end + 1])
        del self.buffer[: end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise MalformedError(f"bare CR or LF in {what}: {line!r}")
        return line[:-2]

    def pass_on(self, size: int, sink: Sink, what: str) -> None:
        """Hand exactly `size` bytes to the sink as they come."""
        while size:
            if not self.buffer and not self.fill(what):
                raise IncompleteError(f"{self._peer} closed {size} bytes before the end of {what}")
            piece = bytes(self.buffer[:size])
            del self.buffer[: len(piece)]
            size -= len(piece)
            sink(piece)

    def pass_on_all(self, sink: Sink, what: str) -> None:
        """Hand everything up to the end of the connection to the sink."""
        while self.buffer or self.fill(what):
            sink(bytes(self.buffer))
            self.buffer.clear()


@dataclass
class FieldLines:
    """A header or trailer section: names in lower case, in the order they came."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """The values of every line of that name."""
        return [value for key, value in self.lines if key == name.lower()]

    def get(self, name: str) -> str | None:
        """All values of that name joined by a comma; None when there is none."""
        values = self.all(name)
        return ", ".join(values) if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self.lines}"
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))


@dataclass
class Message:
    """What requests and responses have in common."""

    version: str
    fields: FieldLines
    body: bytes = b""
    size: int = 0
    sha256: str = ""
    framing: str = "none"
    trailers: FieldLines = field(default_factory=FieldLines)


@dataclass
class Request(Message):
    """A request as an origin saw it."""

    method: str = ""
    target: str = ""


@dataclass
class Response(Message):
    """A response as a client saw it, with the interim (1xx) responses before it."""

    status: int = 0
    reason: str = ""
    interim: list[Response] = field(default_factory=list)

    @property
    def cache(self) -> str:
        """The value of X-Cache."""
        return self.fields["x-cache"]


def read_fields(stream: ByteStream, what: str) -> FieldLines:
    """A field section up to and including the empty line."""
    fields = FieldLines()
    while line := stream.line(what):
        match = _FIELD_LINE.fullmatch(line)
        if match is None:
            raise MalformedError(f"field line in {what}: {line!r}")
        name, value = match.groups()
        fields.lines.append((name.decode().lower(), value.rstrip(b" \t").decode("latin-1")))
    return fields


def read_request_head(stream: ByteStream) -> Request:
    """A request up to its body; `framing` tells what follows."""
    line = stream.line("a request line", first=True)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MalformedError(f"request line {line!r}")
    method, target, version = (part.decode() for part in match.groups())
    fields = read_fields(stream, "a request head")
    framing = _framing(fields, otherwise="none")
    return Request(version, fields, framing=framing, method=method, target=target)


def read_response_head(stream: ByteStream, method: str) -> Response:
    """A response up to its body; `framing` tells what follows (RFC 9112 6.3)."""
    line = stream.line("a status line", first=True)
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise MalformedError(f"status line {line!r}")
    version, status, reason = (part.decode("latin-1") for part in match.groups())
    fields = read_fields(stream, "a response head")
    response = Response(version, fields, status=int(status), reason=reason)
    response.framing = _framing(fields, otherwise="close")
    if (response.status < 200 or response.status == 204) and response.framing != "close":
        raise MalformedError(f"{status} with a body framing: {fields.lines}")
    if response.status < 200 or response.status in (204, 304) or method == "HEAD":
        response.framing = "none"
    return response


def read_response(stream: ByteStream, method: str, sink: Sink | None = None) -> Response:
    """A whole response with its interim ones; the body goes to the sink when there is one."""
    interim = []
    while (response := read_response_head(stream, method)).status < 200:
        interim.append(response)
        if response.status == 101:
            break
    response.interim = interim
    read_body(stream, response, sink)
    return response


def read_body(stream: ByteStream, message: Message, sink: Sink | None = None) -> None:
    """The body that the head announced; fills body (without a sink), size, sha256, trailers."""
    kept = bytearray()
    sha256 = hashlib.sha256()

    def take(piece: bytes) -> None:
        sha256.update(piece)
        message.size += len(piece)
        if sink is None:
            kept.extend(piece)
        else:
            sink(piece)

    try:
        if message.framing == "chunked":
            message.trailers = _read_chunks(stream, take)
        elif message.framing == "length":
            length = int(message.fields["content-length"])
            stream.pass_on(length, take, f"a body of {length} bytes")
        elif message.framing == "close":
            stream.pass_on_all(take, "a body that ends with the connection")
    except IncompleteError as cut:
        cut.body = bytes(kept)
        raise
    message.body, message.sha256 = bytes(kept), sha256.hexdigest()


def _read_chunks(stream: ByteStream, sink: Sink) -> FieldLines:
    while True:
        line = stream.line("a chunk size")
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise MalformedError(f"chunk line {line!r}")
        size = int(match[1], 16)
        if size == 0:
            return read_fields(stream, "trailers")
        stream.pass_on(size, sink, f"a chunk of {size} bytes")
        if line := stream.line("the end of a chunk"):
            raise MalformedError(f"chunk data does not end at its size but with {line!r}")


def _framing(fields: FieldLines, otherwise: str) -> str:
    codings, lengths = fields.all("transfer-encoding"), fields.all("content-length")
    if codings and lengths:
        raise MalformedError(f"both Transfer-Encoding and Content-Length: {fields.lines}")
    if codings:
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise MalformedError(f"Transfer-Encoding {codings}")
        return "chunked"
    if not lengths:
        return otherwise
    if len(lengths) > 1 or re.fullmatch("[0-9]+", lengths[0]) is None:
        raise MalformedError(f"Content-Length {lengths}")
    return "length"
