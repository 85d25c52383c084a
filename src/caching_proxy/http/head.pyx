"""Heads of HTTP/1.1 messages: a scan in C for what is provably plain, llhttp for everything else.

The scan only accepts. It takes messages whose meaning leaves no question; what it does not take goes, whole and
untouched, to llhttp, the one judge of what is malformed. Two things are checked around llhttp because it lets
them pass: see `refuse_leniencies`.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from caching_proxy.http.fields cimport (
    F_ACCEPT, F_ACCEPT_ENCODING, F_ACCEPT_LANGUAGE, F_CONNECTION, F_CONTENT_LENGTH, F_EXPECT, F_HOST,
    F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH, F_TRANSFER_ENCODING, F_UPGRADE, FieldId, Fields, Span, bit, field_id,
)
from caching_proxy.http.grammar cimport HOST, TARGET, TOKEN, VALUE, decimal, equals_lower

from caching_proxy.http import problems
from caching_proxy.http.problems import OriginFailed, RequestRefused
from caching_proxy.http.target import split_absolute, valid_authority


# A request with one of these is never plain.
cdef uint64_t NOT_PLAIN = bit(F_CONTENT_LENGTH) | bit(F_TRANSFER_ENCODING) | bit(F_EXPECT) | bit(F_UPGRADE)
# Fields that a plain message has at most once, since their lines would have to be joined or refused.
cdef uint64_t ONCE = (bit(F_HOST) | bit(F_CONNECTION) | bit(F_ACCEPT) | bit(F_ACCEPT_ENCODING)
                      | bit(F_ACCEPT_LANGUAGE) | bit(F_IF_NONE_MATCH) | bit(F_IF_MODIFIED_SINCE)
                      | bit(F_CONTENT_LENGTH) | bit(F_TRANSFER_ENCODING))


cdef Py_ssize_t scan_lines(const char* data, Py_ssize_t at, Py_ssize_t size, Scan* out) noexcept nogil:
    """Scan field lines from `at` to the empty line; the offset behind that, or 0 when they are not all plain."""
    cdef const uint8_t* token = TOKEN
    cdef const uint8_t* value = VALUE
    cdef Py_ssize_t start, end
    cdef FieldId field
    cdef Span* span
    out.count = 0
    out.seen = 0
    while True:
        start = at
        while at < size and token[<uint8_t>data[at]]:
            at += 1
        if size - at < 2:
            return 0
        if at == start:
            return at + 2 if data[at] == c"\r" and data[at + 1] == c"\n" else 0
        if data[at] != c":" or out.count == SCAN_FIELDS:
            return 0
        field = field_id(data + start, at - start)
        if bit(field) & ONCE & out.seen:
            return 0
        span = &SPANS[out.count]
        span.field = field
        span.name = start
        span.name_size = at - start
        at += 1
        while at < size and (data[at] == c" " or data[at] == c"\t"):
            at += 1
        span.value = at
        while at < size and value[<uint8_t>data[at]]:
            at += 1
        if size - at < 2 or data[at] != c"\r" or data[at + 1] != c"\n":
            return 0
        end = at
        while end > <Py_ssize_t>span.value and (data[end - 1] == c" " or data[end - 1] == c"\t"):
            end -= 1
        span.value_size = end - span.value
        out.seen |= bit(field)
        out.where[<int>field] = out.count
        out.count += 1
        at += 2


cdef bint plain_host(const char* text, Py_ssize_t size) noexcept nogil:
    """Whether this is a reg-name or IPv4 address with an optional port, in its plainest form."""
    cdef Py_ssize_t at = 0
    while at < size and HOST[<uint8_t>text[at]]:
        at += 1
    if at == 0 or at == size:
        return at > 0
    return text[at] == c":" and size - at <= 6 and 0 <= decimal(text + at + 1, size - at - 1) < 65536


cdef bint plain_connection(const char* data, Scan* out) noexcept nogil:
    cdef Span* span
    if not out.seen & bit(F_CONNECTION):
        return True
    span = &SPANS[out.where[<int>F_CONNECTION]]
    return span.value_size == 10 and equals_lower(data + span.value, b"keep-alive", 10)


cdef bint scan_request_head(const char* data, Py_ssize_t at, Py_ssize_t size, Scan* out) noexcept nogil:
    """Whether a plain GET or HEAD without a body starts at `at`, all of its head there; `out` then describes it."""
    cdef const uint8_t* allowed = TARGET
    cdef Py_ssize_t start = at
    cdef Span* host
    if size - at < 20:
        return False
    if memcmp(data + at, b"GET /", 5) == 0:
        out.is_head = False
        at += 4
    elif memcmp(data + at, b"HEAD /", 6) == 0:
        out.is_head = True
        at += 5
    else:
        return False
    out.target = at
    while at < size and allowed[<uint8_t>data[at]]:
        at += 1
    out.target_size = at - out.target
    if size - at < 13 or memcmp(data + at, b" HTTP/1.1\r\n", 11) != 0:
        return False
    at = scan_lines(data, at + 11, size, out)
    if at == 0 or out.seen & NOT_PLAIN or not out.seen & bit(F_HOST):
        return False
    host = &SPANS[out.where[<int>F_HOST]]
    out.size = at - start
    return plain_host(data + host.value, host.value_size) and plain_connection(data, out)


cdef bint scan_response_head(const char* data, Py_ssize_t size, Scan* out) noexcept nogil:
    """Whether a plain HTTP/1.1 response stands at the start of `data`, all of its head there."""
    cdef const uint8_t* allowed = VALUE
    cdef Py_ssize_t at = 13
    cdef Span* span
    if size < 17 or memcmp(data, b"HTTP/1.1 ", 9) != 0 or data[12] != c" ":
        return False
    out.status = <int>decimal(data + 9, 3)
    if out.status < 100:
        return False
    while at < size and allowed[<uint8_t>data[at]]:
        at += 1
    if size - at < 4 or data[at] != c"\r" or data[at + 1] != c"\n":
        return False
    out.reason = 13
    out.reason_size = at - 13
    out.size = scan_lines(data, at + 2, size, out)
    if out.size == 0 or out.seen & bit(F_UPGRADE) or not plain_connection(data, out):
        return False
    if out.seen & bit(F_TRANSFER_ENCODING):
        span = &SPANS[out.where[<int>F_TRANSFER_ENCODING]]
        return not out.seen & bit(F_CONTENT_LENGTH) and span.value_size == 7 and equals_lower(
            data + span.value, b"chunked", 7)
    if out.seen & bit(F_CONTENT_LENGTH):
        span = &SPANS[out.where[<int>F_CONTENT_LENGTH]]
        return decimal(data + span.value, span.value_size) >= 0
    return True


cdef Py_ssize_t find_head_end(const char* data, Py_ssize_t size, Py_ssize_t seen) noexcept nogil:
    """The offset behind the empty line that ends a head, NEED_MORE, or BAD_LINE.

    BAD_LINE: CR or LF alone, or NUL. Without this check a head whose lines end in LF alone would never end.
    `seen` octets were searched before.
    """
    cdef Py_ssize_t at = seen
    while at < size:
        if data[at] == 0 or (data[at] == c"\n" and (at == 0 or data[at - 1] != c"\r")):
            return BAD_LINE
        if at and data[at - 1] == c"\r" and data[at] != c"\n":
            return BAD_LINE
        if data[at] == c"\n" and at >= 3 and data[at - 2] == c"\n":
            return at + 1
        at += 1
    return NEED_MORE


@cython.freelist(64)
cdef class RequestHead:
    """The head of one request. `target` is as it came; `size` counts the head's octets."""

    cdef bint has_body(self) noexcept nogil:
        return self.chunked or self.content_length > 0


@cython.freelist(64)
cdef class ResponseHead:
    """The head of one response, interim or final."""


cdef RequestHead plain_request(bytes data, Scan* scan):
    """The head that `scan_request_head` has just described."""
    cdef RequestHead head = RequestHead.__new__(RequestHead)
    head.method = b"HEAD" if scan.is_head else b"GET"
    head.target = PyBytes_AS_STRING(data)[scan.target:scan.target + scan.target_size]
    head.fields = Fields.adopt(data, SPANS, scan.count)
    head.host = head.fields.first(F_HOST)
    head.minor = 1
    head.keep_alive = True
    head.content_length = -1
    head.size = scan.size
    return head


cdef ResponseHead plain_response(bytes data, Scan* scan):
    """The head that `scan_response_head` has just described."""
    cdef ResponseHead head = ResponseHead.__new__(ResponseHead)
    cdef const char* text = PyBytes_AS_STRING(data)
    cdef Span* span
    head.status = scan.status
    head.reason = text[scan.reason:scan.reason + scan.reason_size]
    head.fields = Fields.adopt(data, SPANS, scan.count)
    head.minor = 1
    head.keep_alive = True
    head.chunked = (scan.seen & bit(F_TRANSFER_ENCODING)) != 0
    head.content_length = -1
    if scan.seen & bit(F_CONTENT_LENGTH):
        span = &SPANS[scan.where[<int>F_CONTENT_LENGTH]]
        head.content_length = decimal(text + span.value, span.value_size)
    head.size = scan.size
    return head


cdef class Events:
    """Collects what llhttp says of one head."""

    cdef bytes target
    cdef bytes reason
    cdef list lines
    cdef bint complete

    def __cinit__(self):
        self.lines = []
        self.reason = b""

    def on_url(self, bytes url):
        self.target = url

    def on_status(self, bytes reason):
        self.reason = reason

    def on_header(self, bytes name, bytes value):
        self.lines.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self):
        self.complete = True


cdef bytes known_coding(Fields fields):
    """The transfer coding in lower case, or None without one."""
    cdef bytes coding = fields.joined(F_TRANSFER_ENCODING)
    return None if coding is None else coding.strip(b" \t").lower()


cdef int64_t content_length(Fields fields) except? -1:
    cdef bytes value = fields.joined(F_CONTENT_LENGTH)
    cdef int64_t length
    if value is None:
        return -1
    length = decimal(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    if length < 0:
        raise ValueError("Content-Length")
    return length


cdef refuse_leniencies(bytes head, bytes method, bytes target):
    """What llhttp takes and we do not: several spaces in the request line, other protocols, fragments."""
    cdef bytes line = head[:head.index(b"\r\n")]
    if line not in (method + b" " + target + b" HTTP/1.1", method + b" " + target + b" HTTP/1.0"):
        if line.startswith(method + b" " + target + b" HTTP/"):
            raise RequestRefused(problems.HTTP_VERSION)
        raise RequestRefused(problems.REQUEST_LINE)
    if b"#" in target:
        raise RequestRefused(problems.REQUEST_LINE)


cdef feed_request(bytes head, Events events):
    """Let llhttp judge a whole request head; the parser, to be asked for method and version."""
    cdef object parser = HttpRequestParser(events)
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        pass
    except HttpParserInvalidMethodError:
        word = head.split(b" ", 1)[0]
        known = word and all(TOKEN[octet] for octet in word)
        raise RequestRefused(problems.METHOD_UNKNOWN if known else problems.REQUEST_LINE) from None
    except HttpParserError as error:
        raise RequestRefused(refusal(head, events, str(error))) from None
    if not events.complete:
        raise RequestRefused(problems.MALFORMED_REQUEST)
    return parser


cdef refusal(bytes head, Events events, str reason):
    """The problem that fits llhttp's complaint."""
    cdef bytes line = head[:head.index(b"\r\n")]
    if reason == "Invalid HTTP version" or line.endswith(b" HTTP/2.0"):
        return problems.HTTP_VERSION
    if events.complete and "Transfer-Encoding" in reason:
        return problems.TRANSFER_CODING
    if events.target is None:
        return problems.REQUEST_LINE
    return problems.MALFORMED_REQUEST


cpdef RequestHead parse_request(bytes head):
    """Parse one whole request head, its empty line included, with llhttp.

    Raises RequestRefused. RFC 9112 3, 6; RFC 9110 7.2, 10.1.1.
    """
    cdef RequestHead request = RequestHead.__new__(RequestHead)
    cdef Events events = Events()
    cdef object parser = feed_request(head, events)
    request.method = parser.get_method()
    request.target = events.target
    refuse_leniencies(head, request.method, request.target)
    request.fields = Fields.of(events.lines)
    request.minor = 0 if parser.get_http_version() == "1.0" else 1
    request.keep_alive = keep_alive_asked(request.fields, request.minor)
    request.size = len(head)
    settle_framing(request)
    settle_authority(request)
    if request.fields.has(F_CONNECTION):
        request.fields = request.fields.without_named()
    return request


cdef bint keep_alive_asked(Fields fields, int minor) except *:
    """RFC 9112 9.3."""
    cdef bytes options = fields.joined(F_CONNECTION)
    cdef list names = [] if options is None else [name.strip(b" \t") for name in options.lower().split(b",")]
    if b"close" in names:
        return False
    return minor == 1 or b"keep-alive" in names


cdef settle_framing(RequestHead request):
    """RFC 9112 6.1 to 6.3 for requests: one length, or chunked alone, or no body."""
    cdef bytes coding = known_coding(request.fields)
    cdef bytes expectation = request.fields.joined(F_EXPECT)
    try:
        request.content_length = content_length(request.fields)
    except ValueError:
        raise RequestRefused(problems.FRAMING) from None
    if coding is not None:
        if request.minor == 0 or request.content_length >= 0:
            raise RequestRefused(problems.FRAMING)
        if coding != b"chunked":
            raise RequestRefused(problems.TRANSFER_CODING)
        request.chunked = True
    if expectation is not None and request.minor == 1:
        if expectation.lower() != b"100-continue":
            raise RequestRefused(problems.EXPECTATION)
        request.expects_continue = request.has_body()


cdef settle_authority(RequestHead request):
    """RFC 9112 3.2: exactly one valid Host in HTTP/1.1; the target has one of the four forms."""
    cdef int hosts = request.fields.occurrences(F_HOST)
    if hosts > 1 or (hosts == 0 and request.minor == 1):
        raise RequestRefused(problems.HOST_COUNT)
    request.host = request.fields.first(F_HOST)
    if request.host is not None and not valid_authority(request.host):
        raise RequestRefused(problems.HOST_SYNTAX)
    if request.method == b"CONNECT" or request.target.startswith(b"/"):
        return
    if request.target == b"*":
        if request.method != b"OPTIONS":
            raise RequestRefused(problems.REQUEST_LINE)
        return
    parts = split_absolute(request.target)
    if parts is None or not valid_authority(parts[1]):
        raise RequestRefused(problems.REQUEST_LINE)


cpdef ResponseHead parse_response(bytes head):
    """Parse one whole response head with llhttp. Raises OriginFailed. RFC 9112 4, 6."""
    cdef ResponseHead response = ResponseHead.__new__(ResponseHead)
    cdef Events events = Events()
    cdef object parser = HttpResponseParser(events)
    cdef bytes coding
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise OriginFailed(problems.ORIGIN_MALFORMED, str(error)) from None
    if not events.complete or not head.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
        raise OriginFailed(problems.ORIGIN_MALFORMED)
    response.status = parser.get_status_code()
    response.reason = events.reason
    response.fields = Fields.of(events.lines)
    response.size = len(head)
    response.minor = 1 if head[7] == c"1" else 0
    response.keep_alive = keep_alive_asked(response.fields, response.minor)
    try:
        response.content_length = content_length(response.fields)
    except ValueError:
        raise OriginFailed(problems.ORIGIN_MALFORMED, "Content-Length") from None
    coding = known_coding(response.fields)
    if coding is not None:
        if coding != b"chunked" or response.minor == 0 or response.content_length >= 0:
            raise OriginFailed(problems.ORIGIN_MALFORMED, "Transfer-Encoding")
        response.chunked = True
    if response.status < 100:
        raise OriginFailed(problems.ORIGIN_MALFORMED, "status")
    if response.fields.has(F_CONNECTION):
        response.fields = response.fields.without_named()
    return response


cpdef ResponseHead first_response(bytes data, Py_ssize_t seen, Py_ssize_t max_head):
    """The response head at the start of `data`, or None when it is not all there.

    `seen` octets were searched for its end before; it may have `max_head`. Raises OriginFailed.
    """
    cdef Scan scan
    cdef Py_ssize_t end
    cdef const char* text = PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    if seen == 0 and scan_response_head(text, size, &scan) and scan.size <= max_head:
        return plain_response(data, &scan)
    end = find_head_end(text, min(size, max_head), seen)
    if end == BAD_LINE:
        raise OriginFailed(problems.ORIGIN_MALFORMED, "a line does not end in CRLF")
    if end == NEED_MORE:
        if size >= max_head:
            raise OriginFailed(problems.ORIGIN_HEAD_TOO_LARGE)
        if not b"HTTP/1.".startswith(data[:7]):
            raise OriginFailed(problems.ORIGIN_MALFORMED, "not HTTP/1")
        return None
    return parse_response(data[:end])


def scan_request(bytes data not None):
    """What the hit lane's scan makes of `data`: a RequestHead, or None when it leaves it to llhttp."""
    cdef Scan scan
    if not scan_request_head(PyBytes_AS_STRING(data), 0, PyBytes_GET_SIZE(data), &scan):
        return None
    return plain_request(data, &scan)


def scan_response(bytes data not None):
    """What the scan makes of a response in `data`: a ResponseHead, or None when it leaves it to llhttp."""
    cdef Scan scan
    if not scan_response_head(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), &scan):
        return None
    return plain_response(data, &scan)


def head_end(bytes data not None, Py_ssize_t seen=0):
    """The offset behind the head at the start of `data`, 0 when it is not all there, -1 for a bad line ending."""
    return find_head_end(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), seen)
