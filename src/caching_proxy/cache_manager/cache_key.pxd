"""The primary cache key: URL and the request fields that select a representation."""

from libc.stdint cimport int64_t

cdef class Variant:
    cdef readonly bytes accept
    cdef readonly bytes accept_encoding
    cdef readonly bytes accept_language
    cdef readonly bytes extra
    cdef readonly bytes text          # all of them

cdef class Variants:
    cdef bytes told                   # what all of them have besides
    cdef dict memo
    cdef dict interned
    cdef readonly Variant plain       # that of a request with none of the fields

    cpdef Variant of(self, bytes accept, bytes accept_encoding, bytes accept_language, bytes extra=*)
    cdef Variant find(self, bytes raw)

cpdef bytes slice_url(bytes url, int64_t number)
cpdef bytes whole_url(bytes url)
cpdef bytes key_digest(bytes url, Variant variant)
cpdef bytes stored_name(bytes url, Variant variant, tuple selecting)
