"""A body that breaks off goes on at another server."""

from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.upstream cimport Receiver

cdef class Continuation(Receiver):
    # Hears what the other server says until it is known whether that fits.
    cdef Fetch fetch

cdef bint may_resume(Fetch fetch, object failure) except -1
