"""Heads as they go out: to the origin, to the client, into the store."""

from libc.stdint cimport int64_t, uint64_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.fields cimport Fields
from caching_proxy.http.head cimport RequestHead, ResponseHead
from caching_proxy.proxy_server.route cimport Route
from caching_proxy.proxy_server.service cimport Service

cdef enum:
    KEY_SIZE = 70             # "cache:" and 64 digits

cdef uint64_t WORDS_OF_GATEWAYS       # fields by which gateways tell an origin of a client

cdef bint is_sent_on(Route route, bytes name) except -1
cdef bytes origin_head(Route route, Service service, RequestHead request, bytes target, bytes host, Variant variant,
                       bytes forwarding, uint64_t without, bytes more)
cdef bytes client_head(Route route, Service service, ResponseHead response, bytes key, bytes fate, int64_t length,
                       bint chunked, bint unchanged, int64_t told_age, object excluded, bytes connection)
cdef Entry stored_entry(Route route, Service service, bytes url, Variant variant, tuple selecting, bytes key,
                        ResponseHead response, bytes body, tuple parts, int64_t length, object storable,
                        int64_t received_at, tuple tags)
cdef ResponseHead stored_head(Entry entry)
cdef ResponseHead rebuilt_head(Entry entry, list lines, int64_t length)
cdef list origin_lines(Entry entry)
cdef bytes hit_head(Route route, Service service, Entry entry, int64_t now, bint not_modified, bytes fate, bytes detail,
                    bytes connection)
cdef bytes partial_head(Route route, Service service, Entry entry, int64_t now, list lines, int64_t length,
                        bytes fate, bytes detail, bytes connection)
cdef const char* key_of(Entry entry) noexcept
cdef list metadata(Entry entry)
cdef int put_hit(Route route, Service service, Entry entry, int64_t now, bint not_modified) except -1
cdef bytes own_response(Service service, int status, bytes reason, bytes text, bytes more, bint is_head, bint close,
                        bytes content_type=*)
cdef Fields without_names(Fields fields, names)
