"""One request to the origin, and what becomes of its answer."""

from libc.stdint cimport int64_t, uint64_t

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.fill cimport Fill, Reader
from caching_proxy.http.fields cimport Fields
from caching_proxy.http.head cimport RequestHead, ResponseHead
from caching_proxy.load_balancer.load_balancer cimport Attempt
from caching_proxy.load_balancer.server cimport Server
from caching_proxy.proxy_server.route cimport Route
from caching_proxy.proxy_server.service cimport Service
from caching_proxy.proxy_server.upstream cimport Receiver, UpstreamConnection

cdef class Fetch(Receiver):
    cdef Service service
    cdef Route route
    # the request
    cdef RequestHead request
    cdef Fill body                    # its body, or None
    cdef bytes target                 # as sent
    cdef bytes host                   # the client's authority
    cdef bytes forwarding             # the lines that tell the origin who asks
    cdef bytes wire                   # the head as sent
    # the server
    cdef uint64_t balance_key         # what the strategy goes by
    cdef Attempt attempt              # at the server that has it now
    cdef Server served_by             # the one that has answered
    cdef list tried                   # servers that had it before; or None
    cdef bint is_asked                # the request is sent, as far as it has come
    cdef Receiver hedge               # the same request at another server, if it is slow here (hedging.pyx)
    cdef object timer                 # ... asyncio.TimerHandle: when that begins
    cdef bytes validator              # by which a body that broke off may go on elsewhere (resuming.pyx) ...
    cdef int64_t resumed_at           # ... from this octet on; 0: it has not
    cdef bint avoids_kept             # a kept connection was closed already: a new one is needed
    cdef UpstreamConnection connection
    cdef bint orphan                  # nobody waits for it
    cdef bint stays                   # it goes on even so
    # the fleet
    cdef bint leased                  # another process may fetch the same: see turn.pyx
    cdef bint unshared                # that one has said that it is for one alone
    cdef Entry found                  # what another process has brought instead
    # storing
    cdef bint stores                  # what it brings may be stored
    cdef Variant variant              # None: the method is not cacheable
    cdef bytes key
    cdef bytes scheme                 # ... and scheme
    cdef bint stands_in               # a stale response answers where this one is an error
    cdef list offered                 # stored responses whose validators go along
    cdef tuple slice                  # first and last octet that are asked for, where --slice makes it so
    cdef Entry partial                # the stored response that it completes ...
    cdef tuple rest                   # ... with these octets: first, last
    cdef bytes suffix                 # ... and those that stand behind them
    cdef bint completing              # what comes is made whole with it
    cdef ResponseHead common          # the head as everybody but the asker gets it; None: the head itself
    cdef object storable              # rfc9111.Storable, or why not
    cdef tuple selecting              # what Vary adds to the key
    cdef int64_t generation           # of the URL when it was asked for
    cdef int64_t requested_at
    cdef int64_t received_at
    # the answer
    cdef int status                   # that the origin gave
    cdef bint contradicted            # it has another state than the stored one
    cdef readonly bint shareable      # other requests for the same may have it
    cdef readonly bint stored
    cdef readonly Entry confirmed     # what the origin's 304 (Not Modified) means, updated for who asked
    cdef readonly Entry renewed       # ... for everybody, as it is stored now; None where nobody else may have it

    @staticmethod
    cdef Fetch of(Service service, Route route, RequestHead request, bytes target, bytes host, bytes forwarding,
                  Variant variant, Fill body)
    cdef date(self)
    cdef bint leads(self) except -1
    cdef bytes outgoing(self, Server server)
    cdef blame(self, object failure)
    cdef bint is_to_blame(self, object failure) except -1
    cdef bint came_late(self) except -1
    cdef give_up_unread(self)
    cdef progress(self)
    cdef send_body(self)
    cdef bint is_futile(self) except -1
    cdef start_over(self)
    cdef forget_answer(self)
    cdef judge(self)
    cdef object verdict(self, Fields request, Fields response)
    cdef learn_search(self)
    cdef judge_tags(self)
    cdef tuple tags_of(self, Fields response)
    cdef judge_sharing(self)
    cdef bint answers_others(self, int64_t now) except -1
    cdef bint answers_a_query(self) except -1
    cdef ResponseHead head_for_all(self)
    cdef Entry confirmed_for(self, bint follower)
    cdef bytes unshareable(self)
    cdef Entry meant(self)
    cdef bint completes(self) except -1
    cdef complete(self)
    cdef finish(self)
    cdef bint outdates(self) except -1
    cdef bint is_asked_for(self) except -1
    cdef bint is_all(self) except -1
    cdef bint is_slice(self) except -1
    cdef replace_selected(self)
    cdef store(self)
    cdef store_part(self)
    cdef Entry as_slice(self, bint follower)
    cdef Entry entry(self, ResponseHead head, Variant variant, tuple selecting, bytes body, tuple parts,
                     int64_t length, object storable, tuple tags)
    cdef settle(self)
    cdef remember_failure(self)
    cdef reader_left(self, Reader reader)

cdef tuple selecting_of(Fields response, Fields request)
