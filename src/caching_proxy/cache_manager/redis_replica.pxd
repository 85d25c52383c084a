"""Replicas that values are read at, in step with what they tell later."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.redis_link cimport Call, Redis, RedisLink
from caching_proxy.fiber cimport Fiber

cdef class Replica(RedisLink):
    cdef object news                  # what takes the news that counts
    cdef dict told                    # key -> None: of which a value was told that is not known to have changed since

    cdef Call read(self, Redis primary, Fiber asker, tuple words, double seconds)
    cdef forget(self, bytes key)
    cdef recant(self)

cdef class Replicas:
    cdef Redis owner                  # whose replicas they are: of its address, timeout and pushed are theirs
    cdef tuple greeting
    cdef dict links                   # (host, port) -> Replica
    cdef list ring                    # the same in a row
    cdef int turn                     # who of them was asked last

    cdef keep(self, list places)
    cdef Replica dial(self, tuple place)
    cdef close(self)
    cdef Replica next(self)
    cdef forget(self, bytes key)
    cdef int64_t timeouts(self) except -1
