"""From a fetch to its response's head: which server, on which connection, and again elsewhere where that is safe."""

from caching_proxy.proxy_server.fetch cimport Fetch

cdef enum:
    HELD = 65536              # octets of a body that nobody gets before it is whole, while another server could do it

cdef bint take_server(Fetch fetch) except -1
cdef bint take_kept(Fetch fetch) except -1
cdef leave_server(Fetch fetch)
cdef list including(Fetch fetch)
cdef bint may_go_elsewhere(Fetch fetch) except -1
