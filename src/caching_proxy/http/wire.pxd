"""A growing buffer in which heads are written."""

from libc.stdint cimport int64_t

cdef class Wire:
    cdef char* buffer
    cdef Py_ssize_t size
    cdef Py_ssize_t room

    cdef int grow(self, Py_ssize_t more) except -1
    cdef int put(self, const char* text, Py_ssize_t size) except -1
    cdef int put_bytes(self, bytes text) except -1
    cdef int put_number(self, int64_t number) except -1
    cdef void begin(self) noexcept
    cdef bytes take(self)
