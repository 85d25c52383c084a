"""Which server of an origin gets a request, and what is learnt from how that goes."""

from libc.stdint cimport int64_t, uint64_t

from caching_proxy.fiber cimport Fiber
from caching_proxy.load_balancer.balance_strategy cimport BalanceStrategy
from caching_proxy.load_balancer.circuit_breaker cimport CircuitRules
from caching_proxy.load_balancer.ejection cimport Ejection
from caching_proxy.load_balancer.measures cimport Latency
from caching_proxy.load_balancer.retry cimport RetryPolicy
from caching_proxy.load_balancer.server cimport Order, Server

cdef enum KeyedBy:            # what of a request the strategy goes by
    NOTHING
    URL
    ADDRESS
    HEADER
    COOKIE
    SESSION                   # the cookie that names a server

cdef enum Shortage:           # why nobody takes a request
    UNKNOWN                   # the servers' names are not resolved yet
    OUT                       # none is ready
    CIRCUITS                  # all circuits are open
    BUSY                      # all are at their limit

cdef class Attempt:
    # One request at one server: begun with LoadBalancer.begin, judged at most once, ended in any case.
    cdef LoadBalancer balancer
    cdef readonly Server server
    cdef double began_at              # monotonic seconds; 0: it has not
    cdef bint trial                   # of a half-open circuit
    cdef bint judged                  # its outcome is counted
    cdef bint erred                   # ... and was an error
    cdef bint well                    # ... and was none of a failing server
    cdef bint over

    cdef sends(self)
    cdef sent(self)
    cdef double waited(self, double now) except -1
    cdef heard(self, int status)
    cdef failed(self)
    cdef given_up(self)
    cdef judge(self, bint error, bint failure, double took, double now)
    cdef end(self)

cdef class Place:
    # In the line of those that wait for a server.
    cdef Fiber fiber
    cdef double until                 # monotonic seconds
    cdef bint called                  # it is its turn
    cdef bint expired                 # it has waited too long

cdef class LoadBalancer:
    cdef readonly str name            # of the origin
    cdef readonly str strategy_name
    cdef BalanceStrategy strategy
    cdef bint is_alone                # the origin is its own server
    cdef bint weighted                # weights count
    cdef KeyedBy keyed_by
    cdef bytes key_name               # of the header (in lower case) or cookie
    cdef bytes session_key            # without which nobody can check a guess at a cookie's server; empty: anybody can
    cdef readonly list servers        # all that are there
    cdef list leaving                 # those that are gone and have requests under way
    cdef list chosen                  # from which the strategy chooses
    cdef int count                    # of these
    cdef readonly bint panics         # too few are healthy: all are used
    cdef CircuitRules circuits
    cdef Ejection ejection
    cdef readonly RetryPolicy retry
    cdef object line                  # OrderedDict of Places
    cdef int queue_size
    cdef double queue_timeout
    cdef double slow_start            # seconds
    cdef double clock                 # monotonic seconds, as of the last sweep
    cdef bint resolved                # it is known where the servers are
    cdef str failure                  # why not, in words; None: they are being looked up for the first time
    cdef Latency latency              # of all servers together, where slow requests are hedged ...
    cdef readonly double slow_after   # ... seconds within which 95% of the responses come; 0: not known
    cdef public int64_t hedged
    cdef readonly int64_t retries
    cdef readonly int64_t retries_denied
    cdef readonly int64_t queued
    cdef readonly int64_t turned_away     # nobody took them

    cdef set_key(self, str strategy, settings)
    cdef Attempt begin(self, uint64_t key, list tried)
    cdef Server session_server(self, uint64_t key)
    cdef Server elsewhere(self, list tried)
    cdef Shortage shortage(self) except *
    cdef bint may_retry(self, list tried) except -1
    cdef Place line_up(self, Fiber fiber, double until)
    cdef line_up_again(self, Place place)
    cdef leave_line(self, Place place)
    cdef call_next(self)
    cdef call_all(self)
    cdef expire(self, double now)
    cdef left(self, Server server)
    cdef bint is_idle(self) except -1
    cdef bint learn(self, Server server, state) except -1
    cdef refresh(self)
    cdef list choose_from(self)
    cdef int64_t share_of(self, Server server, bint ramps) except -1
    cdef sweep(self, double now)
    cdef learn_slowness(self, double now)
    cdef bint look_at(self, Server server, double now) except -1
    cdef look_into(self, Server server, bint failure, double now)
    cdef recovered(self, Server server)
    cdef circuit_changed(self, Server server)

cdef bint is_better(Server one, Server other) except -1
