"""A body as it arrives, read by any number of fibers while it grows.

One that is to be stored is held whole. Of any other only what its slowest reader has not taken yet is held, and a
reader that falls behind pauses the source, so that memory stays bounded.
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


cdef class Reader(Fiber):
    """A fiber that reads one Fill at a time."""


@cython.freelist(64)
cdef class Fill:
    """Chunks of a body between the source that adds and the fibers that take."""

    def __cinit__(self):
        self.chunks = []
        self.readers = []

    # -- readers

    cdef join(self, Reader reader):
        """One more reader, from the start of the body: nothing of it may have been dropped."""
        reader.taken = 0
        reader.had = 0
        self.abandoned = False
        self.readers.append(reader)

    cdef leave(self, Reader reader):
        """A reader is gone."""
        if reader in self.readers:
            self.readers.remove(reader)
        self.abandoned = not self.readers
        if self.settled:
            self.let_go_unread()
        if not self.keep:
            self.drop_taken()
        self.ease()

    cdef hand_over(self, Reader reader):
        """A reader that has taken nothing goes, and another is to come."""
        self.readers.remove(reader)

    cdef let_go_unread(self):
        """Hold no more than the readers need, once there are none that could start over."""
        if not self.readers:
            self.let_go()

    cdef settle(self):
        """It is stored, or will not be: what is held counts until the last reader has gone."""
        self.settled = True
        self.let_go_unread()

    cdef wake(self):
        """Let every reader look."""
        cdef Reader reader
        if len(self.readers) == 1:
            reader = self.readers[0]
            reader.wake()
            return
        for reader in self.readers[:]:
            reader.wake()

    cdef list take(self, Reader reader):
        """What `reader` has not had yet, as far as a window goes: the rest is for when it can go on."""
        cdef list chunks = []
        cdef bytes chunk
        cdef int64_t size = 0
        while size < WINDOW and reader.taken - self.dropped < len(self.chunks):
            chunk = self.chunks[reader.taken - self.dropped]
            reader.taken += 1
            size += PyBytes_GET_SIZE(chunk)
            chunks.append(chunk)
        reader.had += size
        if not self.keep:
            self.drop_taken()
        self.ease()
        return chunks

    cdef bint is_taken(self, Reader reader) noexcept:
        """Whether `reader` has had all there is so far."""
        return reader.taken - self.dropped >= len(self.chunks)

    cdef bint is_read(self, Reader reader) noexcept:
        """Whether `reader` has had the whole body."""
        return self.complete and self.is_taken(reader)

    # -- the source

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
        if self.keep:
            self.budget.used += more
            if self.size > self.limit or self.budget.used > self.budget.limit:
                self.let_go()
        elif self.abandoned:
            self.drop_taken()
        if self.source is not None and not self.keep and not self.paused and self.behind() > FILL_HIGH:
            self.paused = True
            self.source.pause()

    cdef finish(self):
        """The body is whole."""
        self.complete = True
        self.wake()

    cdef fail(self, object error):
        """No more will come, and the body is not whole."""
        self.error = error
        self.wake()

    cdef detach(self):
        """The source has given all that it will: it is free for others."""
        self.resume()
        self.source = None

    cdef restart(self):
        """Forget what has come: another body comes instead. Nobody has taken any of this one."""
        self.chunks.clear()
        self.size = 0
        self.paused = False

    cdef prepend(self, list chunks):
        """Put what is there already before what comes. Nobody has taken anything yet."""
        cdef bytes chunk
        self.chunks[0:0] = chunks
        for chunk in chunks:
            self.size += PyBytes_GET_SIZE(chunk)

    # -- holding

    cdef hold(self, Budget budget, int64_t limit):
        """Hold the body whole, as long as it has at most `limit` octets and the budget allows."""
        if self.dropped or self.size > limit or budget.used + self.size > budget.limit:
            return
        self.keep = True
        self.budget = budget
        self.limit = limit
        budget.used += self.size
        self.resume()

    cdef let_go(self):
        """Hold no more than the readers need."""
        if self.keep:
            self.keep = False
            self.budget.used -= self.size
            self.drop_taken()

    cdef bytes whole(self):
        """The body of a complete fill that was held."""
        if len(self.chunks) == 1:
            return self.chunks[0]
        return b"".join(self.chunks)

    cdef int64_t behind(self) noexcept:
        """How many octets the slowest reader has not had."""
        cdef int64_t least = self.size
        cdef Reader reader
        if not self.readers and not self.abandoned:
            return self.size
        for reader in self.readers:
            if reader.had < least:
                least = reader.had
        return self.size - least

    cdef drop_taken(self):
        """Let go of what every reader has had."""
        cdef Py_ssize_t least = self.dropped + len(self.chunks)
        cdef Reader reader
        if not self.readers and not self.abandoned:
            return
        for reader in self.readers:
            if reader.taken < least:
                least = reader.taken
        if least > self.dropped:
            del self.chunks[:least - self.dropped]
            self.dropped = least

    cdef ease(self):
        """Let the source go on where the slowest reader has caught up."""
        if self.paused and self.behind() < FILL_HIGH:
            self.resume()

    cdef resume(self):
        if self.paused:
            self.paused = False
            self.source.resume()
