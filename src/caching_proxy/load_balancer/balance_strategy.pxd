"""How a server is chosen: one class a strategy."""

from libc.stdint cimport int64_t, uint64_t

from caching_proxy.load_balancer.randomness cimport Random
from caching_proxy.load_balancer.server cimport Server

cdef class BalanceStrategy:
    cdef Random random
    cdef list servers                 # those that are chosen from; each knows its slot here and its share
    cdef int count
    cdef public double clock          # monotonic seconds, as of the balancer's last sweep

    cdef enroll(self, list servers)
    cdef build(self, list servers)
    cdef Server choose(self, uint64_t key)
    cdef began(self, Server server)
    cdef ended(self, Server server)
    cdef int slot_of(self, Server server) noexcept

cdef int64_t share_of(Server server) noexcept
cdef void* zeroed(size_t count, size_t size) except NULL
