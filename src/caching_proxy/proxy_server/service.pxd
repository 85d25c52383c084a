"""What all connections of one process share: settings as C values, the cache, the origin's pool, the counters."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_manager cimport CacheManager
from caching_proxy.fiber cimport Fiber
from caching_proxy.http.wire cimport Wire
from caching_proxy.proxy_server.routing cimport Router
from caching_proxy.proxy_server.upstream cimport Allowance

cdef class Waiter(Fiber):
    cdef object future

cdef class Service:
    # the cache
    cdef readonly CacheManager cache
    # where requests go
    cdef readonly Router router
    cdef readonly set pools           # those in use, and those whose last connections are still at work
    cdef readonly Allowance allowance  # of connections to servers
    cdef readonly set balancers       # those in use, and those that still have requests
    cdef object trusted               # TrustedNetworks
    cdef frozenset authorities        # those that are ours, of an absolute-form target; lower case
    cdef bytes via
    cdef bytes cache_status           # "Cache-Status: NAME"
    cdef bytes hit_status             # the tail of a hit between its age and its ttl
    # limits
    cdef Py_ssize_t max_head
    cdef Py_ssize_t max_target
    cdef int max_fields
    cdef int64_t max_body             # -1: none
    cdef int max_connections
    cdef int max_per_client           # 0: none
    cdef double head_timeout
    cdef double body_timeout
    cdef double send_timeout
    cdef double keepalive_timeout
    cdef double min_rate
    # state
    cdef set clients
    cdef dict per_client
    cdef object access_log
    cdef public object relay          # carries out clients' purges in all workers (proxy_server.Relay), or None
    cdef Wire wire                    # for one head
    cdef Wire hit_wire                # for the hit lane's answers to what one client has just sent
    cdef double clock                 # monotonic seconds, as of the last sweep
    cdef int64_t turns                # counts the times that a client connection became idle
    cdef bint draining
    cdef object empty                 # asyncio.Event: draining, and no client is connected any more
    # counters
    cdef int64_t requests
    cdef int64_t hits
    cdef int64_t misses
    cdef int64_t refused
    cdef int64_t collapsed            # answers that shared a fetch
    cdef int64_t revalidated          # stored responses that the origin confirmed
    cdef int64_t stale                # answers with a stale response
    cdef int64_t purged               # stored responses
    cdef int64_t origin_requests
    cdef readonly list unheard        # purges that Redis has not heard of, while none is used
    cdef int64_t spared               # ... that another process made for us
    cdef int64_t origin_failures
    cdef int64_t origin_connections_opened    # by pools that are gone
    cdef int64_t connections_accepted
    cdef int64_t octets_sent

    cdef bint is_ours(self, bytes authority) except -1
    cdef int64_t purge_target(self, bytes target, bytes host, bint soft) except -1
    cdef int64_t purge_prefix(self, bytes prefix, bytes host, bint soft) except -1
    cdef sweep_upstreams(self, double now)
    cdef forget_pools(self)
    cdef int64_t purge_tags(self, tags, bint soft) except -1
    cdef int64_t purge_group(self, bytes site, bytes group, bint soft) except -1
