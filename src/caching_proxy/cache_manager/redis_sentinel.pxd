"""The primary of a service that sentinels watch, wherever it is by now."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.redis_link cimport Call, Redis, RedisLink
from caching_proxy.cache_manager.redis_replica cimport Replica, Replicas
from caching_proxy.fiber cimport Fiber

cdef class RedisSentinel(Redis):
    # its state: that of the link to the primary; "connecting" as well while its role is not known
    cdef list sentinels               # a RedisLink each; the first that is ready is asked
    cdef dict useless                 # RedisLink of a sentinel -> why it is of no use
    cdef RedisLink primary            # or None: nobody has named one yet
    cdef Replicas replicas            # none where they are not read at
    cdef int64_t proven               # which of the primary's connections was last found to be one to a primary
    cdef int64_t past_timeouts        # of primaries before this one
    cdef object due                   # TimerHandle: the next question to a sentinel; None: one is under way

    cdef give_up(self, RedisLink sentinel, str why)
    cdef follow(self, str host, int port)
    cdef ask_role(self)
    cdef look_later(self)
