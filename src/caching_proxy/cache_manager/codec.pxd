"""A stored response as the octets that Redis holds."""

from libc.stdint cimport int64_t, uint32_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.purge_log cimport Stamp

cdef enum:
    BODY_MAX = 16777216       # octets of a body that is stored: more would hold up everybody else
    CHUNK = 262144            # octets of a body that one key holds

cdef class Decoded:
    cdef readonly Entry entry
    cdef readonly tuple generations       # of the entry's tags when it was stored, in their order; or None
    cdef readonly Stamp stamp
    cdef readonly int64_t nonce           # that each of the chunks begins with
    cdef readonly uint32_t chunks         # in which its body lies elsewhere; 0: it is here
    cdef readonly bint compressed         # the body is, with Zstandard (RFC 8878)

cpdef bytes encode(Entry entry, Stamp stamp, tuple generations=*, bytes compressed=*, uint32_t chunks=*,
                   int64_t nonce=*)
cdef uint32_t chunk_count(int64_t length) noexcept
cdef bytes chunk_name(bytes name, uint32_t number)
cdef bytes chunk_octets(bytes body, uint32_t number, int64_t nonce)
cdef bytes nonce_octets(int64_t nonce)
cpdef bint is_other_version(bytes data) except -1
cpdef Decoded decode(bytes data, bytes url, Variant variant, bytes key)
cpdef bytes encode_names(tuple selecting)
cpdef tuple vary_names(bytes data)
