"""Which stored responses a worker has made outdated for all of them."""

from libc.stdint cimport int64_t

cdef class Generations:
    cdef object memory                # mmap
    cdef int64_t* counts

    cpdef int64_t of(self, bytes url) except? -1
    cpdef bump(self, bytes url)
    cpdef join_queries(self, bytes url)
