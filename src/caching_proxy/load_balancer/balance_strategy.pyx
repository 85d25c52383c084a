"""How a server is chosen: what all strategies have in common (strategies.py lists them)."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc


cdef class BalanceStrategy:
    """Base of all. `random` is a Random to draw from, one of its own without it."""

    def __init__(self, Random random=None):
        self.random = Random() if random is None else random
        self.servers = []

    cdef enroll(self, list servers):
        """These are all there are, healthy or not; `build` follows. Said when they or their weights change."""

    cdef build(self, list servers):
        """Choose from these; their shares are set. Said when one becomes healthy or ceases to be, or has another share.

        What was chosen before still counts, so that no server is favoured because others come and go.
        """
        cdef Server server
        cdef int slot
        for server in self.servers:
            server.slot = -1
        for slot, server in enumerate(servers):
            server.slot = slot
        self.servers = list(servers)
        self.count = len(servers)

    cdef Server choose(self, uint64_t key):
        """The server for a request; there is one at least. `key` says whose request it is, where that matters."""
        raise NotImplementedError

    cdef began(self, Server server):
        """A request was given to `server`; it counts among those in flight already."""

    cdef ended(self, Server server):
        """It is over, and counts no longer."""

    cdef int slot_of(self, Server server) noexcept:
        """Where `server` is among those that are chosen from; -1: it is not."""
        cdef int slot = server.slot
        return slot if 0 <= slot < self.count and self.servers[slot] is server else -1


cdef int64_t share_of(Server server) noexcept:
    """Never none at all: whoever is chosen from is chosen some day."""
    return max(server.share, 1)


cdef void* zeroed(size_t count, size_t size) except NULL:
    """Memory for that many of a size."""
    cdef void* memory = calloc(count if count else 1, size)
    if memory == NULL:
        raise MemoryError
    return memory
