"""The server with the fewest requests in flight for its share; of several the one chosen longest ago."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free

from caching_proxy.load_balancer.balance_strategy cimport share_of, zeroed


cdef class LeastConnections(BalanceStrategy):
    """A binary heap that is put in order whenever a request begins or ends."""

    def __dealloc__(self):
        free(self.heap)
        free(self.places)

    cdef build(self, list servers):
        cdef Server server
        cdef list chosen = [self.last_chosen(server) for server in servers]
        BalanceStrategy.build(self, servers)
        free(self.heap)
        free(self.places)
        self.heap = NULL
        self.places = NULL
        self.heap = <Node*>zeroed(self.count, sizeof(Node))
        self.places = <uint32_t*>zeroed(self.count, sizeof(uint32_t))
        for server in self.servers:
            self.rise(Node(load_of(server), chosen[server.slot], server.slot), server.slot)

    cdef uint64_t last_chosen(self, Server server) noexcept:
        cdef int slot = self.slot_of(server)
        return 0 if slot < 0 else self.heap[self.places[slot]].chosen

    cdef Server choose(self, uint64_t key):
        return <Server>self.servers[self.heap[0].slot]

    cdef began(self, Server server):
        self.choices += 1
        if server.slot >= 0:
            self.update(server, self.choices)

    cdef ended(self, Server server):
        if server.slot >= 0:
            self.update(server, self.heap[self.places[server.slot]].chosen)

    cdef void update(self, Server server, uint64_t chosen) noexcept:
        """Put a server where it belongs now."""
        cdef uint32_t place = self.places[server.slot]
        cdef Node node = Node(load_of(server), chosen, server.slot)
        if place > 0 and before(&node, &self.heap[(place - 1) // 2]):
            self.rise(node, place)
        else:
            self.sink(node, place)

    cdef void rise(self, Node node, uint32_t place) noexcept:
        """Put `node` at `place` or above."""
        cdef uint32_t parent
        while place > 0:
            parent = (place - 1) // 2
            if not before(&node, &self.heap[parent]):
                break
            self.put(self.heap[parent], place)
            place = parent
        self.put(node, place)

    cdef void sink(self, Node node, uint32_t place) noexcept:
        """Put `node` at `place` or below."""
        cdef uint32_t child = 2 * place + 1
        cdef uint32_t count = self.count
        while child < count:
            if child + 1 < count and before(&self.heap[child + 1], &self.heap[child]):
                child += 1
            if not before(&self.heap[child], &node):
                break
            self.put(self.heap[child], place)
            place = child
            child = 2 * place + 1
        self.put(node, place)

    cdef void put(self, Node node, uint32_t place) noexcept:
        self.heap[place] = node
        self.places[node.slot] = place


cdef inline bint before(Node* one, Node* other) noexcept:
    """Whether `one` is to be chosen rather than `other`."""
    if one.load != other.load:
        return one.load < other.load
    if one.chosen != other.chosen:
        return one.chosen < other.chosen
    return one.slot < other.slot


cdef double load_of(Server server) noexcept:
    return <double>server.in_flight / share_of(server)
