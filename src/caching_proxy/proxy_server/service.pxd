"""What all connections of one process share: settings as C values, the cache, the origin's pool, the counters."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_manager cimport CacheManager
from caching_proxy.http.wire cimport Wire
from caching_proxy.proxy_server.upstream cimport Pool

cdef enum HostMode:
    HOST_OF_ORIGIN
    HOST_OF_CLIENT
    HOST_OF_SERVER

cdef class Service:
    # the cache
    cdef readonly CacheManager cache
    cdef bint obeys_clients           # Cache-Control of requests counts
    cdef frozenset cached_methods     # HEAD aside
    cdef int max_ranges
    cdef int64_t slice_size           # octets, 0: large responses are fetched whole
    cdef frozenset stripped           # names (lower case) of response fields that clients do not get
    cdef object purgers               # TrustedNetworks
    # the origin
    cdef readonly Pool pool
    cdef bytes origin_url             # scheme and authority: the beginning of every URL in a key
    cdef bytes base_path
    cdef bytes prefix                 # both
    cdef bytes origin_host            # the Host that --host-header names, None for the client's
    cdef bint host_keyed              # the client's authority goes upstream, so it is in the key
    cdef bint forwarded_host
    cdef bint normalize
    cdef bint plain_keys              # targets as they came, and nothing that the hit lane does not know
    cdef frozenset keyed_names        # of request fields, besides those that always are
    cdef frozenset sent_names         # of request fields that are sent on even if they are words of gateways
    cdef int64_t max_keyed_body
    cdef object trusted               # TrustedNetworks
    cdef frozenset authorities        # those that are ours, of an absolute-form target
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
    cdef Wire wire
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
    cdef int64_t origin_failures
    cdef int64_t connections_accepted
    cdef int64_t octets_sent

    cdef bytes url(self, bytes target, bytes host, bytes scheme)
    cdef set urls(self, bytes target, bytes host, bytes scheme)
    cdef bytes site(self, bytes host, bytes scheme)
    cdef int64_t purge_target(self, bytes target, bytes host, bint soft) except -1
    cdef int64_t purge_tags(self, tags, bint soft) except -1
    cdef tuple located(self, bytes url)
    cdef bytes located_url(self, bytes target, bytes host, bytes scheme)
    cdef bytes learn_search(self, bytes target, bytes host, bytes scheme, bytes value)
    cdef bytes canonical(self, bytes target)
