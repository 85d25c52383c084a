"""Which route takes a request."""

from caching_proxy.http.fields cimport Fields
from caching_proxy.http.head cimport Scan
from caching_proxy.proxy_server.route cimport Route

cdef class Router:
    cdef readonly list routes
    cdef readonly frozenset balancers
    cdef Route only                   # where there is one for everything
    cdef frozenset names              # hosts that the routes name

    cdef Route find(self, bytes method, bytes host, bytes target, Fields fields)
    cdef Route find_plain(self, const char* text, Scan* scan)
    cdef list candidates(self, bytes host, bytes target)

cdef bytes comparable_path(bytes target)
