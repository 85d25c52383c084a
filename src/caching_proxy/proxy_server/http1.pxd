"""A client's HTTP/1.1 connection: the hit lane, then the llhttp lane."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.body cimport BodyDecoder
from caching_proxy.http.head cimport RequestHead, Scan
from caching_proxy.proxy_server.exchange cimport Client, Exchange

cdef class ClientConnection(Client):
    cdef object write                 # transport.write
    cdef int fd                       # of the plain socket, -1: none
    cdef bint direct                  # the hit lane may write past the transport
    cdef bint through_transport       # it may hold octets
    cdef Exchange exchange            # the one under way: there is one at a time
    cdef BodyDecoder decoder          # of its request's body
    cdef bytes pending                # octets behind it, or the beginning of a head
    cdef list large                   # entries whose bodies are among them
    cdef list pinned                  # entries whose bodies are on their way
    cdef list gathered                # answers of the hit lane that stand before those in Service.hit_wire
    cdef int64_t gathered_size
    cdef bint partial                 # `pending` is the beginning of a head, whose time is running
    cdef Py_ssize_t searched          # octets of it in which its end is not
    cdef bint processing
    cdef bint reading                 # the transport has not been told to pause
    cdef bint ended                   # the client will send no more
    cdef bint lingering               # the last response is written; what comes is thrown away
    # time and rate; seconds by Service.clock, 0: none
    cdef double deadline
    cdef double linger_end
    cdef double continue_at           # when 100 (Continue) is sent to a client that waits for it
    cdef int64_t turn                 # since when it is idle, in Service.turns
    cdef double window
    cdef int64_t window_start
    cdef int64_t received
    cdef int64_t written

    cdef process(self, bytes data)
    cdef bint oversize(self, Scan* scan) noexcept
    cdef Py_ssize_t parse(self, bytes data, Py_ssize_t at) except -2
    cdef Py_ssize_t begin(self, RequestHead head, bytes data, Py_ssize_t at) except -2
    cdef Py_ssize_t feed(self, bytes data, Py_ssize_t at) except -2
    cdef gather(self, Entry hit, bint large)
    cdef flush(self)
    cdef unpin(self)
    cdef put(self, list out, int64_t size)
    cdef count(self, int64_t size)
    cdef bint holds_octets(self) except -1
    cdef go_on(self)
    cdef hold(self, bytes data)
    cdef refuse(self, object problem)
    cdef linger(self)
    cdef waits(self, double seconds)
    cdef rests(self)
    cdef encourage(self)
    cdef bint idle(self) noexcept
    cdef sweep(self, double now)
    cdef expire(self)
    cdef check_rate(self, double now, bint sending)
    cdef reset(self)
    cdef int64_t unsent(self) except -1
