"""Which server a request belongs to, where that depends on the request."""

from libc.stdint cimport uint64_t

from caching_proxy.proxy_server.exchange cimport Exchange

cdef uint64_t balance_key(Exchange x) except? 0
cdef take_session(Exchange x)
cdef bytes session_line(Exchange x)
