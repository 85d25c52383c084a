"""HTTP-date (RFC 9110 5.6.7) as seconds since 1970-01-01T00:00:00Z."""

from libc.stdint cimport int64_t

cpdef object parse_http_date(bytes value, int64_t now)
