"""What the answer to a validation says of what is stored (RFC 9111 3.2, 4.3.4, 4.3.5)."""

from caching_proxy.proxy_server.fetch cimport Fetch

cdef confirm(Fetch fetch)
cdef renew_by_head(Fetch fetch)
