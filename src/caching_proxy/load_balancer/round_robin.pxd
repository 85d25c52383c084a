"""Taking turns."""

from libc.stdint cimport int64_t, uint32_t

from caching_proxy.load_balancer.balance_strategy cimport BalanceStrategy
from caching_proxy.load_balancer.server cimport Server

cdef struct Turn:
    int64_t weight            # the share, without the divisor that all have in common
    int64_t current           # how much its turn is due
    int64_t first             # the same at the beginning of the sequence

cdef class RoundRobin(BalanceStrategy):
    cdef Turn* turns                  # by slot
    cdef int64_t total                # of all weights: after so many choices the sequence comes round
    cdef int64_t at                   # the choice in the sequence that is next
    cdef uint32_t* sequence           # slots; NULL where there are too many to remember
    cdef bint replays                 # the sequence is whole

    cdef double due(self, Server server) noexcept
    cdef set_weights(self)
    cdef uint32_t generate(self) noexcept
    cdef void come_round(self) noexcept
    cdef void catch_up(self) noexcept

cdef class StickyCookie(RoundRobin):
    cdef dict enrolled                # id -> Server
