"""Responses on their way into Redis."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.purge_log cimport Stamp
from caching_proxy.cache_manager.redis_lease cimport Lease
from caching_proxy.cache_manager.redis_link cimport Call
from caching_proxy.cache_manager.redis_search cimport Searches
from caching_proxy.cache_manager.redis_state cimport RedisState
from caching_proxy.fiber cimport Fiber

cdef class Deposits

cdef class Deposit(Fiber):
    cdef Deposits deposits
    cdef Entry entry
    cdef Stamp stamp
    cdef Lease lease

cdef class Deposits:
    cdef RedisState state
    cdef Searches searches
    cdef double room                  # seconds that a stale response stays
    cdef bint compresses
    # counters
    cdef int64_t stored
    cdef int64_t skipped              # responses that were not stored: too much waits to be written

    cdef put(self, Entry entry, Stamp stamp, Lease lease)
    cdef bytes name_of(self, Entry entry)
    cdef bint is_to_compress(self, Entry entry) except -1
    cdef Call write(self, Entry entry, Stamp stamp, bytes packed)
    cdef Call set(self, bytes name, bytes octets, int64_t life, callback)
    cdef int64_t life_of(self, Entry entry) except -1
