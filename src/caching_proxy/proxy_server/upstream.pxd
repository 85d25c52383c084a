"""Connections to an origin server, and the pool that keeps them."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.coalescing cimport Flight
from caching_proxy.cache_manager.fill cimport Fill, Source
from caching_proxy.http.body cimport BodyDecoder
from caching_proxy.http.head cimport ResponseHead

cdef class Receiver(Flight):
    # A request in flight, as its connection sees it.
    cdef Fill fill                    # the response's body
    cdef ResponseHead head            # the final response, once it has come
    cdef list interims                # 1xx responses nobody has relayed yet
    cdef int interim_count
    cdef bint is_head                 # the method is HEAD: the response ends with its head
    cdef double deadline              # monotonic seconds until which a head has to be there; 0: none
    cdef bint sent                    # the request is sent whole
    cdef bint ended                   # the response has come whole
    cdef object error                 # OriginFailed, when it will not

cdef class UpstreamConnection(Source):
    cdef Pool pool
    cdef object transport
    cdef Receiver receiver
    cdef BodyDecoder decoder
    cdef ResponseHead head
    cdef bytes pending                # the beginning of a head
    cdef bint heard                   # an octet of the response has come
    cdef bint kept                    # it was in the pool: the origin may have closed it meanwhile
    cdef bint writable
    cdef bint closed
    cdef bint counted                 # in the pool's allowance
    cdef bint outdated                # the origin's name leads elsewhere now: not to be kept
    cdef double deadline

    cdef begin(self, Receiver receiver, bytes head)
    cdef write(self, bytes data)
    cdef waits(self, double seconds)
    cdef expire(self, double now)
    cdef read_head(self, bytes data)
    cdef read_body(self, bytes data, Py_ssize_t at)
    cdef ended(self, bint clean)
    cdef fail(self, object error)
    cdef abort(self)

cdef class Allowance:
    cdef set pools                    # all of the process
    cdef int count                    # connections that are open, or are being opened
    cdef readonly int limit

    cdef bint make_room(self) except -1

cdef class Pool:
    cdef object dialer
    cdef Allowance allowance
    cdef list idle
    cdef set connections
    cdef int opening                  # how many more are being opened
    cdef readonly int64_t opened
    cdef int idle_limit
    cdef bint retired                 # nothing new begins here
    cdef bint asked                   # for a connection, since the last sweep
    cdef Py_ssize_t max_head
    cdef double idle_timeout
    cdef double head_timeout
    cdef double body_timeout
    cdef double clock                 # monotonic seconds, as of the last sweep

    cdef UpstreamConnection take(self)
    cdef bint is_done(self) except -1
    cdef release(self, UpstreamConnection connection)
    cdef retire(self)
    cdef sweep(self, double now)
    cdef close(self)
