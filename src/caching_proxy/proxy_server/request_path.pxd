"""The way of a request, top to bottom."""

from caching_proxy.proxy_server.exchange cimport Exchange

cdef object set_out(Exchange exchange)
cdef admit(Exchange x)
