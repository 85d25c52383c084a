"""The same server for the same key, as long as it is there and has not too much to do.

Each server has points on a ring, placed by its name alone; a key goes to the server that has the next point. A server
that takes no requests is passed over, so that only its keys go elsewhere, and come back with it. So is one that has
more than its part of all requests in flight (Mirrokni, Thorup and Zadimoghaddam 2018: consistent hashing with bounded
loads).
"""

from math import frexp

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, qsort

from caching_proxy.load_balancer.balance_strategy cimport share_of, zeroed
from caching_proxy.load_balancer.hashing cimport scramble

cdef enum:
    POINTS = 160              # of a server of average weight, or up to half as many
    POINTS_MAX = 65536        # of all; but each has one


cdef class ConsistentHash(BalanceStrategy):
    """A server takes at most `factor` times its part of what is in flight, rounded up."""

    def __init__(self, random=None, double factor=1.25):
        super().__init__(random)
        if not factor >= 1:
            raise ValueError(f"a load factor of {factor:g} leaves requests without a server: use 1 or more")
        self.factor = factor
        self.enrolled = []

    def __dealloc__(self):
        free(self.ring)

    cdef enroll(self, list servers):
        cdef Server server
        cdef Point* point
        cdef list counts
        cdef uint64_t place
        cdef int owner
        self.enrolled = list(servers)
        counts = self.point_counts()
        free(self.ring)
        self.ring = NULL
        self.points = 0
        self.ring = <Point*>zeroed(sum(counts), sizeof(Point))
        for owner, server in enumerate(servers):
            place = server.id
            for _ in range(counts[owner]):
                place += <uint64_t>0x9E3779B97F4A7C15
                point = &self.ring[self.points]
                point.place = scramble(place)
                point.owner = owner
                self.points += 1
        qsort(self.ring, self.points, sizeof(Point), by_place)

    cdef list point_counts(self):
        """How many points each of those enrolled has.

        What a weight of 1 brings goes in powers of two, so that whoever comes or goes rarely alters it for the others.
        """
        cdef Server server
        cdef double total = sum([server.weight for server in self.enrolled])
        cdef double room = min(len(self.enrolled), <double>POINTS_MAX / POINTS)
        cdef double each = POINTS * 2.0 ** (frexp(room / total)[1] - 1) if total else 0
        return [max(1, <int>(each * server.weight)) for server in self.enrolled]

    cdef build(self, list servers):
        cdef Server server
        BalanceStrategy.build(self, servers)
        self.in_flight = sum([server.in_flight for server in servers])
        self.shares = sum([share_of(server) for server in servers])

    cdef Server choose(self, uint64_t key):
        cdef Server server
        cdef double allowed = self.factor * (self.in_flight + 1)       # of all together, were they to share it
        cdef uint32_t at
        if self.count == 1:
            return <Server>self.servers[0]
        at = self.first_after(key)
        for _ in range(self.points):
            server = <Server>self.enrolled[self.ring[at].owner]
            if server.slot >= 0 and <double>server.in_flight * self.shares < allowed * share_of(server):
                return server
            at += 1
            if at == self.points:
                at = 0
        return <Server>self.servers[0]

    cdef uint32_t first_after(self, uint64_t place) noexcept:
        """The first point that is not before `place`, around the ring."""
        cdef uint32_t low = 0
        cdef uint32_t high = self.points
        cdef uint32_t middle
        while low < high:
            middle = (low + high) // 2
            if self.ring[middle].place < place:
                low = middle + 1
            else:
                high = middle
        return 0 if low == self.points else low

    cdef began(self, Server server):
        self.in_flight += server.slot >= 0

    cdef ended(self, Server server):
        self.in_flight -= server.slot >= 0


cdef int by_place(const void* one, const void* other) noexcept nogil:
    cdef uint64_t first = (<const Point*>one).place
    cdef uint64_t second = (<const Point*>other).place
    return (first > second) - (first < second)
