"""One request to the origin, and what becomes of its answer."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.fill cimport Fill
from caching_proxy.http.head cimport RequestHead
from caching_proxy.proxy_server.service cimport Service
from caching_proxy.proxy_server.upstream cimport Receiver, UpstreamConnection

cdef class Fetch(Receiver):
    cdef Service service
    cdef RequestHead request
    cdef Fill body                    # the request's body, or None
    cdef bytes wire                   # the request's head as sent
    cdef UpstreamConnection connection
    cdef bint orphan                  # nobody waits for it
    cdef readonly bint opened         # the response's head is there and judged
    cdef readonly bint stored
    # storing
    cdef Variant variant              # None: not to be stored
    cdef bytes key
    cdef object storable              # rfc9111.Storable, or why not
    cdef int64_t requested_at
    cdef int64_t received_at

    cdef dial(self)
    cdef progress(self)
    cdef bint resendable(self) except -1
    cdef bint was_stale(self, object failure) except -1
    cdef send_body(self)
    cdef judge(self)
    cdef keep_or_not(self)
    cdef store(self)
    cdef settle(self)
    cdef reader_left(self)
