"""A fetch's turn among all processes that share a Redis."""

from caching_proxy.proxy_server.fetch cimport Fetch

cdef give_turn_back(Fetch fetch, bint unshared)
