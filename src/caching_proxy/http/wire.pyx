"""A growing buffer in which heads are written, used again for each."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy


cdef class Wire:
    """Write with `put…`, then `take` what stands there; the buffer stays for the next head."""

    def __dealloc__(self):
        free(self.buffer)

    cdef void begin(self) noexcept:
        """Start a head; what an error may have left is dropped."""
        self.size = 0

    cdef int grow(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room = 2 * (self.size + more) + 4096
        cdef char* buffer = <char*>realloc(self.buffer, room)
        if buffer == NULL:
            raise MemoryError
        self.buffer = buffer
        self.room = room
        return 0

    cdef int put(self, const char* text, Py_ssize_t size) except -1:
        if self.room - self.size < size:
            self.grow(size)
        memcpy(self.buffer + self.size, text, size)
        self.size += size
        return 0

    cdef int put_bytes(self, bytes text) except -1:
        return self.put(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    cdef int put_number(self, int64_t number) except -1:
        """A number that is not negative, in decimal."""
        cdef char digits[20]
        cdef int at = 20
        while True:
            at -= 1
            digits[at] = <char>(c"0" + number % 10)
            number //= 10
            if number == 0:
                return self.put(digits + at, 20 - at)

    cdef bytes take(self):
        cdef bytes written = PyBytes_FromStringAndSize(self.buffer, self.size)
        self.size = 0
        return written
