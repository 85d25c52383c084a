"""One request of a client, on its way to its answer."""

from libc.stdint cimport int64_t, uint64_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.fill cimport Fill, Reader, Source
from caching_proxy.cache_manager.redis_search cimport Lookup
from caching_proxy.http.head cimport RequestHead
from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.route cimport Route
from caching_proxy.proxy_server.service cimport Service

cdef class Client(Source):
    # The client's connection, as its exchanges see it.
    cdef Service service
    cdef object transport
    cdef str peer                     # IP address, "" on a unix socket
    cdef bint secure
    cdef bint trusted                 # of --trusted-proxies
    cdef bint writable                # what is written would not pile up
    cdef bint gone
    cdef bytes forwarding             # the lines that tell the origin of this client, where they never change

    cdef send(self, bytes head, list chunks)
    cdef pin(self, Entry entry)
    cdef done(self, Exchange exchange)

cdef class Exchange(Reader):
    cdef Service service
    cdef Route route                  # None until it is admitted
    cdef Client client
    cdef RequestHead request
    cdef Fill body                    # the request's body, or None
    # the key
    cdef bytes target                 # as it goes upstream, base path included
    cdef bytes host                   # the client's authority
    cdef bytes scheme                 # ... and scheme
    cdef bytes url
    cdef bytes content                # what the request's content adds to the key; None: it is not in there
    cdef Variant variant              # None: the method is not cacheable
    cdef bytes key
    # what is stored
    cdef object wanted                # the request's Directives, as far as they are obeyed
    cdef Entry entry                  # the response that it selects, or None
    cdef Entry partial                # ... of which not all that is asked for is there
    cdef object verdict               # rfc9111.Reuse
    cdef Lookup lookup                # where Redis was asked for it
    cdef bint varies                  # ... and other responses for its URL are stored
    cdef uint64_t session             # session id of the server that the client's cookie names; 0: none
    cdef list purges                  # that Redis is being told of (redis_tier.Errand), since this request; or None
    # a purge
    cdef bint answered                # it is done, or could not be
    cdef object receipt
    # the answer
    cdef list pieces                  # what is still to be sent of a stored response (responding.send_pieces)
    cdef Fetch fetch
    cdef bint follows                 # the fetch was under way already
    cdef bint keep_alive
    cdef bint continued               # 100 (Continue) is sent
    cdef bint begun                   # the final response's head is sent
    cdef bint chunked                 # ... in chunked coding
    cdef bint ended                   # ... whole
    cdef bint broken                  # its body is not whole: the client must see that
    cdef int status
    cdef bint hit                     # ... from the store
    cdef int64_t sent                 # octets of the body

    cdef finish(self)
