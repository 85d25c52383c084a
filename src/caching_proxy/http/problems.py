"""Everything that can be wrong with a message or its other end: status and words, declared once."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple


class Problem(NamedTuple):
    """What the proxy answers by itself. `detail` goes into the body and into Cache-Status.

    `retry_after` (seconds) is when the client may ask again, where that can be told.
    """

    status: int
    detail: str
    retry_after: int = 0

    @property
    def reason(self) -> str:
        return HTTPStatus(self.status).phrase


class RequestRefused(Exception):
    """The client's message is not served; the connection closes after the answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class OriginFailed(Exception):
    """The origin did not give a usable response."""

    def __init__(self, problem: Problem, cause: str = "") -> None:
        super().__init__(f"{problem.detail}: {cause}" if cause else problem.detail)
        self.problem = problem


LAST_HOP = Problem(200, "Max-Forwards ends here")
MALFORMED_REQUEST = Problem(400, "malformed request")
LINE_ENDING = Problem(400, "a line does not end in CRLF, or a NUL octet")
REQUEST_LINE = Problem(400, "malformed request line")
HOST_COUNT = Problem(400, "exactly one Host field is required")
HOST_SYNTAX = Problem(400, "the Host field is not an authority")
FRAMING = Problem(400, "ambiguous message framing")
CHUNKED = Problem(400, "malformed chunked body")
PURGE_TAGS = Problem(400, "no tag is named, or more or longer ones than a response can have")
PURGE_REFUSED = Problem(403, "PURGE is not taken from this address: see --purge-from")
NO_ROUTE = Problem(404, "no route takes this request")
TRACE_REFUSED = Problem(405, "TRACE is not allowed")
HEAD_TIMEOUT = Problem(408, "the request head took too long")
BODY_TIMEOUT = Problem(408, "the request body stalled")
BODY_TOO_LARGE = Problem(413, "the request body is larger than --max-body")
TARGET_TOO_LONG = Problem(414, "the request target is longer than --max-target")
EXPECTATION = Problem(417, "the only expectation served is 100-continue")
MISDIRECTED = Problem(421, "the request target names another authority")
HEAD_TOO_LARGE = Problem(431, "the request head is larger than --max-head")
TOO_MANY_FIELDS = Problem(431, "more fields than --max-fields")
TRANSFER_CODING = Problem(501, "the only transfer coding served is chunked")
METHOD_UNKNOWN = Problem(501, "the method is not known")
CONNECT_REFUSED = Problem(501, "CONNECT is not served")
PURGE_INCOMPLETE = Problem(503, "not every worker could be told: purge again")
TOO_MANY_CONNECTIONS = Problem(503, "too many connections")
HTTP_VERSION = Problem(505, "the HTTP version is not served")
INTERNAL = Problem(500, "internal error")

ONLY_IF_CACHED = Problem(504, "only-if-cached, and nothing usable is stored")

ORIGIN_REFUSED = Problem(502, "the origin refused the connection")
ORIGIN_UNREACHABLE = Problem(502, "the origin cannot be reached")
ORIGIN_UNRESOLVABLE = Problem(502, "the origin's name does not resolve")
ORIGIN_TLS = Problem(502, "the origin's TLS could not be verified")
ORIGIN_RESET = Problem(502, "the origin closed the connection")
ORIGIN_MALFORMED = Problem(502, "the origin's response is malformed")
ORIGIN_HEAD_TOO_LARGE = Problem(502, "the origin's response head is too large")
SERVERS_BUSY = Problem(503, "no server was free in time", 1)
QUEUE_FULL = Problem(503, "every server is at its limit, and so is the queue", 1)
CIRCUITS_OPEN = Problem(503, "the circuits of all servers are open", 5)
NO_DESCRIPTOR = Problem(503, "no file descriptor is left for a connection to the origin", 1)
NO_SERVER = Problem(503, "no server is ready to take requests", 5)
ORIGIN_CONNECT_TIMEOUT = Problem(504, "the connection to the origin took too long")
ORIGIN_DEADLINE = Problem(504, "no response within --origin-deadline")
ORIGIN_HEAD_TIMEOUT = Problem(504, "the origin's response took too long")
ORIGIN_BODY_TIMEOUT = Problem(504, "the origin's response stalled")

FOR_ALL = frozenset(
    (SERVERS_BUSY, QUEUE_FULL, CIRCUITS_OPEN, NO_SERVER, NO_DESCRIPTOR, ORIGIN_DEADLINE)
)
"""None of a request's own doing: those that wait for its answer would find the same."""
