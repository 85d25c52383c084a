"""A body as it arrives, read while it grows.

One that is to be stored is held whole. Of any other only what its reader has not taken yet is held, and a reader that
falls behind pauses the source, so that memory stays bounded.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

cdef enum:
    CHUNKS_APART = 8          # of more that came at once one is made: bounds count octets, not objects


cdef class Source:
    """Where a body comes from; it can be paused."""

    cdef pause(self):
        raise NotImplementedError

    cdef resume(self):
        raise NotImplementedError


cdef class Budget:
    """How much memory the bodies that are being held may take together."""

    def __init__(self, int64_t limit):
        self.limit = limit


@cython.freelist(64)
cdef class Fill:
    """Chunks of a body between the source that adds and the fiber that takes."""

    def __cinit__(self):
        self.chunks = []

    cdef add(self, list chunks):
        """More of the body has come."""
        cdef bytes chunk
        cdef int64_t more = 0
        if len(chunks) > CHUNKS_APART:
            chunks = [b"".join(chunks)]
        for chunk in chunks:
            more += PyBytes_GET_SIZE(chunk)
        self.chunks.extend(chunks)
        self.size += more
        self.waiting += more
        if self.keep:
            self.budget.used += more
            if self.size > self.limit or self.budget.used > self.budget.limit:
                self.let_go()
        elif self.abandoned:
            self.chunks.clear()
        elif self.waiting > FILL_HIGH and not self.paused:
            self.paused = True
            self.source.pause()

    cdef finish(self):
        """The body is whole."""
        self.complete = True
        if self.reader is not None:
            self.reader.wake()

    cdef fail(self, object error):
        """No more will come, and the body is not whole."""
        self.error = error
        if self.reader is not None:
            self.reader.wake()

    cdef list take(self):
        """What the reader has not had yet."""
        cdef list chunks = self.chunks[self.taken:]
        self.taken = len(self.chunks)
        self.waiting = 0
        if not self.keep:
            self.forget_taken()
        self.resume()
        return chunks

    cdef hold(self, Budget budget, int64_t limit):
        """Hold the body whole, as long as it has at most `limit` octets and the budget allows."""
        if self.size > limit or budget.used + self.size > budget.limit:
            return
        self.keep = True
        self.budget = budget
        self.limit = limit
        budget.used += self.size
        self.resume()

    cdef let_go(self):
        """Hold no more than the reader needs."""
        if self.keep:
            self.keep = False
            self.budget.used -= self.size
            self.forget_taken()

    cdef leave(self):
        """The reader is gone."""
        self.reader = None
        self.abandoned = True
        self.waiting = 0
        self.resume()

    cdef detach(self):
        """The source has given all that it will: it is free for others."""
        self.resume()
        self.source = None

    cdef bytes whole(self):
        """The body of a complete fill that was held."""
        if len(self.chunks) == 1:
            return self.chunks[0]
        return b"".join(self.chunks)

    cdef forget_taken(self):
        del self.chunks[:self.taken]
        self.taken = 0

    cdef resume(self):
        if self.paused:
            self.paused = False
            self.source.resume()
