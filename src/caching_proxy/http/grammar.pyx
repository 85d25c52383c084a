"""Character classes of RFC 9110 as tables, and comparisons on raw bytes."""

from libc.stdint cimport int64_t, uint8_t


cdef void mark(uint8_t* table, bytes members) except *:
    for octet in members:
        table[octet] = 1


cdef void fill_tables() except *:
    alphanumeric = bytes(octet for octet in range(128) if chr(octet).isalnum())
    visible = bytes(range(33, 127))
    mark(TOKEN, alphanumeric + b"!#$%&'*+-.^_`|~")
    mark(VALUE, b"\t " + visible + bytes(range(128, 256)))
    mark(TARGET, visible.replace(b"#", b""))
    mark(HOST, alphanumeric + b"-._~")
    for octet in range(256):
        LOWER[octet] = octet + 32 if 65 <= octet <= 90 else octet


fill_tables()


cdef bint equals_lower(const char* text, const char* lower, Py_ssize_t size) noexcept nogil:
    """Whether `text` in lower case is `lower`, both `size` octets long."""
    cdef Py_ssize_t at
    for at in range(size):
        if LOWER[<uint8_t>text[at]] != <uint8_t>lower[at]:
            return False
    return True


cdef int64_t decimal(const char* text, Py_ssize_t size) noexcept nogil:
    """The number that 1 to 18 digits write, or -1 for anything else."""
    cdef Py_ssize_t at
    cdef int64_t number = 0
    if size < 1 or size > 18:
        return -1
    for at in range(size):
        if text[at] < c"0" or text[at] > c"9":
            return -1
        number = number * 10 + (text[at] - c"0")
    return number
