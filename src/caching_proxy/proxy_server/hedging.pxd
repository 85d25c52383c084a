"""A slow GET goes to a second server as well, and the first answer counts."""

from caching_proxy.load_balancer.load_balancer cimport Attempt
from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.upstream cimport Receiver, UpstreamConnection

cdef class Hedge(Receiver):
    # The same request at a second server.
    cdef Fetch fetch
    cdef Attempt attempt
    cdef UpstreamConnection connection
    cdef bint over

    cdef send(self, UpstreamConnection connection)
    cdef take_over(self)
    cdef give_up(self)

cdef begin_hedge(Fetch fetch)
cdef plan_hedge(Fetch fetch)
cdef cancel_hedge(Fetch fetch)
cdef bint is_carried_on(Fetch fetch) except -1
