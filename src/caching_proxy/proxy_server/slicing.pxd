"""Large responses slice by slice."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.proxy_server.exchange cimport Exchange

cdef class Slices:
    cdef int64_t size                 # of a slice
    cdef int64_t at                   # the octet that is sent next
    cdef int64_t end                  # behind the last one; -1: behind all, as long as their number is not known
    cdef int64_t position             # of what the fetch brings next
    cdef bint ranged                  # a range is asked for
    cdef bint stored                  # the present slice comes from the store
    cdef Entry first                  # the first slice

    cdef bint agrees(self, Entry entry) except -1

cdef bint is_sliceable(Exchange x) except -1
