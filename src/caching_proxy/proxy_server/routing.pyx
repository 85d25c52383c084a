"""Which route takes a request: the first that fits.

Paths are compared in normal form (RFC 3986 6.2.2, and with slashes merged), so that no spelling of a path leads past
the route that is meant for it.
"""

import re

from libc.string cimport memchr

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from caching_proxy.http.fields cimport F_HOST, Span
from caching_proxy.http.head cimport SPANS

from caching_proxy.http.target import normalise_target

cdef object SLASHES = re.compile(rb"//+")


cdef class Router:
    """The routes of one configuration, in order; none before there is one."""

    def __init__(self, routes):
        cdef Route route
        self.routes = list(routes)
        self.balancers = frozenset([route.balancer for route in self.routes])
        self.names = frozenset([name for route in self.routes for name in route.hosts or () if name[:1] != b"."])
        if self.routes:
            route = self.routes[0]
            if route.plain and route.hosts is None and route.paths is None:
                self.only = route

    cdef Route find(self, bytes method, bytes host, bytes target, Fields fields):
        """The route of a request for `target` (origin-form or `*`) at `host` (an authority), or None."""
        cdef Route route
        cdef bytes path
        if self.only is not None:
            return self.only
        path = comparable_path(target)
        for route in self.routes:
            if route.takes(method, host or b"", path, fields):
                return route
        return None

    cdef Route find_plain(self, const char* text, Scan* scan):
        """The same for a plain request, as far as host and path alone decide; None where they do not."""
        cdef const char* target = text + scan.target
        cdef Py_ssize_t size = scan.target_size
        cdef const char* query
        cdef Span* span
        cdef bytes host, path
        cdef Route route
        if self.only is not None:
            return self.only
        query = <const char*>memchr(target, c"?", size)
        if query != NULL:
            size = query - target
        if is_odd(target, size):
            return None
        span = &SPANS[scan.where[<int>F_HOST]]
        host = PyBytes_FromStringAndSize(text + span.value, span.value_size)
        path = PyBytes_FromStringAndSize(target, size)
        for route in self.routes:
            if not route.takes_host(host):
                continue
            if not route.plain:
                if route.pattern is None and not route.takes_path(path):
                    continue
                return None
            if route.takes_path(path):
                return route
        return None

    cdef list candidates(self, bytes host, bytes target):
        """The routes that may take requests for a target; `host` is an authority, None: any."""
        cdef Route route
        cdef bytes path = comparable_path(target)
        return [route for route in self.routes if route.takes_host(host) and route.takes_path(path)]


cdef bint is_odd(const char* path, Py_ssize_t size) noexcept:
    """Whether a path may have another normal form."""
    cdef Py_ssize_t at
    for at in range(size):
        if path[at] == c"%":
            return True
        if path[at] == c"/" and at + 1 < size and (path[at + 1] == c"." or path[at + 1] == c"/"):
            return True
    return False


cdef bytes comparable_path(bytes target):
    """The path of a target in normal form."""
    cdef bytes path = target.partition(b"?")[0]
    if is_odd(PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path)):
        path = SLASHES.sub(b"/", normalise_target(path))
    return path
