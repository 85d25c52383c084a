"""A cluster of Redis nodes: each key's commands go to the primary that has its slot."""

from caching_proxy.cache_manager.redis_link cimport Call, Redis, RedisLink
from caching_proxy.cache_manager.redis_replica cimport Replica, Replicas
from caching_proxy.fiber cimport Fiber

cdef class RedisCluster(Redis):
    # its state: "closed", "connecting" (its layout is not known yet), "ready" or "waiting" (no node answers)
    cdef RedisLink seed
    cdef dict nodes                   # (host, port) -> RedisLink
    cdef dict greeted                 # link -> how many connections it had when that was last counted
    cdef dict replicas                # RedisLink of a primary -> its Replicas, where they are read at
    cdef list slots                   # slot -> RedisLink, or None
    cdef object due                   # TimerHandle: the next look at the layout
    cdef bint looking

    cdef forget(self, RedisLink primary, bytes key)
    cdef RedisLink of_key(self, bytes key)
    cdef RedisLink node(self, str host, int port)
    cdef look_soon(self)
    cdef RedisLink anybody(self)
    cdef bint lay_out(self, list ranges) except -1
    cdef tuple place(self, list node)
    cdef read_at(self, dict places)
    cdef judge(self)
    cdef str a_reason(self)

cpdef int slot_of(bytes key) except -1
