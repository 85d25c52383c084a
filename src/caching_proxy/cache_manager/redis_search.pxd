"""Searches for stored responses in Redis."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.codec cimport Decoded
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.redis_link cimport Call
from caching_proxy.cache_manager.redis_state cimport RedisState
from caching_proxy.fiber cimport Fiber
from caching_proxy.http.fields cimport Fields

cdef enum:
    URL_MAX = 1024            # octets of a URL whose responses are looked for

cdef class Searches

cdef class Lookup(Fiber):
    cdef Searches searches
    cdef RedisState state
    cdef bytes name
    cdef bytes selected               # the name that Vary leads to
    cdef Decoded decoded              # what was read
    cdef bytes url
    cdef Variant variant
    cdef Fields request
    cdef int64_t generation           # of the workers' table when it began
    cdef list askers                  # fibers that wait for it
    cdef double deadline
    cdef bint over
    cdef bint varies                  # other requests for the same may get another response
    cdef bint insists                 # on what the primary has
    cdef bint again                   # it is to be read again
    cdef bint outdated                # a purge came meanwhile
    cdef bint changed_meanwhile       # ... or another response
    cdef Entry entry                  # what was found, or None

    cdef double left(self) except? -1
    cdef Call ask(self, tuple words)
    cdef bytes accept(self, Call call)
    cdef reject(self, Entry entry, bytes name)
    cdef end(self)

cdef class Searches:
    cdef RedisState state
    cdef dict shared                  # name -> the Lookup that others may join
    cdef dict of_name                 # name -> set of those that may find it
    cdef dict of_url
    # counters
    cdef int64_t hits
    cdef int64_t misses

    cdef Lookup begin(self, Fiber asker, bytes url, Variant variant, Fields request, int64_t generation, bint shared)
    cdef select(self, Lookup lookup, bytes name)
    cdef ended(self, Lookup lookup)
    cdef remove(self, bytes name)
    cdef flag(self, bytes name)
    cdef outdate(self, bytes url)
    cdef outdate_all(self)
