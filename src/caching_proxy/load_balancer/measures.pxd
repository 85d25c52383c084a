"""What is counted of a server: outcomes over the last seconds, and how long responses took."""

from libc.stdint cimport int64_t, uint32_t

cdef enum:
    SPAN = 10                 # seconds that a window covers, a bucket each
    BUCKETS = 216             # of latencies: 8 an octave, from 1 us up

cdef struct Outcomes:
    uint32_t requests
    uint32_t errors           # no response, a broken one, or 500, 502, 503, 504
    uint32_t failures         # the same without 500
    uint32_t slow             # the response head took longer than the circuit breaker lets pass

cdef class Window:
    cdef Outcomes seconds[SPAN]
    cdef int64_t newest               # second of the newest bucket
    cdef Outcomes sums

    cdef Outcomes* at(self, double now) noexcept      # the sums as of then
    cdef spoil(self, double now, bint error)
    cpdef count(self, double now, bint error, bint failure, bint slow)
    cpdef tuple totals(self, double now)
    cpdef clear(self)

cdef class Latency:
    cdef uint32_t recent[BUCKETS]
    cdef uint32_t before[BUCKETS]
    cdef double turned_at             # monotonic seconds at which `recent` began
    cdef double peak                  # peak-sensitive moving average, seconds ...
    cdef double peak_at               # ... as of this monotonic second

    cdef void turn(self, double now) noexcept
    cdef punish(self, double now)
    cpdef add(self, double seconds, double now)
    cpdef double average(self, double now) noexcept
    cpdef list buckets(self, double now)
