"""The server with the fewest requests in flight."""

from libc.stdint cimport uint32_t, uint64_t

from caching_proxy.load_balancer.balance_strategy cimport BalanceStrategy
from caching_proxy.load_balancer.server cimport Server

cdef struct Node:
    double load               # requests in flight by share
    uint64_t chosen           # when it was last; 0: never
    uint32_t slot

cdef class LeastConnections(BalanceStrategy):
    cdef Node* heap                   # the one to choose comes first
    cdef uint32_t* places             # in the heap, by slot
    cdef uint64_t choices

    cdef uint64_t last_chosen(self, Server server) noexcept
    cdef void update(self, Server server, uint64_t chosen) noexcept
    cdef void rise(self, Node node, uint32_t place) noexcept
    cdef void sink(self, Node node, uint32_t place) noexcept
    cdef void put(self, Node node, uint32_t place) noexcept
