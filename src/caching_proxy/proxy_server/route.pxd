"""What becomes of the requests that a route takes: settings as C values, where they go, how they are keyed."""

from libc.stdint cimport int64_t, uint64_t

from caching_proxy.cache_manager.cache_key cimport Variants
from caching_proxy.cache_manager.cache_manager cimport CacheManager
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.storing_policy cimport StoringPolicy
from caching_proxy.http.fields cimport Fields
from caching_proxy.load_balancer.load_balancer cimport LoadBalancer

cdef class Route:
    cdef readonly str name
    # which requests it takes
    cdef list hosts                   # names and, with a dot before them, ends of names; None: any
    cdef list paths                   # beginnings, without a slash at their end; None: any
    cdef object pattern               # of the whole path, or None
    cdef frozenset methods            # None: any
    cdef list fields                  # (name, pattern; True: there, False: not there)
    cdef bint plain                   # hosts and paths alone decide
    # the cache
    cdef CacheManager cache
    cdef bint stores                  # anything at all
    cdef bint coalesces               # requests for the same share a fetch ...
    cdef bint leases                  # ... with all that use the same Redis
    cdef bint obeys_clients           # Cache-Control of requests counts
    cdef StoringPolicy policy         # what may be stored
    cdef tuple targeted               # fields of responses that are for caches alone, names in lower case
    cdef readonly object key_rules    # KeyRules, or None where there are none
    cdef readonly Variants variants   # of its keys
    cdef frozenset cached_methods     # HEAD aside
    cdef int max_ranges
    cdef int64_t max_object
    cdef int64_t slice_size           # octets, 0: large responses are fetched whole
    cdef int64_t stale_if_error       # seconds, where the origin says nothing
    cdef int64_t max_keyed_body
    cdef readonly tuple tag_fields    # names in lower case
    cdef frozenset stripped           # names (lower case) of response fields that clients do not get
    cdef object purgers               # TrustedNetworks
    cdef list bypasses                # conditions on requests, as functions
    cdef frozenset keyed_names        # of request fields, besides those that always are
    cdef frozenset sent_names         # of request fields that are sent on even if they are words of gateways
    # the origin
    cdef readonly LoadBalancer balancer
    cdef bint host_of_server          # Host is the chosen server's
    cdef bytes origin_url             # scheme and authority: the beginning of every URL in a key
    cdef bytes origin_host            # the Host that --host-header names, None for the client's
    cdef bint host_keyed              # the client's authority goes upstream, so it is in the key
    cdef bint forwarded_host
    cdef bint normalize
    cdef bytes strip_prefix           # of the path, without a slash at its end
    cdef bytes base_path              # what the path begins with upstream
    cdef object rewrite               # a pattern, or None
    cdef bytes rewrite_to
    cdef object request_changes       # FieldChanges or None
    cdef object response_changes
    # the hit lane
    cdef bint has_lane                # what it knows of a request is enough to find its key
    cdef bint lane_queries            # ... with a query too
    cdef uint64_t lane_without        # ... but for these fields
    cdef bytes prefix                 # of URLs in keys

    cdef bint takes_host(self, bytes host) except -1
    cdef bint takes_path(self, bytes path) except -1
    cdef bint takes(self, bytes method, bytes host, bytes path, Fields fields) except -1
    cdef bint bypassed(self, bytes target, Fields fields) except -1
    cdef bytes upstream_target(self, bytes target)
    cdef bytes upstream_prefix(self, bytes prefix)
    cdef bytes rewritten(self, bytes target)
    cdef bytes url(self, bytes target, bytes host, bytes scheme)
    cdef set urls(self, bytes target, bytes host, bytes scheme)
    cdef bytes located_url(self, bytes target, bytes host, bytes scheme)
    cdef bytes site(self, bytes host, bytes scheme)
    cdef bytes learn_search(self, bytes target, bytes host, bytes scheme, bytes value)
    cdef tuple shown(self, Entry entry)
