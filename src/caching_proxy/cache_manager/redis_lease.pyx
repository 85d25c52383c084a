"""Who fetches for the whole fleet: a lease in Redis for each response that somebody asks an origin for.

One process holds it and the others wait, each for all its clients. What is brought stands in Redis before the lease is
given back, and that is told to those who wait (a key under the prefix is written): they find it there, or each fetches
for itself where nobody else can have it. A holder that dies is replaced when its lease ends.

Each has a token that no other has. Before what was fetched is stored, Redis is asked whether it is still that one's
turn, which lasts for a while longer then: who was taken for dead comes too late and stores nothing (a fencing token).
"""

import functools
from collections import deque

from cpython.bytes cimport PyBytes_GET_SIZE

from caching_proxy.cache_manager.redis_link cimport Call, Redis

from caching_proxy.cache_manager.redis_link import RedisDown

cdef enum:
    NAME_SIZE = 64            # octets of a stored response's name, with which that of its lease begins
    DOUBTFUL_MAX = 1024       # leases of which is not known whether Redis has them; then the oldest just end
    LEASE = 3000              # milliseconds that a holder who says nothing keeps it; it says so every second

cdef double WAIT_MAX = 5.0    # seconds that somebody waits for another's fetch at most; then it makes its own

cdef bytes LEASES = b"caching-proxy:lease:{%b}%b"     # in the slot of the response: its news come in order with ours
cdef bytes RETURNED = b"returned:"
cdef bytes UNSHARED = b"unshared:"    # ... and what was fetched is for one alone

# Take the lease: 0, or the milliseconds that another's has left, of whose return one will be told. ARGV: token, LEASE.
cdef bytes TAKE = b"""
if redis.call('HEXISTS', KEYS[1], 'token') == 1 then
  redis.call('HSET', KEYS[1], 'awaited', 1)
  return math.max(1, redis.call('PTTL', KEYS[1]))
end
redis.call('HSET', KEYS[1], 'token', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 0
"""
# Have it for longer: 1. 2: it was nobody's any more, and is ours again; 0: it is another's. ARGV: token, LEASE.
cdef bytes KEEP = b"""
local token = redis.call('HGET', KEYS[1], 'token')
if token and token ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return token and 1 or 2
"""
# Give it back; 1: somebody waits. ARGV: token.
cdef bytes GIVE_BACK = b"""
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
local awaited = redis.call('HEXISTS', KEYS[1], 'awaited')
redis.call('DEL', KEYS[1])
return awaited
"""


cdef class Lease(Fiber):
    """One turn to fetch: first the wait for it (until it is `over`), then the lease itself, where it was to be had."""

    def __cinit__(self, Leases leases, Fiber asker, bytes name, bytes token):
        self.leases = leases
        self.state = leases.state
        self.asker = asker
        self.name = name
        self.key = LEASES % (leases.state.prefix + name[:NAME_SIZE], name[NAME_SIZE:])
        self.token = token

    async def run(self):
        try:
            await self.take()
        finally:
            self.over = True
            self.leases.begun(self)
            if self.asker is not None:
                self.asker.wake()

    async def take(self):
        """Wait for the lease, or for the end of another's; whatever goes wrong ends the wait."""
        cdef Call call
        cdef double end = self.state.now() + WAIT_MAX
        while not self.unwanted:
            call = self.state.ask_for(self, (b"EVAL", TAKE, 1, self.key, self.token, LEASE))
            while not call.over:
                await self.changed()
            left = call.reply
            self.unheard = isinstance(call.error, RedisDown)
            self.held = left == 0
            if self.held or not isinstance(left, int) or left <= 0:
                return
            self.leases.waits += not self.waited
            self.waited = True
            await self.pause(min(left / 1000.0, end - self.state.now()))
            if self.returned or self.unshared or self.state.now() >= end:
                return

    async def pause(self, seconds):
        """Wait for the return of another's lease, at most for so many seconds."""
        self.rung = False
        self.leases.watch_over(self)
        timer = self.state.link.loop.call_later(max(seconds, 0), self.ring)
        while not (self.rung or self.returned or self.unshared or self.unwanted):
            await self.changed()
        timer.cancel()
        self.leases.pausing.discard(self)

    def ring(self):
        """Ask again: the other's lease has ended, or Redis may have."""
        self.rung = True
        self.wake()

    cdef bint is_to_look_again(self) except -1:
        """Whether the response may have come while it was waited for."""
        return self.waited or self.stirred

    cdef give_back(self, bint unshared):
        """It is of no use any more: whoever waits may go on. What is being stored with it goes first.

        `unshared`: what was fetched is for one alone.
        """
        self.unwanted = True
        self.unshared = unshared
        self.asker = None
        if self.storing:
            return
        if not self.over:
            self.wake()
        elif self.held:
            self.held = False
            self.leases.ended(self)

    cdef Call keep(self, Fiber asker):
        """Have it for a while longer; `is_kept` tells of the reply."""
        return self.state.ask_for(asker, (b"EVAL", KEEP, 1, self.key, self.token, LEASE))

    def noticed(self, Call kept):
        """It was nobody's for a while: Redis has evicted it, or a rival has had it."""
        self.lapsed |= kept.reply == 2

    cdef bint is_lost(self, Call kept) except -1:
        """Whether a rival has it, or has had it and stored something."""
        self.noticed(kept)
        return kept.reply == 0 or (self.lapsed and self.stirred)

    cdef end_storing(self):
        """One response that was fetched under it stands in Redis, or will never."""
        self.storing -= 1
        if self.unwanted:
            self.give_back(self.unshared)


cdef class Leases:
    """Those that are waited for, and those that are held."""

    def __cinit__(self, RedisState state, bytes process):
        self.state = state
        self.process = process
        self.of_name = {}
        self.pausing = set()
        self.held = set()
        self.doubtful = deque(maxlen=DOUBTFUL_MAX)

    cdef Lease take(self, Fiber asker, bytes name):
        """The turn for what is fetched under this name; `asker` is woken when the wait for it is over.

        `name` is that of the stored response, with more behind it where Vary is known to select. None where this
        process has the lease: it knows by itself who shares what with whom.
        """
        cdef Lease lease
        cdef set rivals = self.of_name.setdefault(name[:NAME_SIZE], set())
        for lease in rivals:
            if lease.name == name and lease.held:
                return None
        self.count += 1
        lease = Lease(self, asker, name, b"%b:%d" % (self.process, self.count))
        rivals.add(lease)
        lease.start(lease.run())
        return lease

    cdef begun(self, Lease lease):
        """The wait is over."""
        if lease.held:
            self.held.add(lease)
            if lease.unwanted:
                lease.give_back(False)
            return
        self.forget(lease)
        if lease.unheard:
            self.doubtful.append(lease)

    cdef forget(self, Lease lease):
        cdef set rivals = self.of_name.get(lease.name[:NAME_SIZE])
        if rivals is not None:
            rivals.discard(lease)
            if not rivals:
                del self.of_name[lease.name[:NAME_SIZE]]

    cdef ended(self, Lease lease):
        """Give it back to Redis."""
        self.held.discard(lease)
        self.forget(lease)
        words = (b"EVAL", GIVE_BACK, 1, lease.key, lease.token)
        self.state.link.call(words, functools.partial(self.tell, lease))

    def tell(self, Lease lease, Call call):
        """Let those know who wait."""
        if isinstance(call.error, RedisDown):
            self.doubtful.append(lease)
        elif call.reply == 1:
            news = UNSHARED if lease.unshared else RETURNED
            self.state.announce(news + lease.name)

    cdef keep(self):
        """Say that the holders live."""
        cdef Lease lease
        for lease in self.held:
            self.state.link.call((b"EVAL", KEEP, 1, lease.key, lease.token, LEASE), lease.noticed)

    cdef give_all_back(self):
        """This process leaves this Redis."""
        cdef Lease lease
        for lease in list(self.held):
            self.ended(lease)

    cdef doubt_all(self):
        """News may have been missed: somebody may have stored what is being fetched here."""
        cdef Lease lease
        for lease in self.held:
            lease.stirred = True

    # -- whether Redis lives

    cdef watch_over(self, Lease lease):
        """Somebody waits."""
        self.pausing.add(lease)
        if self.watch is None:
            self.look()

    def look(self):
        """While anybody waits, see to it that a Redis that hangs is noticed within its deadline."""
        cdef Redis node
        cdef double half = self.state.link.timeout / 2
        self.watch = self.state.link.loop.call_later(half, self.look) if self.pausing else None
        if self.pausing:
            for node in self.state.link.nodes_now():
                node.call_for(None, (b"PING",), self.state.link.timeout)

    cdef link_changed(self):
        """Whoever waits is to ask again; and what Redis may have taken for ours is given back once it answers."""
        cdef Lease lease
        for lease in list(self.pausing):
            lease.ring()
        if self.doubtful and self.state.link.state == "ready":
            doubtful = list(self.doubtful)
            self.doubtful.clear()
            for lease in doubtful:
                self.ended(lease)

    # -- what Redis tells

    cdef hear(self, bytes rest):
        """A key, without the prefix, that may tell of the return of a lease."""
        cdef Lease lease
        cdef bytes name = rest[PyBytes_GET_SIZE(RETURNED):]
        if not rest.startswith((RETURNED, UNSHARED)):
            return
        for lease in list(self.of_name.get(name[:NAME_SIZE], ())):
            if lease.name == name and not lease.over:
                lease.returned |= rest.startswith(RETURNED)
                lease.unshared |= rest.startswith(UNSHARED)
                lease.wake()

    cdef stir(self, bytes name):
        """The response of this name has come, or gone."""
        cdef Lease lease
        for lease in self.of_name.get(name, ()):
            lease.stirred = True
