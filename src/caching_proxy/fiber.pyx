"""A coroutine that is stepped by what it waits for, without a task and without futures.

An asyncio task and two futures cost more than all the rest of an exchange (docs/decisions/0002). A fiber has one
signal: whoever changes something that it waits for calls `wake`, and the coroutine looks again:

    while fetch.response is None:
        await self.changed()

`wake` runs the coroutine at once, in the caller's stack. Called from inside the coroutine itself it only leaves the
signal, so that the next `changed` does not wait.
"""

import logging

cdef extern from "Python.h":
    # PYGEN_RETURN 0, PYGEN_NEXT 1; an error is -1 with the exception set
    int PyIter_Send(object iterator, object argument, void** result) except -1

from cpython.ref cimport Py_XDECREF, PyObject

log = logging.getLogger("caching_proxy")


cdef class Fiber:
    """Base of everything that has a way to go and waits on it."""

    cdef start(self, object coroutine):
        """Run `coroutine` until it first waits."""
        self.coroutine = coroutine
        self.step()

    cdef wake(self):
        """Something changed: let the coroutine look, now or when it next waits."""
        self.signalled = True
        if self.waiting:
            self.step()

    cdef step(self):
        cdef void* result = NULL
        cdef int status
        cdef Fiber alive = self         # the coroutine may make its owner let go of it
        if self.running:
            return
        self.running = True
        self.waiting = False
        try:
            status = PyIter_Send(self.coroutine, None, &result)
            Py_XDECREF(<PyObject*>result)
            if status == 0:
                alive.coroutine = None
        except BaseException as error:
            self.coroutine = None
            self.failed(error)
        finally:
            self.running = False

    cdef failed(self, object error):
        """The coroutine let an exception out: a defect, never a message of the other side's."""
        log.error("internal error", exc_info=error)

    cdef Fiber changed(self):
        """To be awaited in the fiber's own coroutine: goes on after the next `wake`."""
        return self

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.signalled:
            self.signalled = False
            self.waiting = False
            raise StopIteration
        self.waiting = True
        return None
