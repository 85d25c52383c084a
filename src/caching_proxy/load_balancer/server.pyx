"""One upstream server: what it may take, how it does, whether requests go to it."""

from caching_proxy.load_balancer.circuit_breaker cimport CLOSED, HALF_OPEN, OPEN, CircuitBreaker, CircuitRules
from caching_proxy.load_balancer.hashing cimport hash_key, keyed_hash
from caching_proxy.load_balancer.measures cimport Latency, Window

cdef tuple ORDERS = ("ready", "drain", "disabled")


cdef class Server:
    """One upstream server of one origin, as this process sees it."""

    def __init__(
        self, str name not None, int weight=1, bint backup=False, limit=0, CircuitRules rules=None,
        bytes session_key not None=b"",
    ):
        """`name` is host:port; `limit` is the most requests it gets at a time (0: any).

        Without rules its circuit never opens; without `session_key` the name can be guessed from the session id.
        """
        self.name = name
        self.weight = weight
        self.backup = backup
        self.limit = limit
        self.id = hash_key(name.encode())
        self.session_id = keyed_hash(name.encode(), session_key) if session_key else self.id
        self.circuit = CircuitBreaker(CircuitRules.__new__(CircuitRules) if rules is None else rules)
        self.why = ""
        self.slot = -1
        self.share = weight
        self.window = Window()
        self.latency = Latency()

    cdef bint takes(self) except -1:
        """Whether it takes one more request now."""
        if self.limit and self.in_flight >= self.limit:
            return False
        return self.circuit.takes()

    cdef bint is_healthy(self) except -1:
        """Whether nothing speaks against it."""
        return not self.down and self.ejected_until == 0 and self.circuit.state != OPEN

    @property
    def state(self):
        """In one word: what keeps requests from it, or `up`."""
        if self.order != 0:
            return ORDERS[self.order]
        if self.leaving:
            return "leaving"
        if self.down:
            return "down"
        if self.ejected_until:
            return "ejected"
        if self.circuit.state == OPEN or self.circuit.state == HALF_OPEN:
            return f"circuit {self.circuit.name}"
        return "slow start" if self.returned_at else "up"

    @property
    def up(self):
        """What the health checks say."""
        return not self.down

    @property
    def ordered(self):
        """ready, drain or disabled."""
        return ORDERS[self.order]

    cdef str cause(self):
        """What speaks against it, in words."""
        if self.down or self.ejected_until:
            return self.why
        return "" if self.circuit.state == CLOSED else self.circuit.why

    def report(self, double now):
        """What there is to tell of it, for JSON; `latency` has the counts of measures.BUCKETS."""
        return {
            "server": self.name,
            "state": self.state,
            "order": self.ordered,
            "weight": self.weight,
            "backup": bool(self.backup),
            "in_flight": self.in_flight,
            "limit": self.limit,
            "requests": self.requests,
            "errors": self.errors,
            "circuit": self.circuit.name,
            "circuit_opened": self.circuit.opened,
            "why": self.cause(),
            "latency": self.latency.buckets(now),
        }
