"""Servers that do worse than the others are left out for a time."""

from caching_proxy.load_balancer.server cimport Server

cdef class Ejection:
    cdef int after                    # gateway failures in a row; 0: however many
    cdef double gap                   # between its share of errors and the others'; 0: any
    cdef double time                  # seconds, the first time
    cdef double time_max
    cdef double most                  # share of the servers that may be left out at a time
    cdef double panic                 # share that has to be healthy; below it all are used

    cdef bint is_due(self, Server server) except -1
    cdef bint spares(self, Server server, list servers) except -1
    cdef eject(self, Server server, double now, str why)
    cdef Server outlier(self, list servers, double now)
    cdef str told(self, Server server)
