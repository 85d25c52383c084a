"""Answers on their way to the client: from the store, from a fetch, of our own."""

from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.proxy_server.exchange cimport Exchange
from caching_proxy.proxy_server.fetch cimport Fetch

cdef respond_stored(Exchange x, Entry entry, bytes fate, bytes detail)
cdef respond_stale(Exchange x)
cdef respond_confirmed(Exchange x)
cdef bint part_answers(Exchange x, Entry entry) except -1
cdef respond_unsatisfiable(Exchange x, Entry entry, bytes fate)
cdef begin_response(Exchange x, bytes fate)
cdef send_more(Exchange x)
cdef relay_interims(Exchange x)
cdef bytes fate_of(Exchange x)
cdef bytes outcome(Fetch fetch)
cdef refuse(Exchange x, object problem, bytes fate)
cdef respond_own(Exchange x, int status, bytes reason, bytes body, bytes more, bytes content_type=*)
cdef bytes connection_line(Exchange x)
cdef send(Exchange x, bytes head, list chunks)
