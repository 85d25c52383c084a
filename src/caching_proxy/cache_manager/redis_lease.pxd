"""Who fetches for the whole fleet: a lease in Redis for each response that somebody asks an origin for."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.redis_link cimport Call
from caching_proxy.cache_manager.redis_state cimport RedisState
from caching_proxy.fiber cimport Fiber

cdef class Leases

cdef class Lease(Fiber):
    cdef Leases leases
    cdef RedisState state
    cdef Fiber asker                  # woken when the wait is over
    cdef bytes name                   # of the response, and what selects it
    cdef bytes key
    cdef bytes token                  # that no other has
    cdef bint over                    # the wait is
    cdef bint held                    # the lease is ours
    cdef bint unheard                 # ... or may be: Redis has not answered
    cdef bint waited                  # somebody else had it first
    cdef bint returned                # ... and has given it back
    cdef bint unshared                # ... and what was fetched is for one alone
    cdef bint rung                    # it is to be asked again
    cdef bint stirred                 # the response came meanwhile, or went
    cdef bint lapsed                  # it was not ours for a while
    cdef int storing                  # how much of what was fetched is on its way into Redis
    cdef bint unwanted                # nobody fetches any more

    cdef bint is_to_look_again(self) except -1
    cdef give_back(self, bint unshared)
    cdef Call keep(self, Fiber asker)
    cdef bint is_lost(self, Call kept) except -1
    cdef end_storing(self)

cdef class Leases:
    cdef RedisState state
    cdef bytes process                # the name of this one
    cdef dict of_name                 # name of the response -> set of Leases, waited for or held
    cdef set pausing                  # those that wait for the end of another's
    cdef set held
    cdef object doubtful                # those that are not ours any more, or never were, where Redis may think so
    cdef object watch                 # TimerHandle: the next look at Redis; None: nobody waits
    cdef int64_t count
    # counters
    cdef int64_t waits                # for another process's fetch

    cdef Lease take(self, Fiber asker, bytes name)
    cdef begun(self, Lease lease)
    cdef ended(self, Lease lease)
    cdef forget(self, Lease lease)
    cdef keep(self)
    cdef give_all_back(self)
    cdef doubt_all(self)
    cdef hear(self, bytes rest)
    cdef stir(self, bytes name)
    cdef watch_over(self, Lease lease)
    cdef link_changed(self)
