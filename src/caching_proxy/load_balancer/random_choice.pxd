"""Choosing at random."""

from libc.stdint cimport uint32_t

from caching_proxy.load_balancer.balance_strategy cimport BalanceStrategy
from caching_proxy.load_balancer.server cimport Server

cdef struct Column:
    double own                # the part that is the slot's own ...
    uint32_t other            # ... and whose the rest is

cdef class RandomChoice(BalanceStrategy):
    cdef Column* columns              # by slot

    cdef fill(self)

cdef class PowerOfTwoChoices(BalanceStrategy):
    cdef double cost(self, Server server) noexcept

cdef class LeastLatency(PowerOfTwoChoices):
    pass
