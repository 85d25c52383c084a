"""The tier that a fleet shares: stored responses in Redis, and what keeps every memory tier in step with it."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.purge_log cimport Purge, PurgeLog
from caching_proxy.cache_manager.redis_deposit cimport Deposits
from caching_proxy.cache_manager.redis_lease cimport Lease, Leases
from caching_proxy.cache_manager.redis_link cimport Call
from caching_proxy.cache_manager.redis_search cimport Searches
from caching_proxy.cache_manager.redis_state cimport Holder, RedisState
from caching_proxy.fiber cimport Fiber

cdef class Errand(Fiber):
    cdef RedisTier tier
    cdef list askers                  # fibers that wait for it
    cdef bint over

cdef class RedisTier(RedisState):
    cdef Searches searches
    cdef Deposits deposits
    cdef Leases leases
    cdef bytes name                   # of this process, among those that use the cache
    cdef object figures               # called for its counters
    cdef dict told_figures            # ... as Redis has them
    cdef readonly int64_t processes   # how many use the cache; 0: that is not known yet
    cdef int64_t losses               # the link's count when it was last looked at
    cdef set errands                  # those under way
    cdef object beat                  # TimerHandle
    cdef bint recovering              # an errand finds back
    cdef readonly bint was_live       # Redis has been in use
    cdef bint told                    # it was said that Redis is away

    cdef set_out(self)
    cdef begin(self, int64_t connection)
    cdef tell(self, str why)
    cdef report(self)
    cdef enrol(self)
    cdef read_log(self)
    cdef lose(self)
    cdef invalidated(self, bytes key)
    cdef Lease lease(self, Fiber asker, bytes name)
    cdef purge(self, str kind, bytes name, bytes suffix, bint soft)
    cdef postpone(self, tuple purge)
    cdef drop_again(self, tuple purge)
    cdef done(self, Errand errand)
    cdef list under_way(self, Fiber asker)

cdef bint all_done(list errands) except -1
