"""A coroutine that is stepped by what it waits for, without a task and without futures."""

cdef class Fiber:
    cdef object coroutine
    cdef bint running
    cdef bint signalled
    cdef bint waiting

    cdef start(self, object coroutine)
    cdef wake(self)
    cdef step(self)
    cdef failed(self, object error)
    cdef Fiber changed(self)
