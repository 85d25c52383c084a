"""The tier that a fleet shares: stored responses in Redis, and what keeps every memory tier in step with it."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.codec cimport Decoded
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.purge_log cimport Purge, PurgeLog, Stamp
from caching_proxy.cache_manager.redis_link cimport Call, Redis
from caching_proxy.fiber cimport Fiber
from caching_proxy.http.fields cimport Fields

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

cdef class Lookup(Fiber):
    cdef RedisTier tier
    cdef bytes name
    cdef bytes selected               # the name that Vary leads to
    cdef Decoded decoded              # what was read
    cdef bytes url
    cdef Variant variant
    cdef Fields request
    cdef int64_t generation           # of the workers' table when it began
    cdef list askers                  # fibers that wait for it
    cdef double deadline
    cdef bint over
    cdef bint varies                  # other requests for the same may get another response
    cdef bint insists                 # on what the primary has
    cdef bint outdated                # a purge came meanwhile
    cdef bint changed_meanwhile       # ... or another response
    cdef Entry entry                  # what was found, or None

    cdef double left(self) except? -1
    cdef Call ask(self, tuple words)
    cdef bytes accept(self, Call call)
    cdef end(self)

cdef class Deposit(Fiber):
    cdef RedisTier tier
    cdef Entry entry
    cdef Stamp stamp

cdef class Errand(Fiber):
    cdef RedisTier tier
    cdef list askers                  # fibers that wait for it
    cdef bint over

cdef class RedisTier:
    cdef Holder holder
    cdef readonly Redis link
    cdef readonly bytes prefix
    cdef bytes name                   # of this process, among those that use the cache
    cdef object figures               # called for its counters
    cdef dict told_figures            # ... as Redis has them
    cdef readonly int64_t processes   # how many use the cache
    cdef double room                  # seconds that a stale response stays
    cdef readonly bint live           # what happens in Redis is heard of here
    cdef PurgeLog log                 # of purges by prefix
    cdef PurgeLog tag_log
    cdef bint behind                  # a log could not be read when there was something new in it
    cdef int64_t losses               # the link's count when it was last looked at
    cdef dict known                   # key of a generation -> Generation
    cdef dict lookups                 # name -> the Lookup that others may join
    cdef set searches                 # every Lookup under way
    cdef readonly list pending                 # purges that Redis has not confirmed
    cdef set errands                  # those under way
    cdef int64_t connection           # the link's count when it was last live
    cdef object beat                  # TimerHandle
    cdef bint recovering              # an errand finds back
    cdef bint told                    # it was said that Redis is away
    cdef str refused                  # what Redis last said to what it did not store
    # counters
    cdef readonly int64_t hits
    cdef readonly int64_t misses
    cdef readonly int64_t stored
    cdef readonly int64_t skipped     # responses that were not stored: too much waits to be written

    cdef double now(self) except? -1
    cdef bytes url_index(self, bytes url)
    cdef bytes tag_index(self, bytes tag)
    cdef Call ask_for(self, Fiber asker, tuple words)
    cdef Call ask_within(self, Fiber asker, tuple words, double seconds, bint at_primary)
    cdef Call ask_number(self, Fiber asker, bytes index, int64_t lasts, double seconds)
    cdef bint has_read(self, Call call) except -1
    cdef set_out(self)
    cdef bint is_usable(self) except -1
    cdef begin(self, int64_t connection)
    cdef tell(self, str why)
    cdef report(self)
    cdef read_log(self)
    cdef lose(self)
    cdef Lookup look_up(self, Fiber asker, bytes url, Variant variant, Fields request, int64_t generation,
                        bint shared)
    cdef ended(self, Lookup lookup)
    cdef object standing(self, Decoded decoded)
    cdef Stamp stamp(self, bytes url)
    cdef deposit(self, Entry entry, Stamp stamp)
    cdef write(self, Entry entry, Stamp stamp, tuple tags)
    cdef write_chunks(self, bytes name, bytes body, int64_t nonce, int64_t life)
    cdef set(self, bytes name, bytes octets, int64_t life)
    cdef int64_t life_of(self, Entry entry) except -1
    cdef extend(self, bytes index, int64_t life, int64_t slack)
    cdef forget(self, Entry entry)
    cdef remove(self, bytes name)
    cdef int64_t number_of(self, bytes index) except -1
    cdef flag(self, bytes name)
    cdef invalidated(self, bytes key)
    cdef doubt(self, bytes index, bytes rest)
    cdef drop_of(self, bytes rest, bint soft)
    cdef outdate(self, bytes url)
    cdef outdate_all(self)
    cdef purge(self, str kind, bytes name, bytes suffix, bint soft)
    cdef postpone(self, tuple purge)
    cdef drop_again(self, tuple purge)
    cdef done(self, Errand errand)
    cdef list under_way(self, Fiber asker)

cdef bint all_done(list errands) except -1
