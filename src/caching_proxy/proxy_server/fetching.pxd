"""From a request that the store does not answer to the fetch that does."""

from libc.stdint cimport int64_t

from caching_proxy.proxy_server.exchange cimport Exchange
from caching_proxy.proxy_server.fetch cimport Fetch

cdef find_fetch(Exchange x)
cdef bint join(Exchange x, bytes sharing) except -1
cdef bytes sharing_key(Exchange x)
cdef bint is_released(Exchange x) except -1
cdef go_alone(Exchange x)
cdef revalidate_behind(Exchange x)
cdef Fetch new_fetch(Exchange x, bytes url, bytes sharing)
cdef begin_fetch(Exchange x, bytes sharing, bint reads)
cdef set_off(Exchange x, Fetch fetch, bint reads)
cdef bint stands_in(Exchange x) except -1
cdef bint may_be_stale(Exchange x) except -1
