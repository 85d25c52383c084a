"""One upstream server: what it may take, how it does, whether requests go to it."""

from libc.stdint cimport int64_t, uint64_t

from caching_proxy.load_balancer.circuit_breaker cimport CircuitBreaker
from caching_proxy.load_balancer.measures cimport Latency, Window

cdef enum Order:              # what an operator wants of a server
    READY
    DRAIN                     # no new sessions; those that stick to it go on
    DISABLED                  # nothing new at all

cdef class Server:
    cdef readonly str name            # host:port, as reports have it
    cdef readonly int weight
    cdef readonly bint backup         # only while none of the others is healthy
    cdef readonly int64_t limit       # most requests at a time; 0: any
    cdef readonly uint64_t id         # of its name, the same in all processes
    cdef readonly uint64_t session_id  # by which cookies name it: the id, or a keyed hash of the name
    cdef public object pool           # its connections: proxy_server.upstream.Pool
    cdef public bytes authority       # host:port, as Host has it
    # whether requests go to it
    cdef Order order
    cdef bint leaving                 # its name no longer leads to it
    cdef bint down                    # by the last health check
    cdef str why                      # ... in words
    cdef double ejected_until         # monotonic seconds; 0: it is not
    cdef int ejections                # in a row ...
    cdef double ejected_last          # ... and when the last one ended
    cdef double returned_at           # monotonic seconds of its last recovery; 0: none
    cdef readonly CircuitBreaker circuit
    # what the strategy goes by
    cdef int slot                     # its place among those that are chosen from; -1: none
    cdef int64_t share                # its weight there, less while it starts slowly
    # how it does
    cdef readonly int64_t in_flight
    cdef readonly int64_t requests
    cdef readonly int64_t errors      # no response, a broken one, or 500, 502, 503, 504
    cdef int consecutive              # gateway failures in a row
    cdef readonly Window window
    cdef readonly Latency latency

    cdef bint takes(self) except -1
    cdef bint is_healthy(self) except -1
    cdef str cause(self)
