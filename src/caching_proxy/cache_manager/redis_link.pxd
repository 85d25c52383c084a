"""One connection to a Redis node, which any number of callers share."""

from libc.stdint cimport int64_t

from caching_proxy.fiber cimport Fiber

cdef class Call:
    cdef Fiber asker                  # woken when it is over, or None
    cdef object callback              # called with it then, or None
    cdef readonly object reply        # what Redis answered
    cdef readonly object error        # or why there is no answer: RedisDown, or hiredis.ReplyError
    cdef readonly bint over
    cdef double deadline              # monotonic seconds

    cdef end(self, object reply, object error)

cdef class RedisLink

cdef class Stream:
    cdef RedisLink link
    cdef object transport
    cdef object write                 # transport.write
    cdef object reader                # hiredis.Reader

cdef class RedisLink:
    cdef readonly object address      # RedisAddress
    cdef readonly str state           # "closed", "connecting", "ready", "suspended" or "waiting"
    cdef readonly str why             # not ready: the cause, for people
    cdef object timeout
    cdef object pushed                # called with what comes unasked
    cdef object changed               # called when the state is another
    cdef object loop
    cdef Stream stream                # None: there is no connection
    cdef object waiting               # deque of Calls that Redis has not answered, overdue ones among them
    cdef list out                     # commands of this turn of the loop
    cdef object overdue               # TimerHandle: when the next deadline is due
    cdef double overdue_at
    cdef object due                   # TimerHandle: the next attempt to connect, or the next ping
    cdef object dialing               # Task
    cdef double heard                 # when something came last
    cdef double pause                 # seconds before the next attempt to connect
    # counters
    cdef readonly int64_t calls
    cdef readonly int64_t timeouts
    cdef readonly int64_t connections

    cpdef Call call(self, tuple words, callback=*)
    cdef Call call_for(self, Fiber asker, tuple words)
    cdef Call put(self, Call call, tuple words, double seconds)
    cdef hear(self, Stream stream, bytes data)
    cdef take(self, object reply)
    cdef watch(self, Call call)
    cdef set_state(self, str state, str why)
    cdef drop(self, str why)
