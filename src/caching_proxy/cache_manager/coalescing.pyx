"""One fetch a key at a time: who asks for the same meanwhile shares it.

What turned out not to be shareable is remembered for a while, so that nobody waits for such an answer again in vain
(Varnish calls it hit-for-miss). A purge wins over every fetch that began before it.
"""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_key cimport whole_url

cdef enum:
    PASSES_MAX = 65536        # keys remembered as not shareable; then the oldest go


cdef class Flight(Reader):
    """A fetch that will store what it brings."""


cdef class Coalescing:
    """The fetches under way, those that others may join, and the keys that nobody shares."""

    def __init__(self, int64_t pass_time):
        self.flights = {}
        self.leaders = {}
        self.passes = {}
        self.pass_time = pass_time

    cdef begin(self, Flight flight, bint leads):
        """A fetch sets out; it `leads` those to come with the same `sharing` key, unless another does."""
        self.flights.setdefault(whole_url(flight.url), set()).add(flight)
        if leads:
            self.leaders.setdefault(flight.sharing, flight)

    cdef end(self, Flight flight):
        """A fetch is over."""
        self.land(flight)
        self.close(flight)

    cdef land(self, Flight flight):
        cdef bytes url = whole_url(flight.url)
        cdef set flights = self.flights.get(url)
        if flights is not None:
            flights.discard(flight)
            if not flights:
                del self.flights[url]

    cdef rename(self, Flight flight, bytes url):
        """What a fetch brings has another URL than was thought."""
        self.land(flight)
        flight.url = url
        self.flights.setdefault(whole_url(url), set()).add(flight)

    cdef list all_flights(self):
        return [flight for flights in self.flights.values() for flight in flights]

    cdef close(self, Flight flight):
        """Nobody may join this fetch any more."""
        if flight.sharing is not None and self.leaders.get(flight.sharing) is flight:
            del self.leaders[flight.sharing]

    cdef Flight leader(self, bytes key):
        """The fetch to join, or None."""
        return self.leaders.get(key)

    # -- what is not shareable

    cdef bint is_pass(self, bytes key, int64_t now) except -1:
        """Whether an answer for this key was found not to be shareable lately."""
        return self.why(key, now) is not None

    cdef bytes why(self, bytes key, int64_t now):
        """What made the last answer for this key unshareable, None where it was not, or long ago."""
        cdef tuple known = self.passes.get(hash(key))
        return None if known is None or now >= known[0] else known[1]

    cdef remember_pass(self, bytes key, bytes reason, int64_t now):
        """`reason` is a word for people. Renewed once half of the time is over."""
        cdef object digest = hash(key)
        cdef tuple known = self.passes.get(digest)
        if known is not None and known[0] - now > self.pass_time // 2 and known[1] == reason:
            return
        self.passes.pop(digest, None)
        if len(self.passes) >= PASSES_MAX:
            del self.passes[next(iter(self.passes))]
        self.passes[digest] = (now + self.pass_time, reason)

    cdef forget_pass(self, bytes key):
        if self.passes:
            self.passes.pop(hash(key), None)

    # -- purges

    cdef void_url(self, bytes url):
        """What comes for this URL is outdated."""
        cdef Flight flight
        for flight in self.flights.get(url, ()):
            self.discredit(flight)

    cdef void_prefix(self, bytes prefix, bytes suffix):
        """The same for every URL that starts and ends like this."""
        cdef Flight flight
        for flight in self.all_flights():
            if flight.url.startswith(prefix) and whole_url(flight.url).endswith(suffix):
                self.discredit(flight)

    cdef void_tag(self, bytes tag):
        """The same for what has this tag, and for what may yet turn out to have it."""
        cdef Flight flight
        for flight in self.all_flights():
            if not flight.opened or (flight.tags is not None and tag in flight.tags):
                self.discredit(flight)

    cdef discredit(self, Flight flight):
        flight.void = True
        self.close(flight)
        if flight.lease is not None and flight.lease.held:      # nobody is to wait for it
            flight.lease.give_back(False)
            flight.lease = None
