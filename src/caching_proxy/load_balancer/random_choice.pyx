"""Choosing at random: one, or the better one of two."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free

from caching_proxy.load_balancer.balance_strategy cimport share_of, zeroed

cdef double UNKNOWN = 1e9     # seconds: what is thought of a server that has requests and never answered one


cdef class RandomChoice(BalanceStrategy):
    """Each server as often as its share says, on average: an alias table (Walker; Vose 1991).

    There is a column for each server, all equally likely. What a share lacks to fill its column is lent by another.
    """

    def __dealloc__(self):
        free(self.columns)

    cdef build(self, list servers):
        BalanceStrategy.build(self, servers)
        free(self.columns)
        self.columns = NULL
        self.columns = <Column*>zeroed(self.count, sizeof(Column))
        self.fill()

    cdef fill(self):
        cdef Server server
        cdef Column* columns = self.columns
        cdef double total = sum([share_of(server) for server in self.servers])
        cdef uint32_t* slots = <uint32_t*>zeroed(self.count, sizeof(uint32_t))
        cdef int poor = 0                   # slots[:poor] have too little ...
        cdef int rich = self.count          # ... and slots[rich:] enough
        cdef uint32_t taker, lender
        for server in self.servers:
            columns[server.slot] = Column(share_of(server) * self.count / total, server.slot)
            if columns[server.slot].own < 1:
                slots[poor] = server.slot
                poor += 1
            else:
                rich -= 1
                slots[rich] = server.slot
        while poor > 0 and rich < self.count:
            poor -= 1
            taker, lender = slots[poor], slots[rich]
            columns[taker].other = lender
            columns[lender].own -= 1 - columns[taker].own
            if columns[lender].own < 1:
                rich += 1
                slots[poor] = lender
                poor += 1
        free(slots)

    cdef Server choose(self, uint64_t key):
        cdef uint32_t slot = self.random.below(self.count)
        if self.random.unit() >= self.columns[slot].own:
            slot = self.columns[slot].other
        return <Server>self.servers[slot]


cdef class PowerOfTwoChoices(BalanceStrategy):
    """Of two at random the one with less to do (Mitzenmacher 2001)."""

    cdef Server choose(self, uint64_t key):
        cdef Server one, other
        cdef uint32_t slot, second
        if self.count == 1:
            return <Server>self.servers[0]
        slot = self.random.below(self.count)
        second = self.random.below(self.count - 1)
        second += second >= slot
        one, other = self.servers[slot], self.servers[second]
        return one if self.cost(one) <= self.cost(other) else other

    cdef double cost(self, Server server) noexcept:
        """How much its share would have to do with one more."""
        return <double>(server.in_flight + 1) / share_of(server)


cdef class LeastLatency(PowerOfTwoChoices):
    """Of two at random the one that is likely to be done sooner (as Finagle's peak EWMA).

    A server that has not answered yet is tried first, with one request.
    """

    cdef double cost(self, Server server) noexcept:
        cdef double seconds = server.latency.average(self.clock)
        if seconds == 0 and server.in_flight > 0:
            seconds = UNKNOWN
        return seconds * PowerOfTwoChoices.cost(self, server)
