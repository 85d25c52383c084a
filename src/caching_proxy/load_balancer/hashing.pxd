"""Hashes of 64 bits that are the same in all processes, on all machines and in all runs."""

from libc.stdint cimport uint64_t

cdef uint64_t scramble(uint64_t number) noexcept
cpdef uint64_t hash_key(bytes key) except? 0
cpdef uint64_t keyed_hash(bytes text, bytes key) except? 0
