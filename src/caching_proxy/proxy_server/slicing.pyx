"""Large responses slice by slice (--slice): each is fetched, shared, stored, validated and evicted by itself.

The first slice tells how long the whole is and what it is; a later one of another representation breaks the answer off.
What the origin does not give in slices goes the ordinary way.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport slice_url
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.fields cimport (
    F_AUTHORIZATION, F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH, F_IF_RANGE, F_RANGE, bit,
)
from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.fetching cimport begin_fetch, is_released, join, may_be_stale, new_fetch, set_off
from caching_proxy.proxy_server.heads cimport hit_head, metadata, partial_head
from caching_proxy.proxy_server.lookup cimport judged
from caching_proxy.proxy_server.responding cimport connection_line, respond_unsatisfiable, send

from caching_proxy.proxy_server.responding import send_octets

from caching_proxy.cache_manager.rfc9111.reuse import Reuse
from caching_proxy.http.conditional import not_modified
from caching_proxy.http.ranges import if_range_holds, single_range

cdef object MISS = Reuse.MISS
cdef object FRESH = Reuse.FRESH
cdef tuple WHOLE = (0, None)
cdef uint64_t CONDITIONS = bit(F_IF_NONE_MATCH) | bit(F_IF_MODIFIED_SINCE)


cdef bint is_sliceable(Exchange x) except -1:
    """Whether the request may be answered in slices: of the whole, or of one range whose start it tells."""
    if not x.route.slice_size or x.verdict is not MISS or x.partial is not None or x.content is not None:
        return False
    return x.request.method == b"GET" and asked_for(x) is not None


cdef tuple asked_for(Exchange x):
    """First and last octet (None: to the end) that are asked for; None for what is not answered in slices."""
    if not x.request.fields.has(F_RANGE):
        return WHOLE
    asked = single_range(x.request.fields.joined(F_RANGE))
    return None if asked is None or asked[0] is None else asked


cdef class Slices:
    """What is asked for of the representation, what it is, and how much of it is sent."""

    def __cinit__(self, Exchange x, int64_t at, last):
        self.size = x.route.slice_size
        self.at = at
        self.end = -1 if last is None else last + 1
        self.ranged = x.request.fields.has(F_RANGE)

    cdef bint agrees(self, Entry entry) except -1:
        """Whether a slice is of the same representation as those before it."""
        return (entry.length == self.first.length and entry.etag == self.first.etag
                and entry.last_modified == self.first.last_modified)


async def answer_slices(Exchange x):
    """Answer in slices; False where what x.fetch brings is answered in the ordinary way."""
    cdef Slices s = Slices(x, *asked_for(x))
    cdef Entry entry
    while s.first is None or s.at < s.end:
        entry = stored_slice(x, s)
        if entry is None:
            await fetch_slice(x, s)
            if x.client.gone:
                return True
            entry = fetched_slice(x, s)
        if entry is None:
            x.entry = None
            x.broken = x.begun
            return x.begun or replaces_fetch(x)
        if s.first is None and s.ranged and not range_holds(x, entry):
            s = Slices(x, 0, None)                      # RFC 9110 13.1.5: then the whole is asked for
            s.ranged = False
            leave(x)
            continue
        if s.first is None and not begin(x, s, entry):
            return True
        if not s.agrees(entry):
            x.broken = True
            return True
        await send_slice(x, s, entry)
        if x.client.gone or x.broken:
            return True
        leave(x)
    x.ended = True
    return True


cdef Entry stored_slice(Exchange x, Slices s):
    """The slice that is needed next, where it is stored fresh."""
    cdef Entry entry
    cdef bytes url = slice_url(x.url, s.at // s.size)
    x.service.cache.drop_outdated(url)
    entry = x.service.cache.memory.select(url, x.variant, x.request.fields)
    x.entry = entry
    s.stored = entry is not None and judged(entry, x.wanted) is FRESH
    if not s.stored:
        return None
    x.service.cache.memory.touch(entry)
    return entry


async def fetch_slice(Exchange x, Slices s):
    """Join or begin the fetch of the slice that is needed next, and wait for its head."""
    x.service.misses += not x.begun
    if not join(x, slice_key(x, s)):
        begin_slice(x, s, slice_key(x, s))
    while True:
        while not x.fetch.opened and x.fetch.error is None:
            await x.changed()
            if x.client.gone:
                return
        if not is_released(x):
            return
        leave(x)
        begin_slice(x, s, None)


cdef bytes slice_key(Exchange x, Slices s):
    """What requests have in common that may share the fetch of the slice."""
    if x.request.fields.has(F_AUTHORIZATION) or not x.route.coalesces:
        return None
    return x.service.cache.sharing_key(slice_url(x.url, s.at // s.size), x.variant, x.request.fields)


cdef begin_slice(Exchange x, Slices s, bytes sharing):
    cdef int64_t number = s.at // s.size
    cdef Fetch fetch = new_fetch(x, slice_url(x.url, number), sharing)
    fetch.slice = (number * s.size, (number + 1) * s.size - 1)
    if x.entry is not None:
        fetch.offered = [x.entry]
    set_off(x, fetch, True)
    fetch.stays = True


cdef Entry fetched_slice(Exchange x, Slices s):
    """The slice that the fetch brings, or that stands in for it; None where it brings something else."""
    if may_be_stale(x):
        s.stored = True
        return x.entry
    if x.fetch.error is not None:
        return None
    s.stored = x.fetch.confirmed is not None
    return x.fetch.confirmed_for(x.follows) if s.stored else x.fetch.as_slice(x.follows)


cdef bint replaces_fetch(Exchange x) except -1:
    """Ask in the ordinary way where the answer to our own Range is not one to the request; always False."""
    if x.fetch.error is None and (x.fetch.head.status == 206 or (
            x.fetch.head.status == 416 and not x.request.fields.has(F_RANGE))):
        leave(x)
        begin_fetch(x, None, True)
    return False


cdef leave(Exchange x):
    if x.fetch is not None:
        x.fetch.reader_left(x)
        x.fetch = None
        x.follows = False


cdef bint range_holds(Exchange x, Entry entry) except -1:
    return not x.request.fields.has(F_IF_RANGE) or if_range_holds(
        x.request.fields.joined(F_IF_RANGE), entry.etag, entry.last_modified, entry.date)


cdef bint begin(Exchange x, Slices s, Entry entry) except -1:
    """Send the head; False where that is the whole answer."""
    cdef int64_t now = time(NULL)
    cdef bytes fate = b"; hit" if s.stored and x.fetch is None else b"; fwd=uri-miss"
    cdef bytes head
    s.first = entry
    s.end = entry.length if s.end < 0 else min(s.end, entry.length)
    x.hit = s.stored
    x.service.hits += x.fetch is None
    if s.at >= entry.length:
        respond_unsatisfiable(x, entry, fate)
        return False
    if x.request.fields.seen & CONDITIONS and not_modified(
            x.request.fields, entry.etag, entry.last_modified, entry.date, now):
        x.status = 304
        send(x, hit_head(x.route, x.service, entry, now, True, fate, b"", connection_line(x)), [])
        return False
    x.status = 206 if s.ranged else 200
    if s.ranged:
        lines = metadata(entry) + [(b"Content-Range", b"bytes %d-%d/%d" % (s.at, s.end - 1, entry.length))]
        head = partial_head(x.route, x.service, entry, now, lines, s.end - s.at, fate, b"", connection_line(x))
    else:
        head = hit_head(x.route, x.service, entry, now, False, fate, b"", connection_line(x))
    send(x, head if s.stored else head.replace(b"X-Cache: HIT\r\n", b"X-Cache: MISS\r\n", 1), [])
    return True


async def send_slice(Exchange x, Slices s, Entry entry):
    """Send what is asked for of one slice, as it comes; a slice that ends before its end breaks the answer off."""
    cdef int64_t end = min(s.end, (s.at // s.size + 1) * s.size)
    s.position = s.at // s.size * s.size
    if s.stored:
        await send_octets(x, entry, s.at, end)
        if x.client.gone:
            return
        s.at = end
    while s.at < end or not x.client.writable:
        if s.at < end and x.client.writable:
            send_part(x, s, end)
            if s.at >= end or not x.fetch.fill.is_taken(x):
                continue
            if x.fetch.fill.complete or x.fetch.fill.error is not None:
                x.broken = True
                return
        await x.changed()
        if x.client.gone:
            return


cdef send_part(Exchange x, Slices s, int64_t end):
    """Send what has come of the slice, as far as it is asked for."""
    cdef bytes chunk
    cdef int64_t first, behind
    for chunk in x.fetch.fill.take(x):
        first = max(s.at - s.position, 0)
        behind = min(end - s.position, PyBytes_GET_SIZE(chunk))
        s.position += PyBytes_GET_SIZE(chunk)
        if first < behind:
            send(x, None, [chunk[first:behind]])
            s.at += behind - first
