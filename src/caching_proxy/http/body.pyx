"""Where the body of an HTTP/1.1 message ends: the framing of RFC 9112 6 and 7, without I/O.

The decoder is strict, since its word decides where the next message begins: a chunk is hexadecimal digits, well-formed
extensions and CRLF, and nothing is skipped or guessed. Trailer fields are checked and dropped (RFC 9110 6.5.1).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t

from caching_proxy.http.grammar cimport TOKEN, VALUE
from caching_proxy.http.head cimport ResponseHead


# What the decoder of a chunked body expects next.
cdef enum:
    SIZE
    EXTENSION_NAME
    EXTENSION_VALUE
    QUOTED
    QUOTED_PAIR
    QUOTED_END
    SIZE_LF
    DATA
    DATA_CR
    DATA_LF
    TRAILER
    TRAILER_NAME
    TRAILER_VALUE
    TRAILER_LF
    END_LF
    MALFORMED


class MalformedBody(ValueError):
    """The chunked coding is broken; nothing after it can be trusted."""


cdef inline int hex_digit(uint8_t octet) noexcept nogil:
    if c"0" <= octet <= c"9":
        return octet - c"0"
    octet |= 32
    return octet - c"a" + 10 if c"a" <= octet <= c"f" else -1


cdef inline int after_extension_part(uint8_t octet) noexcept nogil:
    """What follows a finished name, value or size."""
    if octet == c";":
        return EXTENSION_NAME
    return SIZE_LF if octet == c"\r" else MALFORMED


@cython.freelist(64)
cdef class BodyDecoder:
    """Takes octets, gives those of the body. `complete` once the message has ended."""

    @staticmethod
    cdef BodyDecoder begin(Framing framing, int64_t length):
        cdef BodyDecoder self = BodyDecoder.__new__(BodyDecoder)
        self.framing = framing
        self.remaining = length
        self.complete = framing == NO_BODY or (framing == LENGTH and length == 0)
        self.state = SIZE
        self.spare = LINE_LIMIT
        return self

    @staticmethod
    def of_length(int64_t length):
        """A body of `length` octets."""
        return BodyDecoder.begin(LENGTH, length)

    @staticmethod
    def of_chunks():
        """A body in chunked coding (RFC 9112 7.1)."""
        return BodyDecoder.begin(CHUNKED, 0)

    def decode(self, bytes data not None, Py_ssize_t at=0):
        """Decode `data` from `at`: the pieces of the body, and the offset of what is no longer part of the message.

        Raises MalformedBody.
        """
        cdef list out = []
        end = self.feed(data, at, out)
        return out, end

    cdef Py_ssize_t feed(self, bytes data, Py_ssize_t at, list out) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t end = size
        if self.complete or at == size:
            return at
        if self.framing == CHUNKED:
            return self.feed_chunked(data, at, out)
        if self.framing == LENGTH:
            if end - at > self.remaining:
                end = at + <Py_ssize_t>self.remaining
            self.remaining -= end - at
            self.complete = self.remaining == 0
        out.append(data if at == 0 and end == size else data[at:end])
        return end

    cdef Py_ssize_t feed_chunked(self, bytes data, Py_ssize_t at, list out) except -1:
        cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t end
        while at < size and not self.complete:
            if self.state == DATA:
                end = size if size - at < self.remaining else at + <Py_ssize_t>self.remaining
                out.append(data[at:end])
                self.remaining -= end - at
                at = end
                if self.remaining == 0:
                    self.state = DATA_CR
                continue
            self.state = self.next_state(text[at])
            if self.state == MALFORMED or self.spare < 0:
                self.state = MALFORMED
                raise MalformedBody("malformed chunked coding")
            at += 1
        return at

    cdef int next_state(self, uint8_t octet) noexcept:
        """The state behind `octet`, which is not chunk data. RFC 9112 7.1, 7.1.1, 7.1.2."""
        cdef int state = self.state
        if state == SIZE:
            return self.size_digit(octet)
        if state == SIZE_LF:
            self.spare = LINE_LIMIT
            if octet != c"\n":
                return MALFORMED
            return DATA if self.remaining else TRAILER
        if state == DATA_CR:
            return DATA_LF if octet == c"\r" else MALFORMED
        if state == DATA_LF:
            return SIZE if octet == c"\n" else MALFORMED
        self.spare -= 1
        if state >= TRAILER:
            return self.trailer(octet)
        return self.extension(octet)

    cdef int size_digit(self, uint8_t octet) noexcept:
        cdef int digit = hex_digit(octet)
        if digit < 0:
            if self.part == 0:
                return MALFORMED
            self.part = 0
            return after_extension_part(octet)
        if self.part == 0:
            self.remaining = 0
        self.part += 1
        if self.part > 15:
            return MALFORMED
        self.remaining = self.remaining * 16 + digit
        return SIZE

    cdef int extension(self, uint8_t octet) noexcept:
        cdef int state = self.state
        if state == QUOTED:
            if octet == c'"':
                return QUOTED_END
            if octet == c"\\":
                return QUOTED_PAIR
            return QUOTED if VALUE[octet] else MALFORMED
        if state == QUOTED_PAIR:
            return QUOTED if VALUE[octet] else MALFORMED
        if state == QUOTED_END:
            return after_extension_part(octet)
        if TOKEN[octet]:
            self.part += 1
            return state
        if state == EXTENSION_VALUE and octet == c'"' and self.part == 0:
            return QUOTED
        if self.part == 0:
            return MALFORMED
        self.part = 0
        if state == EXTENSION_NAME and octet == c"=":
            return EXTENSION_VALUE
        return after_extension_part(octet)

    cdef int trailer(self, uint8_t octet) noexcept:
        cdef int state = self.state
        if state == TRAILER:
            if octet == c"\r":
                return END_LF
            return TRAILER_NAME if TOKEN[octet] else MALFORMED
        if state == TRAILER_NAME:
            if octet == c":":
                return TRAILER_VALUE
            return TRAILER_NAME if TOKEN[octet] else MALFORMED
        if state == TRAILER_VALUE:
            if octet == c"\r":
                return TRAILER_LF
            return TRAILER_VALUE if VALUE[octet] else MALFORMED
        if octet != c"\n":
            return MALFORMED
        if state == END_LF:
            self.complete = True
        return TRAILER


cpdef BodyDecoder response_body(ResponseHead head, bint is_head):
    """What is behind the head of a final response; `is_head`: to a HEAD request. RFC 9112 6.3."""
    cdef Framing framing
    if is_head or head.status == 204 or head.status == 304:
        framing = NO_BODY
    elif head.chunked:
        framing = CHUNKED
    else:
        framing = LENGTH if head.content_length >= 0 else UNTIL_CLOSE
    return BodyDecoder.begin(framing, head.content_length)
