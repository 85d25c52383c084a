"""The same server for the same key."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from caching_proxy.load_balancer.balance_strategy cimport BalanceStrategy
from caching_proxy.load_balancer.server cimport Server

cdef struct Point:
    uint64_t place            # on the ring
    uint32_t owner            # among those enrolled

cdef class ConsistentHash(BalanceStrategy):
    cdef list enrolled
    cdef Point* ring                  # in order
    cdef uint32_t points
    cdef double factor                # how much more than its part a server may take
    cdef int64_t in_flight            # requests of all that are chosen from ...
    cdef int64_t shares               # ... and their shares

    cdef list point_counts(self)
    cdef uint32_t first_after(self, uint64_t place) noexcept
