"""Which stored responses a worker has made outdated for all of them.

A table of counters in memory that all workers share. A URL has the counter that its hash leads to: all workers hash
alike (PYTHONHASHSEED). Whoever invalidates a URL counts it up; what was asked for under another count is outdated. Two
URLs with one counter cost a fetch more, nothing else. So an unsafe request at one worker is heeded by the next request
at any other, without a message. Where a path has a No-Vary-Search its queries are counted together as well, since not
every worker may have learned which of them are the same.
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

SIZE = (2 * COUNTS + 1) * sizeof(int64_t)
"""Octets of the file that is shared: counters of URLs, those of paths, and how many paths count."""


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
        cdef int64_t count = self.counts[slot(url)]
        if self.counts[2 * COUNTS]:
            count += self.counts[COUNTS + slot(path_of(url))]
        return count

    cpdef bump(self, bytes url):
        """Make outdated whatever any worker has asked for under this URL so far."""
        cdef int64_t* of_path = &self.counts[COUNTS + slot(path_of(url))]
        caching_proxy_add(&self.counts[slot(url)])
        if of_path[0]:
            caching_proxy_add(of_path)

    cpdef join_queries(self, bytes url):
        """Count the queries of this URL's path as one: a worker knows several of them for the same (No-Vary-Search)."""
        cdef int64_t* of_path = &self.counts[COUNTS + slot(path_of(url))]
        if not of_path[0]:
            caching_proxy_add(of_path)
            caching_proxy_add(&self.counts[2 * COUNTS])


cdef inline Py_ssize_t slot(bytes text) except -1:
    return hash(text) & (COUNTS - 1)


cdef bytes path_of(bytes url):
    """A URL up to its query, and without what keys add to it."""
    return url.partition(b"\n")[0].partition(b"?")[0]
