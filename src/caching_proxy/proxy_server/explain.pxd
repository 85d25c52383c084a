"""How the proxy would answer a request, and why."""

from caching_proxy.proxy_server.exchange cimport Client

cdef class Onlooker(Client):
    # Stands where a client's connection would.
    pass
