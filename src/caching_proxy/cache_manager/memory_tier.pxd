"""The memory tier: entries by URL and variant, bounded in bytes, evicted by S3-FIFO."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry

cdef class Ghosts:
    cdef uint32_t* prints
    cdef uint32_t* stamps
    cdef uint32_t capacity
    cdef uint32_t clock

    cdef int resize(self, uint32_t capacity) except -1
    cdef void remember(self, uint64_t digest) noexcept
    cdef bint recall(self, uint64_t digest) noexcept

cdef class Queue:
    cdef Entry newest
    cdef Entry oldest
    cdef int64_t size

    cdef push(self, Entry entry)
    cdef remove(self, Entry entry)


@cython.final
cdef class MemoryTier:
    cdef dict urls
    cdef Queue small
    cdef Queue main
    cdef Ghosts ghosts
    cdef readonly int64_t limit
    cdef readonly int64_t entries
    cdef readonly int64_t evictions

    cpdef Entry find(self, bytes url, Variant variant)
    cpdef store(self, Entry entry)
    cpdef int64_t discard_url(self, bytes url) except -1
    cpdef touch(self, Entry entry)
    cdef discard(self, Entry entry)
    cpdef int64_t clear(self) except -1
    cpdef int64_t used(self) noexcept
    cdef bound_variants(self, bytes url)
    cdef unlink(self, Entry entry)
    cdef evict(self)
    cdef bint evict_small(self) except -1
    cdef bint evict_main(self) except -1
