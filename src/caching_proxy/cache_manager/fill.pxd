"""A body as it arrives, read while it grows."""

from libc.stdint cimport int64_t

from caching_proxy.fiber cimport Fiber

cdef enum:
    FILL_HIGH = 262144        # octets that wait for a slow reader before the source is paused

cdef class Source:
    cdef pause(self)
    cdef resume(self)

cdef class Budget:
    cdef readonly int64_t limit
    cdef readonly int64_t used

cdef class Fill:
    cdef Source source
    cdef Fiber reader
    cdef list chunks
    cdef Py_ssize_t taken             # how many of `chunks` the reader has had
    cdef readonly int64_t size        # octets that have come
    cdef int64_t waiting              # octets that the reader has not had
    cdef Budget budget                # of a body that is kept
    cdef int64_t limit                # octets that a kept body may have
    cdef bint keep
    cdef bint paused
    cdef bint abandoned               # the reader has left
    cdef readonly bint complete
    cdef readonly object error

    cdef add(self, list chunks)
    cdef finish(self)
    cdef fail(self, object error)
    cdef list take(self)
    cdef hold(self, Budget budget, int64_t limit)
    cdef let_go(self)
    cdef leave(self)
    cdef detach(self)
    cdef bytes whole(self)
    cdef forget_taken(self)
    cdef resume(self)
