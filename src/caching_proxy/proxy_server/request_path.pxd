"""The way of a request, top to bottom."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.proxy_server.exchange cimport Exchange

cdef object set_out(Exchange exchange)
