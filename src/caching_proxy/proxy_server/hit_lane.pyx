"""The hit lane: plain requests that a fresh entry of the memory tier answers on the spot.

Nothing here is a rule of its own: what might change the answer is left to request_path.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.fields cimport (
    F_ACCEPT, F_ACCEPT_ENCODING, F_ACCEPT_LANGUAGE, F_AUTHORIZATION, F_CACHE_CONTROL, F_IF_MATCH,
    F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH, F_IF_RANGE, F_IF_UNMODIFIED_SINCE, F_PRAGMA, F_RANGE,
    F_X_HTTP_METHOD, F_X_HTTP_METHOD_OVERRIDE, F_X_METHOD_OVERRIDE, FieldId, Span, bit,
)
from caching_proxy.http.grammar cimport equals_lower
from caching_proxy.http.head cimport SPANS, Scan
from caching_proxy.proxy_server.exchange cimport Client
from caching_proxy.proxy_server.heads cimport put_hit
from caching_proxy.proxy_server.route cimport Route
from caching_proxy.proxy_server.service cimport Service

cdef enum:
    RAW_VARIANT_MAX = 1024    # octets of Accept, Accept-Encoding and Accept-Language that are taken

# What the hit lane leaves to request_path, since it may change the answer.
cdef uint64_t NOT_A_PLAIN_HIT = (bit(F_CACHE_CONTROL) | bit(F_PRAGMA) | bit(F_AUTHORIZATION) | bit(F_RANGE)
                                 | bit(F_IF_RANGE) | bit(F_IF_MATCH) | bit(F_IF_UNMODIFIED_SINCE)
                                 | bit(F_X_HTTP_METHOD) | bit(F_X_HTTP_METHOD_OVERRIDE) | bit(F_X_METHOD_OVERRIDE))
cdef uint64_t CONDITIONS = bit(F_IF_NONE_MATCH) | bit(F_IF_MODIFIED_SINCE)
cdef uint64_t NEGOTIATION = bit(F_ACCEPT) | bit(F_ACCEPT_ENCODING) | bit(F_ACCEPT_LANGUAGE)
cdef FieldId[3] NEGOTIATED = [F_ACCEPT, F_ACCEPT_ENCODING, F_ACCEPT_LANGUAGE]


cdef Entry answer_hit(Client client, bytes data, Scan* scan):
    """The fresh entry for a plain request, whose answer now stands in Service.hit_wire; None: there is none.

    A large body does not stand there (`has_large_body`).
    """
    cdef Service service = client.service
    cdef const char* text = PyBytes_AS_STRING(data)
    cdef int64_t now = time(NULL)
    cdef bint not_modified = scan.seen & CONDITIONS != 0
    cdef Route route
    cdef Variant variant
    cdef Entry entry
    if scan.seen & NOT_A_PLAIN_HIT or service.draining or client.trusted or client.secure:
        return None
    route = service.router.find_plain(text, scan)
    if route is None or not lane_is_open(route, text, scan):
        return None
    variant = find_variant(route, text, scan) if scan.seen & NEGOTIATION else route.variants.plain
    if variant is None:
        return None
    entry = find_fresh(route, service, variant, text, scan, now)
    if entry is None or (not_modified and not surely_unchanged(entry, text, scan)):
        return None
    service.cache.memory.touch(entry)
    service.requests += 1
    service.hits += 1
    if service.access_log is not None:
        service.access_log.hit(client.peer, data[scan.target:scan.target + scan.target_size], scan.is_head,
                               304 if not_modified else entry.status,
                               0 if not_modified or scan.is_head else PyBytes_GET_SIZE(entry.body))
    put_hit(route, service, entry, now, not_modified)
    if not (not_modified or scan.is_head or has_large_body(entry, scan)):
        service.hit_wire.put_bytes(entry.body)
    return entry


cdef bint has_large_body(Entry entry, Scan* scan) noexcept:
    """Whether the answer has a body that is cheaper written on its own than copied behind the head."""
    return PyBytes_GET_SIZE(entry.body) > JOIN_MAX and not scan.is_head and not scan.seen & CONDITIONS


cdef Entry find_fresh(Route route, Service service, Variant variant, const char* text, Scan* scan, int64_t now):
    """The stored response for a plain request that may be used without asking for more."""
    cdef Py_ssize_t prefix = PyBytes_GET_SIZE(route.prefix)
    cdef Py_ssize_t strip = PyBytes_GET_SIZE(route.strip_prefix)
    cdef bytes url = PyBytes_FromStringAndSize(NULL, prefix + scan.target_size - strip)
    cdef Entry entry
    memcpy(PyBytes_AS_STRING(url), PyBytes_AS_STRING(route.prefix), prefix)
    memcpy(PyBytes_AS_STRING(url) + prefix, text + scan.target + strip, scan.target_size - strip)
    entry = service.cache.memory.find(url, variant)
    if entry is None or now >= entry.fresh_until or entry.no_cache or entry.body is None:
        return None
    if not service.cache.is_current(entry, url):
        return None
    if entry.selecting is not None and not surely_selected(entry, text, scan):
        return None
    return entry


cdef Variant find_variant(Route route, const char* text, Scan* scan):
    """The Variant of the request just scanned, where one like it was seen before."""
    cdef char raw[RAW_VARIANT_MAX + 6]
    cdef Py_ssize_t size = 0
    cdef FieldId field
    cdef Span* span
    for field in NEGOTIATED:
        if scan.seen & bit(field):
            span = &SPANS[scan.where[<int>field]]
            if size + <Py_ssize_t>span.value_size > RAW_VARIANT_MAX:
                return None
            raw[size] = c"="
            memcpy(raw + size + 1, text + span.value, span.value_size)
            size += span.value_size + 1
        raw[size] = c"\n"
        size += 1
    return route.variants.find(PyBytes_FromStringAndSize(raw, size))


cdef bint lane_is_open(Route route, const char* text, Scan* scan) noexcept:
    """Whether the hit lane finds the key of a plain request as the route has it."""
    cdef Py_ssize_t strip = PyBytes_GET_SIZE(route.strip_prefix)
    if not route.has_lane or scan.seen & route.lane_without:
        return False
    if not route.lane_queries and memchr(text + scan.target, c"?", scan.target_size) != NULL:
        return False
    if strip == 0:
        return True
    return (scan.target_size > strip and text[scan.target + strip] == c"/"
            and memcmp(text + scan.target, PyBytes_AS_STRING(route.strip_prefix), strip) == 0)


cdef bint surely_selected(Entry entry, const char* text, Scan* scan) except -1:
    """Whether the request has the very values that Vary adds to the key; anything less plain is request_path's."""
    cdef bytes name, value
    cdef Span* span
    cdef int at, lines
    for name, value in entry.selecting:
        lines = 0
        for at in range(scan.count):
            span = &SPANS[at]
            if span.name_size == PyBytes_GET_SIZE(name) and equals_lower(text + span.name, name, span.name_size):
                lines += 1
                if value is None or value != text[span.value:span.value + span.value_size]:
                    return False
        if lines != (0 if value is None else 1):
            return False
    return True


cdef bint surely_unchanged(Entry entry, const char* text, Scan* scan) except -1:
    """Whether the request's condition names exactly what is stored; anything less plain is request_path's to judge."""
    cdef FieldId field = F_IF_NONE_MATCH if scan.seen & bit(F_IF_NONE_MATCH) else F_IF_MODIFIED_SINCE
    cdef bytes stored = entry.etag if field == F_IF_NONE_MATCH else entry.last_modified
    cdef Span* span = &SPANS[scan.where[<int>field]]
    return stored is not None and entry.status == 200 and stored == text[span.value:span.value + span.value_size]
