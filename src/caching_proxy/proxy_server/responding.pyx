"""Answers on their way to the client: from the store, from a fetch, of our own."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport key_digest
from caching_proxy.cache_manager.fill cimport WINDOW, Fill
from caching_proxy.cache_manager.memory_tier cimport MemoryTier
from caching_proxy.http.fields cimport (
    F_ETAG, F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH, F_IF_RANGE, F_LAST_MODIFIED, F_RANGE, Fields, bit,
)
from caching_proxy.http.head cimport ResponseHead
from caching_proxy.proxy_server.affinity cimport session_line
from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.heads cimport (
    KEY_SIZE, client_head, hit_head, key_of, metadata, own_response, partial_head,
)

from caching_proxy.cache_manager.rfc9111.reuse import Reuse
from caching_proxy.cache_manager.rfc9111.storable import Storable
from caching_proxy.http.conditional import not_modified
from caching_proxy.http.ranges import (
    UNSATISFIABLE, if_range_holds, multipart_end, multipart_type, new_boundary, part_head, requested_ranges,
)

# What Cache-Status (RFC 9211) says of each verdict that leads to the origin.
cdef dict FATES = {
    Reuse.MISS: b"; fwd=uri-miss",
    Reuse.STALE: b"; fwd=stale",
    Reuse.STALE_WHILE_REVALIDATE: b"; fwd=stale",
    Reuse.REFUSED: b"; fwd=request",
    Reuse.PASS: b"; fwd=request",
}
cdef bytes FATE_METHOD = b"; fwd=method"
cdef bytes FATE_BYPASS = b"; fwd=bypass"
cdef bytes FATE_PARTIAL = b"; fwd=partial"
cdef bytes FATE_VARY = b"; fwd=vary-miss"
cdef uint64_t CONDITIONS = bit(F_IF_NONE_MATCH) | bit(F_IF_MODIFIED_SINCE)
cdef bytes CONNECTION_CLOSE = b"Connection: close\r\n"
cdef bytes CONNECTION_KEEP = b"Connection: keep-alive\r\n"


# -- from the store


cdef respond_stored(Exchange x, Entry entry, bytes fate, bytes detail):
    """Answer from the store: whole, the ranges asked for, or with 304 where the client has it (RFC 9110 13.2.2).

    `fate` and `detail` are parameters of Cache-Status.
    """
    cdef Fields fields = x.request.fields
    cdef int64_t now = time(NULL)
    cdef bint unchanged = False
    x.service.hits += 1
    x.service.stale += now >= entry.fresh_until
    x.hit = True
    x.service.cache.memory.touch(entry)
    if fields.seen & CONDITIONS and entry.status == 200:
        unchanged = not_modified(fields, entry.etag, entry.last_modified, entry.date, now)
    if not unchanged and fields.has(F_RANGE):
        ranges = answerable_ranges(x, entry)
        if ranges is UNSATISFIABLE:
            respond_unsatisfiable(x, entry, fate)
            return
        if ranges is not None:
            respond_ranges(x, entry, ranges, fate, detail)
            return
    head = hit_head(x.route, x.service, entry, now, unchanged, fate, detail, connection_line(x))
    x.status = 304 if unchanged else entry.status
    if unchanged or x.request.method == b"HEAD":
        send(x, head, [])
    else:
        send(x, head, [entry.body])
        x.client.pin(entry)


cdef respond_stale(Exchange x):
    """Answer with what is stored, since the origin cannot (RFC 5861 4)."""
    cdef Fetch fetch = x.fetch
    if fetch.error is None:
        detail = b"; fwd-status=%d" % fetch.head.status
    else:
        detail = b'; detail="%b"' % fetch.error.problem.detail.encode()
    respond_stored(x, x.entry, fate_of(x), detail)


cdef respond_confirmed(Exchange x):
    """Answer with what is stored, which the origin has confirmed."""
    respond_stored(x, x.fetch.confirmed_for(x.follows), fate_of(x) + b"; fwd-status=304", b"")


cdef object answerable_ranges(Exchange x, Entry entry):
    """The ranges that the request asks for of a stored response, UNSATISFIABLE, or None: the whole answers.

    RFC 9110 14.2: only GET of a 200, and If-Range must hold.
    """
    cdef Fields fields = x.request.fields
    if not fields.has(F_RANGE) or entry.status != 200 or x.request.method != b"GET":
        return None
    if fields.has(F_IF_RANGE) and not if_range_holds(
            fields.joined(F_IF_RANGE), entry.etag, entry.last_modified, entry.date):
        return None
    return requested_ranges(fields.joined(F_RANGE), entry.length, x.route.max_ranges)


cdef bint part_answers(Exchange x, Entry entry) except -1:
    """Whether a response stored in part has all that the request asks for: never the fields of the whole."""
    ranges = answerable_ranges(x, entry)
    if ranges is None:
        return False
    if ranges is UNSATISFIABLE:
        return True
    for first, last in ranges:
        if entry.octets(first, last) is None:
            return False
    return True


cdef respond_unsatisfiable(Exchange x, Entry entry, bytes fate):
    """RFC 9110 15.5.17."""
    more = b"Content-Range: bytes */%d\r\nX-Cache: HIT\r\nX-Cache-Key: %b\r\n%b%b\r\n" % (
        entry.length, key_of(entry)[:KEY_SIZE], x.service.cache_status, fate)
    respond_own(x, 416, b"Range Not Satisfiable", b"", more)


cdef respond_ranges(Exchange x, Entry entry, list ranges, bytes fate, bytes detail):
    """206 (Partial Content), in several parts where several ranges are asked for (RFC 9110 15.3.7)."""
    cdef list lines = metadata(entry)
    cdef list chunks
    cdef list pieces = []             # octets, or first and last of those that are stored
    cdef bytes content_type, boundary
    cdef int64_t size = 0
    if len(ranges) == 1:
        first, last = ranges[0]
        lines.append((b"Content-Range", b"bytes %d-%d/%d" % (first, last, entry.length)))
        pieces.append((first, last))
    else:
        content_type = next((value for name, value in lines if name.lower() == b"content-type"), None)
        boundary = new_boundary()
        lines = [line for line in lines if line[0].lower() != b"content-type"]
        lines.append((b"Content-Type", multipart_type(boundary)))
        for first, last in ranges:
            pieces.append(part_head(boundary, content_type, (first, last), entry.length, not pieces))
            pieces.append((first, last))
        pieces.append(multipart_end(boundary))
    for piece in pieces:
        size += len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] + 1
    if size <= WINDOW:
        chunks = [piece if isinstance(piece, bytes) else entry.octets(piece[0], piece[1]) for piece in pieces]
    x.status = 206
    head = partial_head(x.route, x.service, entry, time(NULL), lines, size, fate, detail, connection_line(x))
    if size <= WINDOW:
        send(x, head, chunks)
    else:
        send(x, head, [])
        x.entry = entry
        x.pieces = pieces


async def send_pieces(Exchange x):
    """Send what respond_ranges has left, at the client's pace."""
    for piece in x.pieces:
        if isinstance(piece, bytes):
            send(x, None, [piece])
        else:
            await send_octets(x, x.entry, piece[0], piece[1] + 1)
        if x.client.gone:
            return


async def send_octets(Exchange x, Entry entry, int64_t at, int64_t end):
    """Send the octets of a stored response from `at` to before `end`, at the client's pace."""
    cdef MemoryTier memory = x.service.cache.memory
    cdef int64_t behind
    memory.pin(entry)
    try:
        while at < end and not x.client.gone:
            behind = min(at + WINDOW, end)
            send(x, None, [entry.octets(at, behind - 1)])
            at = behind
            while not x.client.writable and not x.client.gone:
                await x.changed()
    finally:
        memory.unpin(entry)


# -- from a fetch


cdef begin_response(Exchange x, bytes fate):
    """Send the head, and what of the body has come."""
    cdef ResponseHead head = x.fetch.head
    cdef Fill fill = x.fetch.fill
    cdef int64_t length = head.content_length
    cdef bint unchanged = is_unchanged(x)
    cdef bint bodiless = unchanged or x.fetch.is_head or head.status == 204 or head.status == 304
    cdef bint chunked = False
    cdef int64_t age = -1
    cdef object excluded = ()
    if x.follows:
        head = x.fetch.head_for_all()
        age = x.fetch.storable.age + time(NULL) - x.fetch.received_at
        excluded = x.fetch.storable.excluded
    x.status = 304 if unchanged else head.status
    if bodiless:
        if unchanged or not x.fetch.is_head:
            length = -1
    elif length < 0 and fill.complete:
        length = fill.size
    elif length < 0:
        chunked = x.request.minor == 1
        if not chunked:
            x.keep_alive = False
    x.chunked = chunked
    if unchanged:
        fate += b"; fwd-status=%d" % x.fetch.status
    out = client_head(x.route, x.service, head, x.key, fate, length, chunked, unchanged, age, excluded,
                      session_line(x) + connection_line(x))
    if unchanged:
        x.fetch.stays = x.fetch.stays or fill.keep
        x.ended = True
        send(x, out, [])
    else:
        chunks = fill.take(x)
        send(x, out, framed(x, chunks, fill.is_read(x)))
        if not x.ended:
            send_more(x)


cdef bint is_unchanged(Exchange x) except -1:
    """Whether the client has what comes already: its conditions are kept from the origin, so that it sends all."""
    cdef Fields fields = x.fetch.head.fields
    if not x.fetch.stores or not x.request.fields.seen & CONDITIONS or x.fetch.head.status not in (200, 206):
        return False
    return not_modified(x.request.fields, fields.first(F_ETAG), fields.first(F_LAST_MODIFIED), None,
                        x.fetch.received_at)


cdef send_more(Exchange x):
    """Send what has come, as long as the client takes it."""
    cdef Fill fill = x.fetch.fill
    cdef list chunks
    while x.client.writable and not x.client.gone and not x.ended and (fill.complete or not fill.is_taken(x)):
        chunks = fill.take(x)
        send(x, None, framed(x, chunks, fill.is_read(x)))


cdef list framed(Exchange x, list chunks, bint last):
    """The chunks in the framing that the client's response has (RFC 9112 7.1)."""
    cdef bytes chunk
    cdef list out = []
    x.ended = last
    if not x.chunked:
        return chunks
    for chunk in chunks:
        out.append(b"%x\r\n" % PyBytes_GET_SIZE(chunk))
        out.append(chunk)
        out.append(b"\r\n")
    if last:
        out.append(b"0\r\n\r\n")
    return out


cdef relay_interims(Exchange x):
    """Pass on 1xx responses (RFC 9110 15.2) to whose request they answer, but not to HTTP/1.0 clients."""
    cdef ResponseHead interim
    while x.fetch.interims and not x.follows:
        interim = x.fetch.interims.pop(0)
        if x.request.minor == 0 or x.client.gone or (interim.status == 100 and not awaits_continue(x)):
            continue
        x.continued = x.continued or interim.status == 100
        x.client.send(interim_head(interim), [])


cdef bint awaits_continue(Exchange x) except -1:
    return x.request.expects_continue and not x.continued and x.body.size == 0


cdef bytes interim_head(ResponseHead interim):
    lines = [b"HTTP/1.1 %d %b" % (interim.status, interim.reason)]
    lines += [b"%b: %b" % (name, value) for name, value in interim.fields.items()
              if name.lower() not in (b"connection", b"content-length", b"transfer-encoding", b"keep-alive")]
    return b"\r\n".join(lines) + b"\r\n\r\n"


# -- what Cache-Status says


cdef bytes fate_of(Exchange x):
    """Why the request went to the origin."""
    cdef bytes fate
    if x.variant is None:
        return FATE_METHOD
    if x.body is not None and x.content is None:
        return FATE_BYPASS
    if x.partial is not None:
        fate = FATE_PARTIAL
    elif x.varies and x.verdict is Reuse.MISS:
        fate = FATE_VARY
    else:
        fate = FATES.get(x.verdict, FATE_BYPASS)
    return fate + b"; collapsed" if x.follows else fate


cdef bytes outcome(Fetch fetch):
    """What became of the response in the store."""
    cdef bytes told = b"; fwd-status=206" if fetch.completing else b""
    if not isinstance(fetch.storable, Storable):
        return told if fetch.storable is None else told + b"; detail=" + fetch.storable.token
    if fetch.stored or fetch.fill.keep:
        return b"%b; ttl=%d; stored" % (told, fetch.storable.lifetime - fetch.storable.age)
    return told


# -- our own


cdef refuse(Exchange x, object problem, bytes fate):
    """Answer with a problem of ours; when a response has begun already, cut it."""
    if x.begun:
        x.broken = True
        return
    if x.client.gone:
        return
    x.service.refused += 1
    if not fate and problem.status >= 400:
        x.keep_alive = False
    text = problem.detail.encode()
    if x.variant is not None and x.key is None:
        x.key = key_digest(x.url, x.variant)
    key = b'; key="%b"' % x.key if x.key is not None else b""
    more = b'%b%b%b; detail="%b"\r\n' % (x.service.cache_status, fate, key, text)
    if x.key is not None:
        more = b"X-Cache: MISS\r\nX-Cache-Key: %b\r\n%b" % (x.key, more)
    if problem.retry_after:
        more = b"Retry-After: %d\r\n%b" % (problem.retry_after, more)
    if problem.status in (200, 405):
        more = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" + more
    respond_own(x, problem.status, problem.reason.encode(),
                b"%d %b: %b\n" % (problem.status, problem.reason.encode(), text), more)


cdef respond_own(Exchange x, int status, bytes reason, bytes body, bytes more, bytes content_type=b"text/plain"):
    """Answer with a short text of ours; `more` holds whole field lines."""
    x.status = status
    send(x, own_response(x.service, status, reason, body, more + connection_line(x), x.request.method == b"HEAD",
                         False, content_type), [])


cdef bytes connection_line(Exchange x):
    """RFC 9112 9.3. A request that has not come whole leaves nothing that the next one could start behind."""
    if x.service.draining or (x.body is not None and not x.body.complete):
        x.keep_alive = False
    if not x.keep_alive:
        return CONNECTION_CLOSE
    return CONNECTION_KEEP if x.request.minor == 0 else b""


cdef send(Exchange x, bytes head, list chunks):
    cdef bytes chunk
    if head is not None:
        x.begun = True
    for chunk in chunks:
        x.sent += PyBytes_GET_SIZE(chunk)
    x.client.send(head, chunks)
