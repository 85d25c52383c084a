"""Hashes of 64 bits that are the same in all processes, on all machines and in all runs."""

from hashlib import blake2b

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t


cdef uint64_t scramble(uint64_t number) noexcept:
    """The finalizer of splitmix64: every bit of what goes in changes every bit of what comes out, one to one."""
    number = (number ^ (number >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    number = (number ^ (number >> 27)) * <uint64_t>0x94D049BB133111EB
    return number ^ (number >> 31)


cpdef uint64_t hash_key(bytes key) except? 0:
    """The hash of what requests are told apart by, or of a server's name: FNV-1a, scrambled."""
    cdef const unsigned char* octets = <const unsigned char*>PyBytes_AS_STRING(key)
    cdef uint64_t digest = <uint64_t>0xCBF29CE484222325
    cdef Py_ssize_t at
    for at in range(PyBytes_GET_SIZE(key)):
        digest = (digest ^ octets[at]) * <uint64_t>0x100000001B3
    return scramble(digest)


cpdef uint64_t keyed_hash(bytes text, bytes key) except? 0:
    """The hash by which nobody without the key (of any length) can check a guess at the text: BLAKE2b (RFC 7693)."""
    return int.from_bytes(blake2b(text, digest_size=8, key=blake2b(key).digest()).digest(), "big")
