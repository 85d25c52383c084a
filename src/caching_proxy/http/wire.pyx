"""A growing buffer in which heads are written, used again for each."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove


cdef extern from *:
    """
    #ifdef _WIN32
    #define SEND_AT_ONCE(fd, text, size) ((Py_ssize_t) -1)  /* its transports own their sockets */
    #else
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0  /* macOS; Python ignores SIGPIPE */
    #endif
    #define SEND_AT_ONCE(fd, text, size) send(fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL)
    #endif
    """
    Py_ssize_t SEND_AT_ONCE(int fd, const char* text, size_t size) noexcept nogil


cdef class Wire:
    """Write with `put…`, then `take` or `send` what stands there; the buffer stays for the next head."""

    def __dealloc__(self):
        free(self.buffer)

    cdef int grow(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room = 2 * (self.size + more) + 4096
        cdef char* buffer = <char*>realloc(self.buffer, room)
        if buffer == NULL:
            raise MemoryError
        self.buffer = buffer
        self.room = room
        return 0

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

    cdef Py_ssize_t send(self, int fd) noexcept:
        """How much of it a socket takes without waiting, 0 after an error as well; the rest stays."""
        cdef Py_ssize_t sent = SEND_AT_ONCE(fd, self.buffer, self.size)
        if sent <= 0:
            return 0
        self.size -= sent
        if self.size:
            memmove(self.buffer, self.buffer + sent, self.size)
        return sent
