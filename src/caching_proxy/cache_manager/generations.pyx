"""Which stored responses a worker has made outdated for all of them.

A table of counters in memory that all workers share. A URL has the counter that its hash leads to: all workers hash
alike (PYTHONHASHSEED). Whoever invalidates a URL counts it up; what was asked for under another count is outdated. Two
URLs with one counter cost a fetch more, nothing else. So an unsafe request at one worker is heeded by the next request
at any other, without a message.
"""

import mmap

from cpython.buffer cimport PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t

cdef extern from *:
    """
    #if defined(_MSC_VER)
    #define caching_proxy_add(where) (++*(where))
    #else
    #define caching_proxy_add(where) __sync_add_and_fetch((where), 1)
    #endif
    """
    int64_t caching_proxy_add(int64_t* where) noexcept

cdef enum:
    COUNTS = 65536            # a power of two

SIZE = COUNTS * sizeof(int64_t)
"""Octets of the file that is shared."""


cdef class Generations:
    """The table, in the file of a descriptor that has SIZE octets."""

    def __init__(self, int descriptor):
        cdef Py_buffer view
        self.memory = mmap.mmap(descriptor, SIZE)
        PyObject_GetBuffer(self.memory, &view, PyBUF_WRITABLE)
        self.counts = <int64_t*>view.buf                # stays where it is as long as the mmap lives
        PyBuffer_Release(&view)

    cpdef int64_t of(self, bytes url) except? -1:
        """The count for a URL (of a slice: that of the whole)."""
        return self.counts[hash(url) & (COUNTS - 1)]

    cpdef bump(self, bytes url):
        """Make outdated whatever any worker has asked for under this URL so far."""
        caching_proxy_add(&self.counts[hash(url) & (COUNTS - 1)])
