"""A stored response, its head on the wire built once."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from caching_proxy.cache_manager.cache_key cimport Variant

cdef enum:
    ENTRY_OVERHEAD = 360      # octets of memory that an entry takes besides head, body and URL
    TAG_OVERHEAD = 128        # ... and a tag of it
    FREQUENCY_MAX = 3

cdef class Entry:
    # what it answers
    cdef readonly bytes url
    cdef readonly Variant variant
    cdef readonly tuple selecting         # (name, value or None) of each field that Vary adds to the key, or None
    # the response: `head` ends with "Age: "; from `validation` on it is what a 304 has behind its status line
    cdef readonly int status
    cdef readonly bytes head
    cdef readonly Py_ssize_t validation
    cdef readonly bytes body              # None where only parts are there
    cdef readonly tuple parts             # (first, octets) of each part in order, none overlapping another; or None
    cdef readonly int64_t length          # octets of the whole body
    cdef readonly bytes etag
    cdef readonly bytes last_modified
    cdef readonly tuple tags              # what purges by tag and group find it by
    # times in seconds since 1970: its Date, when its age was 0, and when its freshness ends
    cdef readonly int64_t date
    cdef readonly int64_t born
    cdef readonly int64_t fresh_until     # a soft purge brings it forward
    # how it may be used
    cdef readonly int32_t stale_while_revalidate      # seconds
    cdef readonly int32_t stale_if_error              # seconds, -1 where the origin says nothing
    cdef readonly bint must_revalidate                # never to be served stale
    cdef readonly bint no_cache                       # to be validated before each use
    cdef int64_t generation               # of its URL when it was asked for
    # its places in the memory tier
    cdef Entry sibling        # the next variant of the same URL
    cdef Entry newer
    cdef Entry older
    cdef int32_t users        # clients on their way to which its octets are: it is not evicted meanwhile
    cdef uint8_t frequency
    cdef bint in_main
    cdef bint linked
    cdef bint gone            # dropped with many others, and yet to be taken out of its places
    cdef uint64_t name        # what its name in Redis begins with

    cdef set(self, bytes url, Variant variant, tuple selecting, int status, bytes head, Py_ssize_t validation,
             bytes body, tuple parts, int64_t length, bytes etag, bytes last_modified, storable, int64_t received_at,
             tuple tags)
    cdef Py_ssize_t cost(self) noexcept
    cdef bint is_personal(self) except -1
    cdef bytes octets(self, int64_t first, int64_t last)
