"""What a process knows of the Redis that it shares: whether it may be used, its generations, its logs of purges."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.codec cimport Decoded
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.purge_log cimport Purge, PurgeLog, Stamp
from caching_proxy.cache_manager.redis_link cimport Call, Redis
from caching_proxy.fiber cimport Fiber

cdef enum:
    FETCH_TIME = 120000       # milliseconds that a generation outlasts the fetch that needs it
    IN_TAG_LOG = 1            # where this process may be behind
    IN_PREFIX_LOG = 2
    TAG_TIME = 604800000      # ... that one of a tag lasts when nothing is stored with it any more

cdef class Holder:
    # What the tier keeps in step; cache_manager.CacheManager is one.
    cdef take_found(self, Entry entry, int64_t generation)
    cdef drop_named(self, bytes name)
    cdef int64_t drop_url(self, bytes url, bint soft) except -1
    cdef int64_t drop_tag(self, bytes tag, bint soft) except -1
    cdef int64_t drop_prefix(self, bytes prefix, bytes suffix, bint soft) except -1
    cdef int64_t drop_all(self) except -1
    cdef void_all(self)

cdef class Generation:
    cdef int64_t number               # 0: there is none
    cdef bint doubted                 # it may be another by now
    cdef double until                 # monotonic seconds until which it lasts in Redis at least

cdef class RedisState:
    cdef Holder holder
    cdef readonly Redis link
    cdef readonly bytes prefix
    cdef readonly bint live           # what happens in Redis is heard of here
    cdef int behind                   # the logs that could not be read when there was something new in them
    cdef int64_t connection           # the link's count when it was last live
    cdef readonly list pending        # purges that Redis has not confirmed
    cdef PurgeLog log                 # of purges by prefix
    cdef PurgeLog tag_log
    cdef dict known                   # key of a generation -> Generation
    cdef bint is_old                  # Redis before 7.0
    cdef str refused                  # what Redis last said to what it did not store

    cdef double now(self) except? -1
    cpdef bint is_up(self) except -1
    cdef bint is_usable(self) except -1
    cdef Stamp stamp(self, bytes url)
    cdef object standing(self, Decoded decoded)
    cdef bytes url_index(self, bytes url)
    cdef bytes tag_index(self, bytes tag)
    cdef Call ask_for(self, Fiber asker, tuple words)
    cdef Call ask_within(self, Fiber asker, tuple words, double seconds, bint at_primary)
    cdef Call ask_number(self, Fiber asker, bytes index, int64_t lasts, double seconds)
    cdef announce(self, bytes rest)
    cdef list ask_tags(self, Fiber asker, tuple tags, int64_t lasts, double seconds)
    cdef bint has_read(self, Call call, int log) except -1
    cdef int64_t number_of(self, bytes index) except -1
    cdef bint is_doubted(self, Entry entry) except -1
    cdef bint are_known(self, tuple tags) except -1
    cdef extend(self, bytes index, int64_t life, int64_t slack)
    cdef doubt(self, bytes index, bytes rest)
    cdef drop_of(self, bytes rest, bint soft)

cdef bint has_generation(bytes tag) except -1
cdef int64_t new_number() except -1
cdef bint is_full(Call call) except -1
