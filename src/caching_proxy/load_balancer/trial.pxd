"""A strategy at work without a proxy."""

from libc.stdint cimport uint64_t

from caching_proxy.load_balancer.balance_strategy cimport BalanceStrategy
from caching_proxy.load_balancer.server cimport Server

cdef class Trial:
    cdef readonly BalanceStrategy strategy

    cpdef Server pick(self, uint64_t key=?)
    cpdef release(self, Server server)
