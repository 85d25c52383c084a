"""The way of a request, top to bottom."""

from libc.stdint cimport uint64_t

from caching_proxy.proxy_server.exchange cimport Exchange

cdef uint64_t NOT_FROM_STORE          # fields with which a request is not answered from the store

cdef object set_out(Exchange exchange)
cdef admit(Exchange x)
cdef find_key(Exchange x)
cdef find_stored(Exchange x)
cdef bytes content_key(Exchange x, bytes content)
cdef bytes sharing_key(Exchange x)
