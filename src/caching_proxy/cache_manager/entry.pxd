"""A stored response, its head on the wire built once."""

from libc.stdint cimport int64_t, uint8_t

from caching_proxy.cache_manager.cache_key cimport Variant

cdef enum:
    ENTRY_OVERHEAD = 320      # octets of memory that an entry takes besides head, body and URL
    FREQUENCY_MAX = 3

cdef class Entry:
    # what it answers
    cdef readonly bytes url
    cdef readonly Variant variant
    # the response: `head` ends with "Age: "; from `validation` on it is what a 304 has behind its status line
    cdef readonly int status
    cdef readonly bytes head
    cdef readonly Py_ssize_t validation
    cdef readonly bytes body
    cdef readonly bytes etag
    cdef readonly bytes last_modified
    cdef readonly bint must_revalidate    # never to be served stale
    # times in seconds since 1970: its Date, when its age was 0, and when its freshness ends
    cdef readonly int64_t date
    cdef readonly int64_t born
    cdef readonly int64_t fresh_until
    # its places in the memory tier
    cdef Entry sibling        # the next variant of the same URL
    cdef Entry newer
    cdef Entry older
    cdef uint8_t frequency
    cdef bint in_main
    cdef bint linked

    cdef Py_ssize_t cost(self) noexcept
