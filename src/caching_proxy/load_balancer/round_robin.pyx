"""Taking turns: each server as often as its share says, and spread as evenly as can be.

This is nginx's smooth weighted round robin. Each choice adds to every server's `current` its weight, takes the first
of those with the most, and takes off that one the weights of all. Weights of 5, 1 and 1 make a a b a c a a; equal ones
make plain rotation. After as many choices as all weights together all is as it was in the beginning, so from then on
the sequence is replayed.
"""

from math import gcd

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free

from caching_proxy.load_balancer.balance_strategy cimport share_of, zeroed
from caching_proxy.load_balancer.server cimport DRAIN

cdef enum:
    LONGEST = 1 << 20         # choices of a sequence that is remembered


cdef class RoundRobin(BalanceStrategy):
    """Smooth weighted round robin."""

    def __dealloc__(self):
        free(self.turns)
        free(self.sequence)

    cdef build(self, list servers):
        cdef list due
        cdef double part
        cdef int slot
        self.catch_up()
        due = [self.due(server) for server in servers]
        BalanceStrategy.build(self, servers)
        self.set_weights()
        for slot, part in enumerate(due):
            self.turns[slot].current = self.turns[slot].first = <int64_t>(part * self.total)

    cdef double due(self, Server server) noexcept:
        """How much the turn of a server is due, as a part of all weights; 0 of a new one."""
        cdef int slot = self.slot_of(server)
        return 0 if slot < 0 else <double>self.turns[slot].current / self.total

    cdef set_weights(self):
        """Begin a new sequence."""
        cdef Server server
        cdef int64_t divisor = gcd(*[share_of(server) for server in self.servers])
        free(self.turns)
        self.turns = NULL
        self.turns = <Turn*>zeroed(self.count, sizeof(Turn))
        self.total = self.at = 0
        for server in self.servers:
            self.turns[server.slot].weight = share_of(server) // divisor
            self.total += self.turns[server.slot].weight
        free(self.sequence)
        self.sequence = NULL
        self.replays = False
        if self.total <= LONGEST:
            self.sequence = <uint32_t*>zeroed(self.total, sizeof(uint32_t))

    cdef Server choose(self, uint64_t key):
        cdef uint32_t slot = self.sequence[self.at] if self.replays else self.generate()
        self.at += 1
        if self.at == self.total:
            self.at = 0
            if not self.replays:
                self.come_round()
        return <Server>self.servers[slot]

    cdef uint32_t generate(self) noexcept:
        """The next slot, found out."""
        cdef Turn* turns = self.turns
        cdef int64_t most = turns[0].current + turns[0].weight
        cdef int best = 0
        cdef int slot
        for slot in range(self.count):
            turns[slot].current += turns[slot].weight
            if turns[slot].current > most:
                most = turns[slot].current
                best = slot
        turns[best].current -= self.total
        if self.sequence != NULL:
            self.sequence[self.at] = best
        return best

    cdef void come_round(self) noexcept:
        """Replay the sequence if all is as it was in the beginning.

        After a change among the servers the first round may end elsewhere; then the next one is remembered.
        """
        cdef int slot
        self.replays = self.sequence != NULL
        for slot in range(self.count):
            if self.turns[slot].current != self.turns[slot].first:
                self.turns[slot].first = self.turns[slot].current
                self.replays = False

    cdef void catch_up(self) noexcept:
        """Have `current` where a replay has come to."""
        cdef int64_t place
        cdef int slot
        if not self.replays:
            return
        for slot in range(self.count):
            self.turns[slot].current = self.turns[slot].first + self.at * self.turns[slot].weight
        for place in range(self.at):
            self.turns[self.sequence[place]].current -= self.total


cdef class StickyCookie(RoundRobin):
    """The server whose session id is the key (0: none), while it takes requests; else round robin."""

    def __init__(self, random=None):
        super().__init__(random)
        self.enrolled = {}

    cdef enroll(self, list servers):
        cdef Server server
        self.enrolled = {server.session_id: server for server in servers}

    cdef Server choose(self, uint64_t key):
        cdef Server server = self.enrolled.get(key) if key else None
        if server is not None and (server.slot >= 0 or keeps_sessions(server)):
            return server
        return RoundRobin.choose(self, key)


cdef bint keeps_sessions(Server server) noexcept:
    """Whether a server that takes no new sessions still serves those it has."""
    return server.order == DRAIN and not server.down and not server.leaving and server.ejected_until == 0
