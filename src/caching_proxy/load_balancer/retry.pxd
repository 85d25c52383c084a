"""Which requests are sent again, and how many."""

from libc.stdint cimport int64_t

cdef enum:
    MEMORY = 10               # seconds that requests and retries count, a bucket each

cdef class RetryBudget:
    cdef double share                 # of the requests
    cdef double floor                 # a second, whatever there are
    cdef int64_t requests[MEMORY]
    cdef int64_t retries[MEMORY]
    cdef int64_t newest               # second of the newest bucket
    cdef int64_t asked                # requests in all buckets
    cdef int64_t granted              # retries in all buckets

    cdef int move(self, double now) noexcept
    cdef request(self, double now)
    cdef bint retry(self, double now) except -1

cdef class RetryPolicy:
    cdef readonly RetryBudget budget
    cdef int number                   # of retries a request
    cdef frozenset statuses           # that are worth one
    cdef double deadline              # seconds for all attempts together; 0: as long as they take
    cdef bint hedges                  # a slow GET goes to a second server as well
