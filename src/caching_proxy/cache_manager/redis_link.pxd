"""One connection to a Redis node, which any number of callers share."""

from libc.stdint cimport int64_t

from caching_proxy.fiber cimport Fiber

cdef class Redis:
    # One node or several: what commands with one key go to.
    cdef readonly object address      # RedisAddress
    cdef readonly double timeout      # seconds
    cdef readonly str state           # "ready", or in short why not
    cdef readonly str why             # not ready: the cause, for people
    cdef object pushed                # called with what comes unasked
    cdef object changed               # called when the state is another, or a connection was made
    cdef readonly bint replica_reads  # values may come from replicas, which may be behind
    cdef tuple greeting               # commands that a connection to a node begins with
    cdef object loop
    # counters
    cdef readonly int64_t calls
    cdef readonly int64_t timeouts
    cdef readonly int64_t connections
    cdef readonly int64_t losses      # of connections to nodes of a cluster

    cpdef Call call(self, tuple words, callback=*)
    cdef Call call_for(self, Fiber asker, tuple words, double seconds)
    cdef Call read_for(self, Fiber asker, tuple words, double seconds)
    cdef put(self, Call call, tuple words, double seconds)
    cdef int64_t backlog(self) except -1
    cdef set_state(self, str state, str why)

cdef class Call:
    cdef Fiber asker                  # woken when it is over, or None
    cdef object callback              # called with it then, or None
    cdef readonly object reply        # what Redis answered
    cdef readonly object error        # or why there is no answer: RedisDown, or hiredis.ReplyError
    cdef readonly bint over
    cdef double deadline              # monotonic seconds
    cdef object redirect              # asked first where there is an error, or no value: whether it went elsewhere
    cdef tuple words                  # ... the command
    cdef int hops                     # ... how often it has

    cdef end(self, object reply, object error)
    cdef bint is_redirected(self, object error) except -1

cdef class RedisLink(Redis)

cdef class Stream:
    cdef RedisLink link
    cdef object transport
    cdef object write                 # transport.write
    cdef object reader                # hiredis.Reader

cdef class RedisLink(Redis):
    # its state: "closed", "connecting", "ready", "suspended" or "waiting"
    cdef Stream stream                # None: there is no connection
    cdef object waiting               # deque of Calls that Redis has not answered, overdue ones among them
    cdef list out                     # commands of this turn of the loop
    cdef int64_t out_size             # ... in octets
    cdef object overdue               # TimerHandle: when the next deadline is due
    cdef double overdue_at
    cdef object due                   # TimerHandle: the next attempt to connect, or the next ping
    cdef object dialing               # Task
    cdef double heard                 # when something came last
    cdef double pause                 # seconds before the next attempt to connect

    cdef hear(self, Stream stream, bytes data)
    cdef take(self, object reply)
    cdef watch(self, Call call)
    cdef clear_out(self)
    cdef drop(self, str why)
