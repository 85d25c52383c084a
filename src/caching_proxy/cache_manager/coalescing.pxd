"""One fetch a key at a time: who asks for the same meanwhile shares it."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.fill cimport Reader
from caching_proxy.cache_manager.purge_log cimport Stamp
from caching_proxy.cache_manager.redis_lease cimport Lease

cdef class Flight(Reader):
    # A fetch that will store what it brings.
    cdef bytes url
    cdef bytes sharing                # the key by which others join; None where they may not
    cdef tuple tags                   # of what it brings
    cdef Stamp stamp                  # as of when that is current, for Redis
    cdef Lease lease                  # the turn to fetch it for the whole fleet, or None
    cdef bint opened                  # its head is there and judged
    cdef bint void                    # what it brings is outdated already: not to be stored

cdef class Coalescing:
    cdef dict flights                 # URL -> those under way
    cdef dict leaders                 # key -> Flight
    cdef dict passes                  # hash of a key -> until when it is not shared (seconds since 1970), and why
    cdef public int64_t pass_time   # seconds

    cdef begin(self, Flight flight, bint leads)
    cdef end(self, Flight flight)
    cdef land(self, Flight flight)
    cdef rename(self, Flight flight, bytes url)
    cdef list all_flights(self)
    cdef close(self, Flight flight)
    cdef Flight leader(self, bytes key)
    cdef bint is_pass(self, bytes key, int64_t now) except -1
    cdef bytes why(self, bytes key, int64_t now)
    cdef remember_pass(self, bytes key, bytes reason, int64_t now)
    cdef forget_pass(self, bytes key)
    cdef void_url(self, bytes url)
    cdef void_prefix(self, bytes prefix, bytes suffix)
    cdef void_tag(self, bytes tag)
    cdef discredit(self, Flight flight)
