"""When a server that fails is left alone, and how it comes back.

    closed --(errors or slow responses over the last seconds)--> open --(open time)--> half-open
    half-open --(all trials well)--> closed, --(one trial fails)--> open
"""

from caching_proxy.load_balancer.measures cimport SPAN, Outcomes, Window

# (state, event) -> state; what is not here changes nothing.
cdef dict TRANSITIONS = {
    (CLOSED, TRIPPED): OPEN,
    (OPEN, WAITED): HALF_OPEN,
    (HALF_OPEN, PASSED): CLOSED,
    (HALF_OPEN, FAILED): OPEN,
}
cdef tuple NAMES = ("closed", "open", "half-open")


cdef class CircuitRules:
    """When circuits open and close, as settings.OriginSettings have it."""

    def __init__(self, settings, bint alone=False):
        """`alone`: nobody else could answer, so that half the answers are better than none: all have to fail."""
        self.error_rate = 1.0 if alone and settings.circuit_error_rate else settings.circuit_error_rate / 100
        self.latency = settings.circuit_latency
        self.min_requests = settings.circuit_min_requests
        self.open_time = settings.circuit_open_time
        self.trials = settings.circuit_trials


cdef class CircuitBreaker:
    """The circuit of one server."""

    def __init__(self, CircuitRules rules not None):
        self.rules = rules
        self.state = CLOSED
        self.why = ""

    @property
    def name(self):
        """closed, open or half-open."""
        return NAMES[self.state]

    cdef bint takes(self) except -1:
        """Whether a request may go through."""
        if self.state == CLOSED:
            return True
        return self.state == HALF_OPEN and self.under_way + self.passed < self.rules.trials

    cdef bint judge(self, Window window, double now) except -1:
        """Open it if the last seconds are too bad; whether it has changed."""
        cdef Outcomes* last
        cdef CircuitRules rules = self.rules
        if self.state != CLOSED or rules.error_rate == 0:
            return False
        window.at(now)
        last = &window.sums
        if <int>last.requests < rules.min_requests:
            return False
        if last.failures >= rules.error_rate * last.requests:
            self.why = f"{last.failures} of {last.requests} requests failed in {SPAN} s"
        elif rules.latency and last.slow >= rules.error_rate * last.requests:
            self.why = f"{last.slow} of {last.requests} responses took over {rules.latency:g} s in {SPAN} s"
        else:
            return False
        self.go(TRIPPED, now)
        return True

    cdef bint tried(self, bint well, double now) except -1:
        """A trial has ended; whether the circuit has changed."""
        if self.state != HALF_OPEN:
            return False
        if not well:
            self.why = "a trial failed"
            self.go(FAILED, now)
            return True
        self.passed += 1
        if self.passed < self.rules.trials:
            return False
        self.go(PASSED, now)
        return True

    cdef bint wait_over(self, double now) except -1:
        """Let trials through if it was open for long enough; whether it has changed."""
        if self.state != OPEN or now < self.open_until:
            return False
        self.go(WAITED, now)
        return True

    cdef go(self, Event event, double now):
        self.state = TRANSITIONS.get((self.state, event), self.state)
        self.passed = 0
        if self.state == OPEN:
            self.open_until = now + self.rules.open_time
            self.opened += 1
