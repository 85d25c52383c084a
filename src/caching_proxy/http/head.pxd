"""Heads of HTTP/1.1 messages: a scan in C for what is provably plain, llhttp for everything else."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from caching_proxy.http.fields cimport FieldId, Fields, Span

cdef enum:
    SCAN_FIELDS = 256         # lines the scan takes; llhttp's lane has no such limit of its own
    NEED_MORE = 0
    BAD_LINE = -1

cpdef enum:
    INTERIMS_MAX = 32         # 1xx responses that one request may have

cdef struct Scan:
    # What the scan found. The spans are in SPANS, until the next scan.
    Py_ssize_t size           # octets of the head, its empty line included
    Py_ssize_t target
    Py_ssize_t target_size
    int status
    Py_ssize_t reason
    Py_ssize_t reason_size
    bint is_head
    int count
    uint64_t seen
    uint8_t where[64]         # the line that has a field id, where `seen` has its bit

cdef Span SPANS[SCAN_FIELDS]

cdef bint scan_request_head(const char* data, Py_ssize_t at, Py_ssize_t size, Scan* out) noexcept nogil
cdef bint scan_response_head(const char* data, Py_ssize_t size, Scan* out) noexcept nogil
cdef Py_ssize_t find_head_end(const char* data, Py_ssize_t size, Py_ssize_t seen) noexcept nogil

cdef class RequestHead:
    cdef readonly bytes method
    cdef readonly bytes target
    cdef readonly bytes host          # the authority: of Host, or of an absolute-form target; None in HTTP/1.0
    cdef readonly Fields fields
    cdef readonly int minor           # HTTP/1.minor
    cdef readonly bint keep_alive
    cdef readonly bint chunked
    cdef readonly bint expects_continue
    cdef readonly int64_t content_length      # -1 without one
    cdef readonly Py_ssize_t size

    cdef bint has_body(self) noexcept nogil

cdef class ResponseHead:
    cdef readonly int status
    cdef readonly bytes reason
    cdef readonly int minor           # HTTP/1.minor
    cdef readonly Fields fields
    cdef readonly bint keep_alive
    cdef readonly bint chunked
    cdef readonly int64_t content_length      # -1 without one
    cdef readonly Py_ssize_t size

cdef RequestHead plain_request(bytes data, Scan* scan)
cdef ResponseHead plain_response(bytes data, Scan* scan)
cpdef RequestHead parse_request(bytes head)
cpdef ResponseHead parse_response(bytes head)
cpdef ResponseHead first_response(bytes data, Py_ssize_t seen, Py_ssize_t max_head)
