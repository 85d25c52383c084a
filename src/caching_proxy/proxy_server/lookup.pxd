"""What a request's key is, what is stored for it, and what to do with that."""

from libc.stdint cimport uint64_t

from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.proxy_server.exchange cimport Exchange

cdef uint64_t NOT_FROM_STORE          # fields with which a request is not answered from the store

cdef begin_content(Exchange x)
cdef bint content_is_due(Exchange x) except -1
cdef end_content(Exchange x)
cdef bytes content_key(Exchange x, bytes content)
cdef find_key(Exchange x)
cdef find_stored(Exchange x)
cdef bint ask_redis(Exchange x) except -1
cdef bint ask_again(Exchange x) except -1
cdef object judged(Entry entry, object wanted)
