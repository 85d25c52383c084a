"""Where the body of an HTTP/1.1 message ends: the framing of RFC 9112 6 and 7, without I/O."""

from libc.stdint cimport int64_t, uint8_t

from caching_proxy.http.head cimport ResponseHead

cdef enum Framing:
    NO_BODY
    LENGTH
    CHUNKED
    UNTIL_CLOSE

cdef enum:
    LINE_LIMIT = 16384        # octets that a chunk's extensions, and the trailer section, may have

cdef class BodyDecoder:
    cdef Framing framing
    cdef readonly bint complete
    cdef int64_t remaining            # octets left of the body, or of the current chunk
    cdef int state
    cdef int part                     # octets of the current size, extension name or value
    cdef Py_ssize_t spare             # octets of extensions and trailers still allowed

    @staticmethod
    cdef BodyDecoder begin(Framing framing, int64_t length)
    cdef Py_ssize_t feed(self, bytes data, Py_ssize_t at, list out) except -1
    cdef Py_ssize_t feed_chunked(self, bytes data, Py_ssize_t at, list out) except -1
    cdef int next_state(self, uint8_t octet) noexcept
    cdef int size_digit(self, uint8_t octet) noexcept
    cdef int extension(self, uint8_t octet) noexcept
    cdef int trailer(self, uint8_t octet) noexcept

cpdef BodyDecoder response_body(ResponseHead head, bint is_head)
