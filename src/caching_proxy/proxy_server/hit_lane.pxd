"""The hit lane: plain requests that a fresh entry of the memory tier answers on the spot."""

from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.head cimport Scan
from caching_proxy.proxy_server.exchange cimport Client

cdef enum:
    JOIN_MAX = 16384          # octets that are cheaper copied together than written as pieces

cdef Entry answer_hit(Client client, bytes data, Scan* scan)
cdef bint has_large_body(Entry entry, Scan* scan) noexcept
