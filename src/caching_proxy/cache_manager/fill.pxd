"""A body as it arrives, read by any number of fibers while it grows."""

from libc.stdint cimport int64_t

from caching_proxy.fiber cimport Fiber

cdef enum:
    FILL_HIGH = 262144        # octets that wait for the slowest reader before the source is paused
    WINDOW = 262144           # octets that a reader takes at once: more would only wait in its transport

cdef class Source:
    cdef pause(self)
    cdef resume(self)

cdef class Budget:
    cdef public int64_t limit
    cdef readonly int64_t used

cdef class Reader(Fiber):
    cdef Py_ssize_t taken             # how many of the chunks it has had
    cdef int64_t had                  # ... and octets

cdef class Fill:
    cdef Source source
    cdef list readers
    cdef list chunks
    cdef Py_ssize_t dropped           # chunks before these that are no longer held
    cdef readonly int64_t size        # octets that have come
    cdef Budget budget                # of a body that is kept
    cdef int64_t limit                # octets that a kept body may have
    cdef bint keep
    cdef bint paused
    cdef bint abandoned               # every reader has left
    cdef bint settled                 # nobody else will need it
    cdef readonly bint complete
    cdef readonly object error

    cdef join(self, Reader reader)
    cdef leave(self, Reader reader)
    cdef hand_over(self, Reader reader)
    cdef let_go_unread(self)
    cdef settle(self)
    cdef bint is_taken(self, Reader reader) noexcept
    cdef bint is_read(self, Reader reader) noexcept
    cdef wake(self)
    cdef add(self, list chunks)
    cdef finish(self)
    cdef fail(self, object error)
    cdef list take(self, Reader reader)
    cdef hold(self, Budget budget, int64_t limit)
    cdef let_go(self)
    cdef detach(self)
    cdef restart(self)
    cdef prepend(self, list chunks)
    cdef bytes whole(self)
    cdef int64_t behind(self) noexcept
    cdef drop_taken(self)
    cdef ease(self)
    cdef resume(self)
