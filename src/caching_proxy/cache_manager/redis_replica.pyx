"""Replicas that values are read at, in step with what they tell later.

A replica follows its primary at some distance: what it tells may be old when the primary's news of the change has been
heard already. So its own news counts as well, which comes in order with its replies, but only for what it has told:
of everything else, own writes above all, the primary tells.
"""

from libc.stdint cimport int64_t

cdef enum:
    TOLD_MAX = 65536          # keys whose values are remembered as told; then the oldest count as changed


cdef class Replica(RedisLink):
    """The link to a replica. What it says is away there, or cannot say, its primary is asked for."""

    def __init__(self, *args, **more):
        RedisLink.__init__(self, *args, **more)
        self.told = {}
        self.news = self.pushed
        self.pushed = self.heed

    cdef Call read(self, Redis primary, Fiber asker, tuple words, double seconds):
        """Ask for the value of the key `words[1]`, for a fiber."""
        cdef Call call = Call.__new__(Call)
        call.words = words
        call.deadline = self.loop.time() + seconds
        call.callback = self.remember
        call.redirect = primary.stand_in
        self.put(call, words, seconds)
        call.asker = None if call.over else asker
        return call

    def remember(self, Call call):
        """A value was told."""
        if call.error is None:
            self.told[call.words[1]] = None
            if len(self.told) > TOLD_MAX:
                oldest = next(iter(self.told))
                self.forget(oldest)
                self.news([b"invalidate", [oldest]])

    cdef forget(self, bytes key):
        """What was told of this key is not in use any more."""
        self.told.pop(key, None)

    def heed(self, list push):
        """Hand on the news of what was told."""
        cdef list changed
        if len(push) != 2 or push[0] != b"invalidate":
            return
        if push[1] is None:
            self.recant()
        elif isinstance(push[1], list):
            changed = [key for key in push[1] if isinstance(key, bytes) and key in self.told]
            for key in changed:
                self.forget(key)
            if changed:
                self.news([b"invalidate", changed])

    cdef drop(self, str why):
        RedisLink.drop(self, why)
        self.recant()                                   # what has changed since is not heard

    cdef recant(self):
        """All that was told may be another by now."""
        if self.told:
            self.told.clear()
            self.news([b"invalidate", None])


cdef class Replicas:
    """Those of one primary, which take turns."""

    def __cinit__(self, Redis owner, tuple greeting):
        """`greeting`: what a connection to one begins with."""
        self.owner = owner
        self.greeting = greeting
        self.links = {}
        self.ring = []

    cdef keep(self, list places):
        """Read at those that are here (host and port), and at no others."""
        cdef dict former = self.links
        cdef Replica link
        self.links = {place: former.pop(place, None) or self.dial(place) for place in dict.fromkeys(places)}
        self.ring = list(self.links.values())
        for link in former.values():
            link.close()

    cdef Replica dial(self, tuple place):
        """A link that connects from now on."""
        cdef Redis owner = self.owner
        link = Replica(owner.address.node_at(*place), owner.timeout, owner.pushed, None, self.greeting)
        link.open()
        return link

    cdef close(self):
        """Let them go; nobody is to hear of it."""
        cdef Replica link
        for link in self.ring:
            link.told.clear()
        self.keep([])

    cdef Replica next(self):
        """One that is ready, or None."""
        cdef Replica link
        for _ in range(len(self.ring)):
            self.turn = (self.turn + 1) % len(self.ring)
            link = self.ring[self.turn]
            if link.state == "ready":
                return link
        return None

    cdef forget(self, bytes key):
        """This key is being written by ourselves."""
        cdef Replica link
        for link in self.ring:
            link.forget(key)

    cdef int64_t timeouts(self) except -1:
        return sum([(<Replica>link).timeouts for link in self.ring])
