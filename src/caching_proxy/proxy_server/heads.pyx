"""Heads as they go out: to the origin, to the client, into the store."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.dates cimport parse_http_date
from caching_proxy.http.fields cimport (
    F_ACCEPT_ENCODING, F_AGE, F_CONNECTION, F_CONTENT_ENCODING, F_CONTENT_LANGUAGE, F_CONTENT_LENGTH,
    F_CONTENT_RANGE, F_CONTENT_TYPE, F_DATE, F_ETAG, F_EXPECT, F_FORWARDED, F_HOST, F_HTTP2_SETTINGS,
    F_KEEP_ALIVE, F_LAST_MODIFIED, F_PROXY_AUTHENTICATE, F_PROXY_AUTHENTICATION_INFO, F_PROXY_AUTHORIZATION,
    F_PROXY_CONNECTION, F_TE, F_TRAILER, F_TRANSFER_ENCODING, F_UPGRADE, F_X_CACHE, F_X_CACHE_KEY,
    F_X_FORWARDED_FOR, F_X_FORWARDED_HOST, F_X_FORWARDED_PROTO, F_UNKEYED, F_X_HOST, F_X_ORIGINAL_HOST,
    F_X_ORIGINAL_URL, F_X_REAL_IP, F_X_REWRITE_URL, F_X_URL_SCHEME, FieldId, Fields, Span, bit, field_id,
)
from caching_proxy.http.head cimport RequestHead, ResponseHead, parse_response
from caching_proxy.http.wire cimport Wire
from caching_proxy.proxy_server.route cimport Route
from caching_proxy.proxy_server.service cimport Service

from caching_proxy.cache_manager.rfc9111.validation import unstored_fields
from caching_proxy.http.dates import format_http_date


cdef enum:
    KEY_FROM_END = 77         # where the key begins in a stored head: "\r\nAge: " is behind it


# Fields of one connection only (RFC 9110 7.6.1), and those that frame a message: written anew for the next one.
cdef uint64_t HOP_BY_HOP = (
    bit(F_CONNECTION) | bit(F_KEEP_ALIVE) | bit(F_PROXY_CONNECTION) | bit(F_TE) | bit(F_TRAILER)
    | bit(F_TRANSFER_ENCODING) | bit(F_UPGRADE) | bit(F_HTTP2_SETTINGS) | bit(F_PROXY_AUTHENTICATE)
    | bit(F_PROXY_AUTHENTICATION_INFO) | bit(F_PROXY_AUTHORIZATION) | bit(F_CONTENT_LENGTH))
# What the proxy says itself, so that nobody else's word stands for it.
cdef uint64_t WORDS_OF_GATEWAYS = (bit(F_UNKEYED) | bit(F_X_HOST) | bit(F_X_ORIGINAL_HOST) | bit(F_X_ORIGINAL_URL)
                                   | bit(F_X_REAL_IP) | bit(F_X_REWRITE_URL) | bit(F_X_URL_SCHEME))
cdef uint64_t OURS_UPSTREAM = (bit(F_HOST) | bit(F_EXPECT) | bit(F_FORWARDED) | bit(F_X_FORWARDED_FOR)
                               | bit(F_X_FORWARDED_PROTO) | bit(F_X_FORWARDED_HOST) | WORDS_OF_GATEWAYS)
cdef uint64_t OURS_DOWNSTREAM = bit(F_AGE) | bit(F_X_CACHE) | bit(F_X_CACHE_KEY)
cdef frozenset ALL_HOP_BY_HOP = unstored_fields(None)
cdef frozenset OURS_STORED = frozenset((b"age", b"x-cache", b"x-cache-key", b"content-length"))
# Metadata of a representation that a 304 does not repeat (RFC 9110 15.4.5).
cdef uint64_t REPRESENTATION = (bit(F_CONTENT_TYPE) | bit(F_CONTENT_ENCODING) | bit(F_CONTENT_LANGUAGE)
                                | bit(F_CONTENT_RANGE))


cdef int put_lines(Wire wire, Fields fields, uint64_t without) except -1:
    """Copy the lines whose id is not in `without`, each as name, colon, space, value."""
    cdef int at
    cdef Span* span
    for at in range(fields.count):
        span = &fields.spans[at]
        if bit(<FieldId>span.field) & without:
            continue
        wire.put(fields.base + span.name, span.name_size)
        wire.put(b": ", 2)
        wire.put(fields.base + span.value, span.value_size)
        wire.put(b"\r\n", 2)
    return 0


cdef int put_named(Wire wire, Fields fields, frozenset names) except -1:
    """Copy those words of gateways that are sent on nevertheless; names in lower case."""
    for name, value in fields.items():
        if name.lower() in names and bit(field_id(name, len(name))) & WORDS_OF_GATEWAYS:
            put_line(wire, name, value)
    return 0


cdef bint is_sent_on(Route route, bytes name) except -1:
    """Whether a request's field goes to the origin as it came, conditions of a shared fetch aside."""
    cdef uint64_t field = bit(field_id(name, len(name)))
    if field & WORDS_OF_GATEWAYS:
        return name.lower() in route.sent_names
    return not field & (HOP_BY_HOP | OURS_UPSTREAM)


cdef int put_line(Wire wire, bytes name, bytes value) except -1:
    wire.put_bytes(name)
    wire.put(b": ", 2)
    wire.put_bytes(value)
    return wire.put(b"\r\n", 2)


cdef int put_status(Wire wire, ResponseHead response) except -1:
    wire.begin()
    wire.put(b"HTTP/1.1 ", 9)
    wire.put_number(response.status)
    wire.put(b" ", 1)
    wire.put_bytes(response.reason)
    return wire.put(b"\r\n", 2)


cdef int put_date(Wire wire, Fields fields) except -1:
    """RFC 9110 6.6.1: a recipient with a clock adds the Date that is missing."""
    if not fields.has(F_DATE):
        put_line(wire, b"Date", format_http_date(time(NULL)))
    return 0


cdef bytes origin_head(Route route, Service service, RequestHead request, bytes target, bytes host, Variant variant,
                       bytes forwarding, uint64_t without, bytes more):
    """The request's head as it goes to the origin, the empty line included.

    With a `variant` the negotiated codings go in the form that is in the key. `without` are the fields that the client
    sent and the origin does not get, `more` are whole lines of our own.
    """
    cdef Wire wire = service.wire
    cdef Fields fields = request.fields
    without |= HOP_BY_HOP | OURS_UPSTREAM
    wire.begin()
    wire.put_bytes(request.method)
    wire.put(b" ", 1)
    wire.put_bytes(target)
    wire.put(b" HTTP/1.1\r\n", 11)
    put_line(wire, b"Host", host or b"" if route.origin_host is None else route.origin_host)
    if variant is not None and variant.accept_encoding is not None:
        without |= bit(F_ACCEPT_ENCODING)
    if route.request_changes is not None:
        fields = without_names(fields, route.request_changes.removed)
    put_lines(wire, fields, without)
    if route.sent_names and request.fields.seen & WORDS_OF_GATEWAYS:
        put_named(wire, request.fields, route.sent_names)
    if without & bit(F_ACCEPT_ENCODING):
        put_line(wire, b"Accept-Encoding", variant.accept_encoding)
    if request.chunked:
        wire.put(b"Transfer-Encoding: chunked\r\n", 28)
    elif request.content_length >= 0:
        wire.put(b"Content-Length: ", 16)
        wire.put_number(request.content_length)
        wire.put(b"\r\n", 2)
    if request.expects_continue:
        wire.put(b"Expect: 100-continue\r\n", 22)
    wire.put(b"Via: 1.", 7)
    wire.put_number(request.minor)
    wire.put_bytes(service.via)
    wire.put_bytes(forwarding)
    if route.request_changes is not None:
        for name, value in route.request_changes.lines:
            put_line(wire, name, value)
    wire.put_bytes(more)
    wire.put(b"\r\n", 2)
    return wire.take()


cdef int put_end_to_end(Service service, Fields fields, int minor, uint64_t without) except -1:
    """What a response in HTTP/1.minor says besides its representation metadata, and what a gateway adds."""
    put_lines(service.wire, fields, HOP_BY_HOP | OURS_DOWNSTREAM | without)
    put_date(service.wire, fields)
    service.wire.put(b"Via: 1.", 7)
    service.wire.put_number(minor)
    return service.wire.put_bytes(service.via)


cdef Fields without_names(Fields fields, names):
    """The fields without those of these names, given in lower case."""
    if not names:
        return fields
    return Fields.of([line for line in fields.items() if line[0].lower() not in names])


cdef bytes client_head(Route route, Service service, ResponseHead response, bytes key, bytes fate, int64_t length,
                       bint chunked, bint unchanged, int64_t told_age, object excluded, bytes connection):
    """The head of a response that comes from the origin, for the client.

    `key` is None where the method is not cacheable; `fate` is what Cache-Status says behind the name; `length` below 0:
    no Content-Length; `unchanged`: as 304; `told_age` (seconds) goes in place of the origin's Age, unless it is below
    0; `excluded` are names of fields that are not for this client; `connection` is a whole line or empty.
    """
    cdef Wire wire = service.wire
    cdef bytes age = response.fields.first(F_AGE)
    cdef Fields fields = without_names(response.fields, route.stripped)
    if excluded is not ALL_HOP_BY_HOP:
        fields = without_names(fields, excluded)
    if told_age >= 0:
        age = b"%d" % told_age
    if route.response_changes is not None:
        fields = Fields.of(route.response_changes.apply(fields.items()))
    if unchanged:
        wire.begin()
        wire.put(b"HTTP/1.1 304 Not Modified\r\n", 27)
    else:
        put_status(wire, response)
    put_end_to_end(service, fields, response.minor, REPRESENTATION if unchanged else 0)
    if age is not None:
        put_line(wire, b"Age", age)
    if length >= 0:
        wire.put(b"Content-Length: ", 16)
        wire.put_number(length)
        wire.put(b"\r\n", 2)
    elif chunked:
        wire.put(b"Transfer-Encoding: chunked\r\n", 28)
    if key is not None:
        wire.put(b"X-Cache: MISS\r\nX-Cache-Key: ", 28)
        wire.put_bytes(key)
        wire.put(b"\r\n", 2)
    wire.put_bytes(service.cache_status)
    wire.put_bytes(fate)
    if key is not None:
        put_key(wire, key)
    wire.put(b"\r\n", 2)
    wire.put_bytes(connection)
    wire.put(b"\r\n", 2)
    return wire.take()


cdef int put_key(Wire wire, const char* key) except -1:
    """The parameter of Cache-Status."""
    wire.put(b'; key="', 7)
    wire.put(key, KEY_SIZE)
    return wire.put(b'"', 1)


cdef Entry stored_entry(Route route, Service service, bytes url, Variant variant, tuple selecting, bytes key,
                        ResponseHead response, bytes body, tuple parts, int64_t length, object storable,
                        int64_t received_at, tuple tags):
    """The response as it is stored, found `storable` (rfc9111): whole with a `body`, else with `parts` of one.

    Its head is that of the whole of `length` octets, and has the representation metadata first, so that a 304 is its
    end.
    """
    cdef Wire wire = service.wire
    cdef Py_ssize_t validation
    cdef Fields fields = without_names(response.fields, route.stripped)
    cdef bytes last_modified
    cdef Entry entry
    if storable.excluded is not ALL_HOP_BY_HOP:
        fields = without_names(fields, storable.excluded)
    last_modified = fields.first(F_LAST_MODIFIED)
    if response.status == 206:
        wire.begin()
        wire.put(b"HTTP/1.1 200 OK\r\n", 17)
    else:
        put_status(wire, response)
    put_lines(wire, fields, ~REPRESENTATION | bit(F_CONTENT_RANGE))
    if response.status != 204:                          # RFC 9110 8.6
        wire.put(b"Content-Length: ", 16)
        wire.put_number(length)
        wire.put(b"\r\n", 2)
    validation = wire.size
    put_end_to_end(service, fields, response.minor, REPRESENTATION)
    wire.put(b"X-Cache: HIT\r\nX-Cache-Key: ", 27)
    wire.put_bytes(key)
    wire.put(b"\r\nAge: ", 7)
    if last_modified is not None and parse_http_date(last_modified, received_at) is None:
        last_modified = None
    entry = Entry.__new__(Entry)
    entry.set(url, variant, selecting, 200 if response.status == 206 else response.status, wire.take(), validation,
              body, parts, length, fields.first(F_ETAG), last_modified, storable, received_at, tags)
    return entry


cdef ResponseHead stored_head(Entry entry):
    """A stored response's head as the origin sent it, but for what connections and we made of it."""
    return rebuilt_head(entry, origin_lines(entry), entry.length)


cdef ResponseHead rebuilt_head(Entry entry, list lines, int64_t length):
    """A head with the stored status and these lines, for `length` octets of content."""
    cdef list text = [entry.head[:entry.head.index(b"\r\n")]]
    text += [b"%b: %b" % line for line in lines]
    if entry.status != 204:
        text.append(b"Content-Length: %d" % length)
    return parse_response(b"\r\n".join(text) + b"\r\n\r\n")


cdef list origin_lines(Entry entry):
    """The stored lines as they came, without those that we write."""
    cdef list lines = parse_response(entry.head + b"0\r\n\r\n").fields.items()
    cdef list found = [line for line in lines if line[0].lower() not in OURS_STORED]
    cdef Py_ssize_t at = len(found) - 1
    while at >= 0 and found[at][0].lower() != b"via":
        at -= 1
    del found[at:at + 1]                                # the last Via is ours
    return found


cdef int put_stored(Route route, Wire wire, Entry entry, bint not_modified) except -1:
    """A stored head, or what of it a 304 has; it ends where the age begins."""
    cdef bytes head = entry.head
    cdef Py_ssize_t validation = entry.validation
    if route.response_changes is not None:
        head, validation = route.shown(entry)
    if not not_modified:
        return wire.put_bytes(head)
    wire.put(b"HTTP/1.1 304 Not Modified\r\n", 27)
    return wire.put(<const char*>head + validation, PyBytes_GET_SIZE(head) - validation)


cdef int put_hit_tail(Service service, Entry entry, int64_t now, bytes fate, bytes detail, bytes connection) except -1:
    """What stands behind "Age: " of a stored head; `fate` and `detail` are parameters of Cache-Status."""
    cdef Wire wire = service.wire
    cdef int64_t age = now - entry.born
    cdef int64_t left = entry.fresh_until - now
    wire.put_number(age if age > 0 else 0)
    wire.put(b"\r\n", 2)
    wire.put_bytes(service.cache_status)
    wire.put_bytes(fate)
    wire.put(b"; ttl=", 6)
    if left < 0:
        wire.put(b"-", 1)
        left = -left
    wire.put_number(left)
    put_key(wire, key_of(entry))
    wire.put_bytes(detail)
    wire.put(b"\r\n", 2)
    wire.put_bytes(connection)
    return wire.put(b"\r\n", 2)


cdef const char* key_of(Entry entry) noexcept:
    return <const char*>entry.head + PyBytes_GET_SIZE(entry.head) - KEY_FROM_END


cdef bytes hit_head(Route route, Service service, Entry entry, int64_t now, bint not_modified, bytes fate, bytes detail,
                    bytes connection):
    """The head that answers from the store."""
    service.wire.begin()
    put_stored(route, service.wire, entry, not_modified)
    put_hit_tail(service, entry, now, fate, detail, connection)
    return service.wire.take()


cdef bytes partial_head(Route route, Service service, Entry entry, int64_t now, list lines, int64_t length,
                        bytes fate, bytes detail, bytes connection):
    """The head of a 206 from the store; `lines` are the metadata of its content, which has `length` octets."""
    cdef Wire wire = service.wire
    cdef bytes shown
    cdef Py_ssize_t validation
    shown, validation = route.shown(entry)
    wire.begin()
    wire.put(b"HTTP/1.1 206 Partial Content\r\n", 30)
    for name, value in lines:
        put_line(wire, name, value)
    wire.put(b"Content-Length: ", 16)
    wire.put_number(length)
    wire.put(b"\r\n", 2)
    wire.put(<const char*>shown + validation, PyBytes_GET_SIZE(shown) - validation)
    put_hit_tail(service, entry, now, fate, detail, connection)
    return wire.take()


cdef list metadata(Entry entry):
    """The lines of a stored head that describe its representation, as (name, value)."""
    cdef list lines = entry.head[:entry.validation].split(b"\r\n")[1:]
    cdef list found = []
    for line in lines:
        name, colon, value = line.partition(b": ")
        if colon and name != b"Content-Length":
            found.append((name, value))
    return found


cdef int put_hit(Route route, Service service, Entry entry, int64_t now, bint not_modified) except -1:
    """Write the head of the hit lane's answer behind what it has in Service.hit_wire."""
    cdef Wire wire = service.hit_wire
    put_stored(route, wire, entry, not_modified)
    wire.put_number(now - entry.born if now > entry.born else 0)
    wire.put_bytes(service.hit_status)
    wire.put_number(entry.fresh_until - now)
    put_key(wire, key_of(entry))
    return wire.put(b"\r\n\r\n", 4)


cdef bytes own_response(Service service, int status, bytes reason, bytes text, bytes more, bint is_head, bint close,
                        bytes content_type=b"text/plain"):
    """A short answer of the proxy's own; `more` holds whole field lines."""
    return b"HTTP/1.1 %d %b\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n%b" % (
        status, reason, format_http_date(time(NULL)), content_type, len(text), more,
        b"Connection: close\r\n" if close else b"", b"" if is_head else text)
