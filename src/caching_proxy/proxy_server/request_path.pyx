"""The way of a request, top to bottom: read `answer` first.

admit -> find_key -> lookup and judge -> fetch (which stores what it brings) -> respond. The hit lane in http1.pyx is
the same way, short-cut.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport key_digest
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.fill cimport Fill
from caching_proxy.http.fields cimport (
    F_ACCEPT, F_ACCEPT_ENCODING, F_ACCEPT_LANGUAGE, F_CACHE_CONTROL, F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH,
    F_PRAGMA, F_RANGE, F_X_HTTP_METHOD, F_X_HTTP_METHOD_OVERRIDE, F_X_METHOD_OVERRIDE, Fields, bit,
)
from caching_proxy.http.head cimport RequestHead, ResponseHead
from caching_proxy.proxy_server.exchange cimport Client, Exchange
from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.heads cimport client_head, hit_head, origin_head, own_response
from caching_proxy.proxy_server.service cimport Service

from caching_proxy.cache_manager.rfc9111.directives import NO_DIRECTIVES, request_directives
from caching_proxy.cache_manager.rfc9111.invalidation import SAFE_METHODS, invalidated_targets
from caching_proxy.cache_manager.rfc9111.reuse import Reuse, judge_miss, judge_reuse
from caching_proxy.http import problems
from caching_proxy.http.conditional import not_modified
from caching_proxy.http.forwarding import forwarding_lines, told_scheme
from caching_proxy.http.problems import OriginFailed, RequestRefused
from caching_proxy.http.target import normalise_target, split_absolute

cdef object MISS = Reuse.MISS
cdef object STALE = Reuse.STALE
cdef object PASS = Reuse.PASS
cdef object UNSATISFIABLE = Reuse.UNSATISFIABLE
cdef tuple FROM_STORE = (Reuse.FRESH, Reuse.STALE_ALLOWED)
# With one of these an origin may take a GET for another method.
cdef uint64_t METHOD_OVERRIDE = bit(F_X_HTTP_METHOD) | bit(F_X_HTTP_METHOD_OVERRIDE) | bit(F_X_METHOD_OVERRIDE)
cdef frozenset ERRORS = frozenset((500, 502, 503, 504))     # RFC 5861 4
# What Cache-Status (RFC 9211) says of each verdict that leads to the origin.
cdef dict FATES = {
    Reuse.MISS: b"; fwd=uri-miss",
    Reuse.STALE: b"; fwd=stale",
    Reuse.REFUSED: b"; fwd=request",
    Reuse.PASS: b"; fwd=request",
}
cdef bytes FATE_METHOD = b"; fwd=method"
cdef bytes FATE_BYPASS = b"; fwd=bypass"
cdef bytes CONNECTION_CLOSE = b"Connection: close\r\n"
cdef bytes CONNECTION_KEEP = b"Connection: keep-alive\r\n"


cdef object set_out(Exchange exchange):
    """Let a request go its way."""
    exchange.start(answer(exchange))


async def answer(Exchange x):
    """The way of a request."""
    cdef Entry entry = None
    cdef Fetch fetch
    cdef object verdict
    try:
        admit(x)
        find_key(x)
        if x.variant is not None and x.body is None:
            entry = x.service.memory.find(x.url, x.variant)
        verdict = judge(x, entry)
        if verdict in FROM_STORE:
            respond_stored(x, entry, b"; hit")
            return
        if verdict is UNSATISFIABLE:
            raise RequestRefused(problems.ONLY_IF_CACHED)

        fetch = begin_fetch(x, verdict)
        while not fetch.opened and fetch.error is None:
            relay_interims(x)
            await x.changed()
            if x.client.gone:
                return
        if may_be_stale(x, entry, verdict):
            respond_stored(x, entry, stale_fate(fetch))
            return
        if fetch.error is not None:
            raise fetch.error
        relay_interims(x)
        invalidate(x)
        begin_response(x, fate_of(x, verdict))
        while not x.ended:
            await x.changed()
            if x.client.gone:
                return
            if fetch.fill.error is not None:
                x.broken = True
                return
            if x.client.writable:
                send_more(x)
    except RequestRefused as refused:
        refuse(x, refused.problem, b"")
    except OriginFailed as failed:
        x.service.origin_failures += 1
        refuse(x, failed.problem, fate_of(x, verdict))
    except Exception:
        refuse(x, problems.INTERNAL, b"")
        raise
    finally:
        x.finish()


# -- admit


cdef admit(Exchange x):
    """Refuse what is not served; settle what the target is. RFC 9112 3.2."""
    cdef RequestHead request = x.request
    cdef Service service = x.service
    x.target = request.target
    if request.method == b"TRACE":
        raise RequestRefused(problems.TRACE_REFUSED)
    if request.method == b"CONNECT":
        raise RequestRefused(problems.CONNECT_REFUSED)
    if request.method == b"OPTIONS":
        count_forward(request)
    if PyBytes_GET_SIZE(request.target) > service.max_target:
        raise RequestRefused(problems.TARGET_TOO_LONG)
    if request.fields.count > service.max_fields:
        raise RequestRefused(problems.TOO_MANY_FIELDS)
    if 0 <= service.max_body < request.content_length:
        raise RequestRefused(problems.BODY_TOO_LARGE)
    if not x.target.startswith(b"/") and x.target != b"*":
        resolve_absolute(x)
    if service.normalize:
        x.target = normalise_target(x.target)
    if service.base_path and x.target != b"*":
        x.target = service.base_path + x.target


cdef count_forward(RequestHead request):
    """Max-Forwards of OPTIONS, RFC 9110 7.6.2: the one it ends at answers."""
    cdef bytes hops = request.fields.combined(b"max-forwards")
    if hops is None or not hops.isdigit():
        return
    if int(hops[:9]) == 0:
        raise RequestRefused(problems.LAST_HOP)
    request.fields = Fields.of([
        (name, b"%d" % (int(hops[:9]) - 1) if name.lower() == b"max-forwards" else value)
        for name, value in request.fields.items()])


cdef resolve_absolute(Exchange x):
    """Serve a target in absolute form where its authority is ours (RFC 9112 3.2.2); it goes before Host."""
    scheme, authority, origin_form = split_absolute(x.target)
    if scheme != (b"https" if x.client.secure else b"http"):
        raise RequestRefused(problems.MISDIRECTED)
    if authority.lower() not in x.service.authorities and authority.lower() not in local_authorities(x.client):
        raise RequestRefused(problems.MISDIRECTED)
    x.host = authority
    x.target = b"*" if x.request.method == b"OPTIONS" and x.target.endswith(b"//" + authority) else origin_form


cdef local_authorities(Client client):
    """The names of the address that the client connected to."""
    address = client.transport.get_extra_info("sockname")
    if not isinstance(address, tuple):
        return ()
    names = [b"localhost", address[0].encode() if ":" not in address[0] else b"[%b]" % address[0].encode()]
    return [b"%b:%d" % (name, address[1]) for name in names] + (names if address[1] == 80 else [])


# -- key, lookup, judge


cdef find_key(Exchange x):
    cdef Fields fields = x.request.fields
    x.scheme = b"https" if x.client.secure else b"http"
    if x.client.trusted:
        x.scheme = told_scheme(fields) or x.scheme
    if x.service.host_keyed and x.host is not None:
        x.host = x.host.lower()
    x.url = x.service.url(x.target, x.host, x.scheme)
    if x.request.method == b"GET" or x.request.method == b"HEAD":
        x.variant = x.service.variants.of(
            fields.joined(F_ACCEPT), fields.joined(F_ACCEPT_ENCODING), fields.joined(F_ACCEPT_LANGUAGE))


cdef judge(Exchange x, Entry entry):
    """What to do with the request, by RFC 9111 4 and 5.2.1."""
    cdef Fields fields = x.request.fields
    cdef object wanted = NO_DIRECTIVES
    if x.variant is None or x.body is not None or fields.seen & METHOD_OVERRIDE:
        return PASS
    if fields.has(F_CACHE_CONTROL) or fields.has(F_PRAGMA):
        wanted = request_directives(fields)
    if entry is None:
        return MISS if wanted is NO_DIRECTIVES else judge_miss(wanted)
    if fields.has(F_RANGE):
        return PASS
    return judge_reuse(wanted, entry.fresh_until - entry.born, time(NULL) - entry.born, entry.must_revalidate)


# -- fetch


cdef Fetch begin_fetch(Exchange x, object verdict):
    cdef Fetch fetch = Fetch(
        x.service, x.request, origin_head(x.service, x.request, x.target, x.host, x.variant, forwarding(x)), x.body)
    if x.variant is not None:
        x.key = key_digest(x.url, x.variant)
        x.service.misses += 1
        if verdict is not PASS and x.service.memory.limit:
            fetch.url = x.url
            fetch.variant = x.variant
            fetch.key = x.key
    x.service.origin_requests += 1
    x.fetch = fetch
    fetch.fill.reader = x
    fetch.start(fetch.run())
    return fetch


cdef bytes forwarding(Exchange x):
    """The lines that tell the origin who asks."""
    cdef Client client = x.client
    cdef bytes lines
    if client.forwarding is not None:
        return client.forwarding
    host = x.host if x.service.forwarded_host else None
    lines = forwarding_lines(client.peer, "https" if client.secure else "http", client.trusted, x.request.fields, host)
    if not client.trusted and host is None:
        client.forwarding = lines
    return lines


cdef relay_interims(Exchange x):
    """Pass on 1xx responses (RFC 9110 15.2), but not to HTTP/1.0 clients."""
    cdef ResponseHead interim
    while x.fetch.interims:
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


cdef invalidate(Exchange x):
    """RFC 9111 4.4: what an unsafe method touched is no longer stored."""
    cdef Service service = x.service
    if x.request.method in SAFE_METHODS:
        return
    for target in invalidated_targets(x.request.method, x.fetch.head.status, x.target, x.fetch.head.fields,
                                      own_origins(x)):
        service.invalidate(service.url(target, x.host, x.scheme))


cdef own_origins(Exchange x):
    """The names under which the target's origin is known: the origin's own, and the client's for it."""
    scheme, _, rest = x.service.origin_url.partition(b"://")
    names = {(scheme, rest.partition(b"/")[0])}
    if x.host is not None:
        names.add((b"https" if x.client.secure else b"http", x.host))
    return names


cdef bint may_be_stale(Exchange x, Entry entry, object verdict) except -1:
    """Whether the origin failed and a stale response answers instead (RFC 5861 4, RFC 9111 4.2.4)."""
    cdef Fetch fetch = x.fetch
    if verdict is not STALE or entry.must_revalidate:
        return False
    if time(NULL) - entry.fresh_until > x.service.stale_if_error:
        return False
    if fetch.error is not None:
        return isinstance(fetch.error, OriginFailed)
    return fetch.head.status in ERRORS


cdef bytes stale_fate(Fetch fetch):
    if fetch.error is None:
        return b"; fwd=stale; fwd-status=%d" % fetch.head.status
    return b'; fwd=stale; detail="%b"' % fetch.error.problem.detail.encode()


# -- respond


cdef respond_stored(Exchange x, Entry entry, bytes fate):
    """Answer from the store, with 304 where the client has it already (RFC 9110 13.2.2)."""
    cdef Fields fields = x.request.fields
    cdef int64_t now = time(NULL)
    cdef bint unchanged = False
    cdef bytes head
    x.service.hits += 1
    x.hit = True
    x.service.memory.touch(entry)
    if (fields.has(F_IF_NONE_MATCH) or fields.has(F_IF_MODIFIED_SINCE)) and entry.status == 200:
        unchanged = not_modified(fields, entry.etag, entry.last_modified, entry.date, now)
    head = hit_head(x.service, entry, now, unchanged, fate, connection_line(x))
    x.status = 304 if unchanged else entry.status
    if unchanged or x.request.method == b"HEAD":
        send(x, head, [])
    else:
        send(x, head, [entry.body])


cdef bytes fate_of(Exchange x, object verdict):
    """What Cache-Status says of a request that went to the origin."""
    if x.variant is None:
        return FATE_METHOD
    if x.body is not None or x.request.fields.has(F_RANGE):
        return FATE_BYPASS
    return FATES.get(verdict, FATE_BYPASS)


cdef bytes connection_line(Exchange x):
    """RFC 9112 9.3. A request that has not come whole leaves nothing that the next one could start behind."""
    if x.service.draining or (x.body is not None and not x.body.complete):
        x.keep_alive = False
    if not x.keep_alive:
        return CONNECTION_CLOSE
    return CONNECTION_KEEP if x.request.minor == 0 else b""


cdef begin_response(Exchange x, bytes fate):
    """Send the head, and what of the body has come."""
    cdef ResponseHead head = x.fetch.head
    cdef Fill fill = x.fetch.fill
    cdef int64_t length = head.content_length
    cdef bint bodiless = x.fetch.is_head or head.status == 204 or head.status == 304
    cdef bint chunked = False
    x.status = head.status
    if bodiless:
        if not x.fetch.is_head:
            length = -1
    elif length < 0 and fill.complete:
        length = fill.size
    elif length < 0:
        chunked = x.request.minor == 1
        if not chunked:
            x.keep_alive = False
    if x.fetch.fill.keep or x.fetch.stored:
        fate += b"; stored"
    x.chunked = chunked
    out = client_head(x.service, head, x.key, fate, length, chunked, connection_line(x))
    send(x, out, framed(x, fill.take(), fill.complete))


cdef send_more(Exchange x):
    cdef list chunks = x.fetch.fill.take()
    if chunks or x.fetch.fill.complete:
        send(x, None, framed(x, chunks, x.fetch.fill.complete))


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


cdef send(Exchange x, bytes head, list chunks):
    cdef bytes chunk
    if head is not None:
        x.begun = True
    for chunk in chunks:
        x.sent += PyBytes_GET_SIZE(chunk)
    x.client.send(head, chunks)


cdef refuse(Exchange x, object problem, bytes fate):
    """Answer with a problem of ours; when a response has begun already, cut it."""
    if x.begun:
        x.broken = True
        return
    if x.client.gone:
        return
    x.status = problem.status
    x.service.refused += 1
    if not fate and problem.status >= 400:
        x.keep_alive = False
    connection = connection_line(x)
    text = problem.detail.encode()
    more = b'%b%b; detail="%b"\r\n%b' % (x.service.cache_status, fate, text, connection)
    if x.variant is not None and x.key is None:
        x.key = key_digest(x.url, x.variant)
    if x.key is not None:
        more = b"X-Cache: MISS\r\nX-Cache-Key: %b\r\n%b" % (x.key, more)
    if problem.status in (200, 405):
        more = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" + more
    body = b"%d %b: %b\n" % (problem.status, problem.reason.encode(), text)
    send(x, own_response(x.service, problem.status, problem.reason.encode(), body, more,
                         x.request.method == b"HEAD", False), [])
