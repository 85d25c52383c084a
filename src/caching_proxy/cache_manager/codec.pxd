"""A stored response as the octets that Redis holds."""

from libc.stdint cimport int64_t, uint32_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry

cdef class Decoded:
    cdef readonly Entry entry
    cdef readonly tuple generations       # of the entry's tags when it was stored, in their order; or None
    cdef readonly uint32_t chunks         # in which its body lies elsewhere; 0: it is here
    cdef readonly bint compressed         # the body is, with Zstandard (RFC 8878)

cpdef bytes encode(Entry entry, tuple generations=*, bytes compressed=*, uint32_t chunks=*)
cpdef Decoded decode(bytes data, bytes url, Variant variant, bytes key)
