"""The memory tier: entries by URL and variant, bounded in bytes, evicted by S3-FIFO."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.fields cimport Fields

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
    cdef dict urls                    # URL -> the latest entry of its chain of variants
    cdef dict names                   # half the digits of a name in Redis -> entry; None without Redis
    cdef dict tags                    # tag -> the entries that have it
    cdef Queue small
    cdef Queue main
    cdef Ghosts ghosts
    cdef readonly list doomed         # entries that are dropped, and yet to be taken out of their places
    cdef public int at_once           # how many entries may be dropped without a pause
    cdef readonly int64_t orphans     # octets of what was dropped while it was in use
    cdef readonly int64_t limit
    cdef readonly int variants        # at most, of one URL
    cdef readonly int64_t entries
    cdef readonly int64_t evictions

    cpdef Entry find(self, bytes url, Variant variant)
    cpdef Entry select(self, bytes url, Variant variant, Fields request)
    cdef bint holds(self, bytes url) except -1
    cdef list of_url(self, bytes url)
    cdef list of_prefix(self, bytes prefix, bytes suffix)
    cdef list of_tag(self, bytes tag)
    cpdef store(self, Entry entry)
    cpdef int64_t discard_url(self, bytes url) except -1
    cdef int64_t drop(self, list entries) except -1
    cpdef bint reap(self) except -1
    cdef int64_t expire(self, list entries, int64_t now) except -1
    cpdef touch(self, Entry entry)
    cdef discard(self, Entry entry)
    cdef pin(self, Entry entry)
    cdef unpin(self, Entry entry)
    cpdef int64_t clear(self) except -1
    cpdef int64_t used(self) noexcept
    cdef link(self, Entry entry)
    cdef bound_variants(self, bytes url)
    cdef unlink(self, Entry entry)
    cdef unlink_name(self, Entry entry)
    cdef name_all(self, bint wanted)
    cdef Entry named(self, bytes name)
    cdef unlink_tags(self, Entry entry)
    cdef bint evict(self) except -1
    cdef bint evict_small(self) except -1
    cdef bint evict_main(self) except -1

cdef Entry next_alike(Entry entry, Variant variant)
