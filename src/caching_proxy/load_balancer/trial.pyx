"""A strategy at work without a proxy: what a load balancer does with it, for tests and measurements."""

from cpython.array cimport array
from libc.stdint cimport uint64_t

from caching_proxy.load_balancer.hashing cimport scramble
from caching_proxy.load_balancer.server cimport DRAIN


cdef class Trial:
    """`strategy` with these servers enrolled, and healthy. Without `shares` their weights are taken."""

    def __init__(self, BalanceStrategy strategy not None, list servers not None, list shares=None):
        self.strategy = strategy
        self.enroll(servers, shares)

    def enroll(self, list servers not None, list shares=None):
        """Have other servers, or other weights."""
        self.strategy.enroll(servers)
        self.build(servers, shares)

    def build(self, list servers not None, list shares=None):
        """Have these for healthy ones."""
        cdef Server server
        for server, share in zip(servers, shares or [server.weight for server in servers], strict=True):
            server.share = share
        self.strategy.build(servers)

    cpdef Server pick(self, uint64_t key=0):
        """Begin a request."""
        cdef Server server = self.strategy.choose(key)
        server.in_flight += 1
        self.strategy.began(server)
        return server

    cpdef release(self, Server server):
        """End it."""
        server.in_flight -= 1
        self.strategy.ended(server)

    def draw(self, int number, key=None, int held=0):
        """Begin that many requests; how many each server got, by slot.

        `held` of them stay in flight beside the newest. Without a key each has another.
        """
        cdef Server server
        cdef bint other_keys = key is None
        cdef uint64_t same = 0 if other_keys else key
        cdef list under_way = [None] * (held + 1)
        cdef array counts = array("q", bytes(8 * self.strategy.count))
        cdef int n
        for n in range(number):
            server = <Server>under_way[n % (held + 1)]
            if server is not None:
                self.release(server)
            server = self.pick(scramble(n) if other_keys else same)
            under_way[n % (held + 1)] = server
            if server.slot >= 0:
                counts.data.as_longlongs[server.slot] += 1
        for server in under_way:
            if server is not None:
                self.release(server)
        return counts.tolist()

    def mark(
        self, Server server not None, bint drained=False, bint down=False, bint leaving=False, double ejected_until=0
    ):
        """What an operator, health checks and DNS say of a server."""
        if drained:
            server.order = DRAIN
        server.down = down
        server.leaving = leaving
        server.ejected_until = ejected_until
