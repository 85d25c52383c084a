"""The only door to stored responses."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_key cimport Variant, Variants
from caching_proxy.cache_manager.coalescing cimport Coalescing
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.fill cimport Budget
from caching_proxy.cache_manager.generations cimport Generations
from caching_proxy.cache_manager.memory_tier cimport MemoryTier
from caching_proxy.cache_manager.purge_log cimport Stamp
from caching_proxy.cache_manager.redis_lease cimport Lease
from caching_proxy.cache_manager.redis_search cimport Lookup
from caching_proxy.cache_manager.redis_state cimport Holder
from caching_proxy.cache_manager.redis_tier cimport RedisTier
from caching_proxy.fiber cimport Fiber
from caching_proxy.http.fields cimport Fields

cdef class CacheManager(Holder):
    cdef readonly MemoryTier memory
    cdef readonly RedisTier tier      # None: nothing is shared with other processes
    cdef dict variants                # what their keys have besides -> Variants
    cdef readonly Coalescing coalescing
    cdef readonly Budget bodies       # those under way that will be stored
    cdef public Generations generations       # of several workers; None: this process is alone
    cdef object reaping               # TimerHandle: the next bit of what was dropped is given back
    cdef dict searches                # site and path -> its NoVarySearch

    cdef Variants variants_for(self, bytes told)
    cdef bytes same_for(self, bytes path, bytes query)
    cdef learn_search(self, bytes path, bytes value)
    cdef bytes sharing_key(self, bytes url, Variant variant, Fields request)
    cdef tuple tags_of(self, Fields response, tuple fields, bytes url, bytes site)
    cdef int64_t generation_of(self, bytes url) except? -1
    cdef bint is_current(self, Entry entry, bytes url) except -1
    cdef drop_outdated(self, bytes url)
    cdef int64_t invalidate(self, bytes url) except -1
    cdef bint stores(self) except -1
    cdef Stamp stamp(self, bytes url)
    cdef store(self, Entry entry, Stamp stamp, Lease lease)
    cdef drop(self, Entry entry)
    cdef outdate(self, Entry entry, int64_t now, Stamp stamp)
    cdef Lookup look_up(self, Fiber asker, bytes url, Variant variant, Fields request, bint shared)
    cdef Lease lease(self, Fiber asker, bytes url, Variant variant, bytes sharing)
    cdef bint may_share(self, Stamp stamp, int64_t length) except -1
    cdef list under_way(self, Fiber asker)
    cdef forget_named(self, bytes url, Variant variant)
    cdef int64_t purge_indexed(self, list tags, bint soft) except -1
    cdef reap_soon(self)
    cdef int64_t remove(self, list entries, bint soft) except -1
    cpdef int64_t purge_url(self, bytes url, bint soft) except -1
    cpdef int64_t purge_prefix(self, bytes prefix, bytes suffix, bint soft) except -1
    cpdef int64_t purge_tags(self, tags, bint soft) except -1
    cpdef int64_t purge_group(self, bytes site, bytes group, bint soft) except -1
    cpdef int64_t purge_group_anywhere(self, bytes group, bint soft) except -1
    cpdef int64_t clear(self) except -1
