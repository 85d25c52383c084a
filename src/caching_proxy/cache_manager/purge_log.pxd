"""The latest purges of the whole fleet, and what a response is current as of."""

from libc.stdint cimport int64_t

cdef class Stamp:
    cdef readonly int64_t number          # of its URL's generation; 0: that is not known
    cdef readonly int64_t sequence        # of the last purge by prefix; 0: that is not known
    cdef readonly int64_t tag_sequence    # ... by tag; it is not stored

    cdef bint is_known(self) noexcept

cdef class Purge:
    cdef readonly int64_t sequence
    cdef readonly bint soft
    cdef readonly bytes tag               # None: it is by prefix
    cdef readonly bytes prefix
    cdef readonly bytes suffix

    cdef bint means(self, bytes url, tuple tags) except -1

cdef class PurgeLog:
    cdef readonly list purges             # the oldest first
    cdef readonly int64_t first           # what is older than this purge may have missed some
    cdef readonly int64_t last

    cpdef list take(self, list lines)
    cpdef object verdict(self, int64_t sequence, bytes url, tuple tags)
