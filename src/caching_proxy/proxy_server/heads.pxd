"""Heads as they go out: to the origin, to the client, into the store."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.head cimport RequestHead, ResponseHead
from caching_proxy.proxy_server.service cimport Service

cdef bytes origin_head(Service service, RequestHead request, bytes target, bytes host, Variant variant,
                       bytes forwarding)
cdef bytes client_head(Service service, ResponseHead response, bytes key, bytes fate, int64_t length,
                       bint chunked, bytes connection)
cdef Entry stored_entry(Service service, bytes url, Variant variant, bytes key, ResponseHead response, bytes body,
                        object storable, int64_t received_at)
cdef bytes hit_head(Service service, Entry entry, int64_t now, bint not_modified, bytes fate, bytes connection)
cdef list hit_message(Service service, Entry entry, int64_t now, bint not_modified, bint is_head)
cdef bytes own_response(Service service, int status, bytes reason, bytes text, bytes more, bint is_head, bint close)
