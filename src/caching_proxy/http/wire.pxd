"""A growing buffer in which heads are written."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcpy


@cython.final
cdef class Wire:
    cdef char* buffer
    cdef Py_ssize_t size
    cdef Py_ssize_t room

    cdef inline void begin(self) noexcept:
        """Start a head; what an error may have left is dropped."""
        self.size = 0

    cdef inline int put(self, const char* text, Py_ssize_t size) except -1:
        if self.room - self.size < size:
            self.grow(size)
        memcpy(self.buffer + self.size, text, size)
        self.size += size
        return 0

    cdef inline int put_bytes(self, bytes text) except -1:
        return self.put(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    cdef int grow(self, Py_ssize_t more) except -1
    cdef int put_number(self, int64_t number) except -1
    cdef bytes take(self)
    cdef Py_ssize_t send(self, int fd) noexcept
