"""Character classes of RFC 9110 as tables, and comparisons on raw bytes."""

from libc.stdint cimport int64_t, uint8_t

cdef uint8_t TOKEN[256]       # tchar, RFC 9110 5.6.2
cdef uint8_t VALUE[256]       # what a field value may hold: HTAB, SP, VCHAR, obs-text (RFC 9110 5.5)
cdef uint8_t TARGET[256]      # what a plain request target may hold: visible ASCII but for "#"
cdef uint8_t HOST[256]        # letters, digits, "-", ".", "_", "~": a plain reg-name or IPv4 address
cdef uint8_t LOWER[256]       # ASCII letters to lower case, the rest as it is

cdef bint equals_lower(const char* text, const char* lower, Py_ssize_t size) noexcept nogil
cdef int64_t decimal(const char* text, Py_ssize_t size) noexcept nogil
