"""When a server that fails is left alone, and how it comes back."""

from libc.stdint cimport int64_t

from caching_proxy.load_balancer.measures cimport Window

cdef enum Circuit:
    CLOSED                    # requests go through
    OPEN                      # none does
    HALF_OPEN                 # a few do, to try whether it answers again

cdef enum Event:
    TRIPPED                   # too many of the last requests failed, or were slow
    WAITED                    # it was left alone for long enough
    PASSED                    # the trials went well
    FAILED                    # one did not

cdef class CircuitRules:
    cdef double error_rate            # share of the requests that opens it; 0: never
    cdef double latency               # seconds for a response head that are too long; 0: none are
    cdef int min_requests             # fewer say nothing
    cdef double open_time             # seconds that it is left alone
    cdef int trials                   # requests at a time while it is half-open, and successes that close it

cdef class CircuitBreaker:
    cdef CircuitRules rules
    cdef Circuit state
    cdef double open_until            # monotonic seconds
    cdef int under_way                # trials
    cdef int passed                   # trials that went well
    cdef str why                      # it opened, in words
    cdef readonly int64_t opened      # times

    cdef bint takes(self) except -1
    cdef bint judge(self, Window window, double now) except -1
    cdef bint tried(self, bint well, double now) except -1
    cdef bint wait_over(self, double now) except -1
    cdef go(self, Event event, double now)
