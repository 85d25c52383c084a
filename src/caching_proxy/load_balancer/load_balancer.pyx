"""Which server of an origin gets a request, and what is learnt from how that goes.

`begin` picks a server and counts the request there; the Attempt that it returns is told what came of it and ends. What
changes the servers' standing (outcomes, health checks, orders, time) rebuilds the list that the strategy chooses from,
so that a pick itself looks at nothing.
"""

import logging
from collections import OrderedDict

cimport cython
from cpython.time cimport monotonic
from libc.stdint cimport int64_t, uint64_t

from caching_proxy.fiber cimport Fiber
from caching_proxy.load_balancer.circuit_breaker cimport CLOSED, HALF_OPEN, OPEN, CircuitRules
from caching_proxy.load_balancer.ejection cimport Ejection
from caching_proxy.load_balancer.measures cimport Latency
from caching_proxy.load_balancer.retry cimport RetryPolicy
from caching_proxy.load_balancer.server cimport DISABLED, DRAIN, READY, Order, Server

from caching_proxy.load_balancer.measures import quantiles
from caching_proxy.load_balancer.randomness import Random
from caching_proxy.load_balancer.strategies import STRATEGIES, WITHOUT_WEIGHTS

log = logging.getLogger("caching_proxy")

cdef str ALONE = "none"
cdef frozenset ERRORS = frozenset((500, 502, 503, 504))
cdef dict NO_STATES = {}
cdef dict NOT_KNOWN = {"up": True, "why": "", "order": "ready"}
cdef dict ORDERS = {"ready": READY, "drain": DRAIN, "disabled": DISABLED}

cdef dict KINDS = {"url": URL, "address": ADDRESS, "header": HEADER, "cookie": COOKIE}

cdef enum:
    STEPS = 10                # of a slow start
    TELLING = 100             # responses without which nobody knows what is slow


@cython.freelist(64)
cdef class Attempt:
    """One request at one server, counted exactly once whatever becomes of it."""

    cdef sends(self):
        """The request is under way yet, at the pace of its client: the server's time has not begun."""
        self.began_at = 0

    cdef sent(self):
        """The server has the whole request."""
        self.began_at = monotonic()

    cdef double waited(self, double now) except -1:
        """The seconds that the server has taken so far."""
        return now - self.began_at if self.began_at else 0

    cdef heard(self, int status):
        """The response's head has come."""
        cdef double now = monotonic()
        cdef bint error = status in ERRORS
        cdef double took = self.waited(now)
        self.well = not error or status == 500 or self.balancer.is_alone
        if self.well and self.began_at:                 # a server that fails fast is not a fast one
            self.server.latency.add(took, now)
            if self.balancer.latency is not None:
                self.balancer.latency.add(took, now)
        self.judge(error, not self.well, took, now)

    cdef failed(self):
        """There is no response, or it breaks off."""
        cdef double now = monotonic()
        if self.judged and not self.well:
            return
        self.well = False
        self.server.latency.punish(now)
        if not self.judged:
            self.judge(True, True, self.waited(now), now)
            return
        self.server.errors += not self.erred
        self.server.window.spoil(now, not self.erred)
        self.balancer.look_into(self.server, True, now)

    cdef judge(self, bint error, bint failure, double took, double now):
        cdef Server server = self.server
        cdef double limit = server.circuit.rules.latency
        cdef bint slow = 0 < limit < took
        self.judged = True
        self.erred = error
        server.errors += error
        server.window.count(now, error, failure, slow)
        if self.trial:
            self.trial = False
            server.circuit.under_way -= 1
            if server.circuit.tried(not failure and not slow, now):
                self.balancer.circuit_changed(server)
        if failure or slow:
            self.balancer.look_into(server, failure, now)

    cdef given_up(self):
        """Nobody waits for the response any more: so long at least it would have taken."""
        cdef double now = monotonic()
        cdef double took = self.waited(now)
        if took > self.server.latency.average(now):
            self.server.latency.add(took, now)
        if 0 < self.server.circuit.rules.latency < took:
            self.judge(False, False, took, now)

    cdef end(self):
        """The server is done with it, or nobody waits for that any more."""
        if self.over:
            return
        self.over = True
        if not self.judged:
            self.given_up()
        if self.trial:
            self.server.circuit.under_way -= 1
        if self.judged and self.well:
            self.server.consecutive = 0
        self.balancer.left(self.server)

    def hear(self, int status):
        """The response's head has come."""
        self.heard(status)

    def fail(self):
        """There is no response, or it breaks off."""
        self.failed()

    def finish(self):
        """The server is done with it."""
        self.end()


cdef class Place:
    """In the line of those that wait for a server."""


cdef class LoadBalancer:
    """The servers of one origin, as this process sees them."""

    def __init__(self, str name not None, settings, str strategy not None=ALONE, seed=None):
        """`settings` are those of settings.OriginSettings; `seed` is for the strategies that draw.

        Without a strategy the origin is its own server.
        """
        self.name = name
        self.strategy_name = strategy
        self.is_alone = strategy is ALONE
        self.strategy = STRATEGIES.get(strategy, STRATEGIES["round-robin"])(Random(seed))
        self.weighted = strategy not in WITHOUT_WEIGHTS
        self.set_key(strategy, settings)
        self.servers = []
        self.leaving = []
        self.chosen = []
        self.circuits = CircuitRules(settings, strategy is ALONE)
        self.ejection = Ejection(settings)
        self.retry = RetryPolicy(settings)
        self.line = OrderedDict()
        self.latency = Latency() if self.retry.hedges else None
        self.queue_size = settings.queue_size
        self.queue_timeout = settings.queue_timeout
        self.slow_start = settings.slow_start
        self.clock = self.strategy.clock = monotonic()

    cdef set_key(self, str strategy, settings):
        kind, _, name = settings.hash_by.partition(":")
        self.keyed_by = NOTHING
        self.session_key = b""
        if strategy == "consistent-hash":
            self.keyed_by = KINDS[kind]
            self.key_name = name.lower().encode() if kind == "header" else name.encode()
        elif strategy == "sticky-cookie":
            self.keyed_by = SESSION
            self.key_name = settings.sticky_cookie.encode()
            self.session_key = (settings.sticky_secret or "").encode()

    # -- requests

    cdef Attempt begin(self, uint64_t key, list tried):
        """Take a server for a request; None where nobody takes it (see `shortage`).

        `key` is what the strategy goes by, if by anything; `tried` are servers that had it already, or None.
        """
        cdef Server server
        cdef Attempt attempt
        if self.count:
            server = self.strategy.choose(key)
        else:
            server = self.session_server(key)
        if server is None or not server.takes() or (tried is not None and server in tried):
            server = self.elsewhere(tried)
            if server is None:
                return None
        server.in_flight += 1
        server.requests += 1
        if server.slot >= 0:
            self.strategy.began(server)
        attempt = Attempt.__new__(Attempt)
        attempt.balancer = self
        attempt.server = server
        attempt.sent()
        if server.circuit.state == HALF_OPEN:
            attempt.trial = True
            server.circuit.under_way += 1
        return attempt

    cdef Server session_server(self, uint64_t key):
        """The server that a session sticks to, where it still may; else None."""
        cdef Server each
        if self.keyed_by == SESSION and key:
            for each in self.servers:
                if each.session_id == key and each.order != DISABLED and each.is_healthy():
                    return each
        return None

    cdef Server elsewhere(self, list tried):
        """The best of those that take a request and have not had this one; None: there is none.

        That is a healthy one with the least to do; backups come in where all others have had it.
        """
        cdef Server each, best = None
        for each in self.chosen:
            if each.takes() and (tried is None or each not in tried) and (best is None or is_better(each, best)):
                best = each
        if tried is not None and (best is None or not best.is_healthy()):
            for each in self.servers:
                if each.backup and each.order == READY and each.is_healthy() and each.takes() and each not in tried:
                    return each
        return best

    cdef Shortage shortage(self) except *:
        """Why nobody takes a request."""
        cdef Server each
        cdef bint ready = False
        if not self.resolved:
            return UNKNOWN
        for each in self.chosen:
            if each.circuit.state == CLOSED:
                return BUSY
        for each in self.servers:
            ready = ready or each.order == READY
        return CIRCUITS if ready else OUT

    cdef bint may_retry(self, list tried) except -1:
        """Whether a request may go to a server that has not had it; it is counted."""
        if self.elsewhere(tried) is None:
            return False
        if not self.retry.budget.retry(self.clock):
            self.retries_denied += 1
            return False
        self.retries += 1
        return True

    cdef left(self, Server server):
        """A request has left it: somebody else may come."""
        server.in_flight -= 1
        if server.slot >= 0:
            self.strategy.ended(server)
        if self.line and self.elsewhere(None) is not None:
            self.call_next()

    cdef bint is_idle(self) except -1:
        """Whether nothing is under way here."""
        cdef Server each
        if self.line:
            return False
        for each in self.servers + self.leaving:
            if each.in_flight:
                return False
        return True

    # -- the line

    cdef Place line_up(self, Fiber fiber, double until):
        """A place behind all others, or None where there is no room; `until` (monotonic seconds) it is kept."""
        cdef Place place
        if len(self.line) >= self.queue_size:
            self.turned_away += 1
            return None
        place = Place.__new__(Place)
        place.fiber = fiber
        place.until = until
        self.line[place] = None
        self.queued += 1
        return place

    cdef line_up_again(self, Place place):
        """Nobody took the request although it was called: it goes on waiting, for no longer than before."""
        place.called = False
        self.line[place] = None

    cdef leave_line(self, Place place):
        self.line.pop(place, None)

    cdef call_next(self):
        """It is the first one's turn."""
        cdef Place place = self.line.popitem(False)[0]
        place.called = True
        place.fiber.wake()

    cdef expire(self, double now):
        """Let those go that have waited too long: nearly in the order in which they came."""
        cdef Place place
        for place in [place for place in self.line if now >= (<Place>place).until]:
            if self.line.pop(place, self) is not self:
                self.turned_away += 1
                place.expired = True
                place.fiber.wake()

    cdef call_all(self):
        """Have as many look again as find something: a server, or that there will be none."""
        cdef int64_t number = len(self.line)
        while self.line and number > 0:
            number -= 1
            if self.elsewhere(None) is None and self.shortage() == BUSY:
                return
            self.call_next()

    # -- the servers

    def server(self, str name not None, int weight=1, bint backup=False, limit=0):
        """A new server, not yet one of `servers`."""
        return Server(name, weight, backup, limit, self.circuits, self.session_key)

    def set_servers(self, list servers not None, states=NO_STATES):
        """These are the servers from now on; requests under way at others end there.

        `states` are what is known of them, as for `tell`.
        """
        cdef Server each
        self.resolved = True
        for each in self.servers:
            if each not in servers:
                each.leaving = True
                self.leaving.append(each)
        for each in servers:
            if self.servers and each not in self.servers:
                self.recovered(each)                    # a newcomer is cold as well
            self.learn(each, states.get(each.name, NOT_KNOWN))
        self.servers = servers
        self.strategy.enroll(servers)
        self.refresh()

    def unresolvable(self, str failure not None):
        """No name leads anywhere, for this reason: whoever waits or comes is to hear of it."""
        cdef int64_t number = len(self.line)
        self.failure = failure
        while self.line and number > 0:
            number -= 1
            self.call_next()

    def tell(self, states):
        """What is known of the servers by name: `up`, `why` it is not, and the `order` (ready, drain, disabled)."""
        cdef Server each
        cdef bint changed = False
        for each in self.servers:
            changed = self.learn(each, states.get(each.name, NOT_KNOWN)) or changed
        if changed:
            self.refresh()

    cdef bint learn(self, Server server, state) except -1:
        """Whether this is news."""
        cdef bint up = state["up"]
        cdef Order order = ORDERS[state["order"]]
        if server.down != up and server.order == order:
            return False
        if server.order != order:
            server.order = order
            log.info("server %s: %s", server.name, state["order"])
        if server.down == up:
            server.down = not up
            if up:
                server.ejected_until = 0
                server.ejected_last = self.clock
                self.recovered(server)
                log.info("server %s is up again", server.name)
            else:
                server.why = state["why"]
                log.warning("server %s is down: %s", server.name, server.why)
        return True

    cdef refresh(self):
        """Settle from which servers is chosen; call those that wait for one."""
        cdef Server each
        cdef bint ramps = False
        self.chosen = self.choose_from()
        self.count = len(self.chosen)
        for each in self.chosen:
            ramps = ramps or each.returned_at != 0
        for each in self.chosen:
            each.share = self.share_of(each, ramps)
        self.strategy.build(self.chosen)
        if self.line:
            self.call_all()

    cdef list choose_from(self):
        """The healthy ones; with backups where too few are; where that is nobody, all whose circuits are not open."""
        cdef list ready = [each for each in self.servers if (<Server>each).order == READY]
        cdef list main = [each for each in ready if not (<Server>each).backup]
        cdef list healthy = [each for each in main if (<Server>each).is_healthy()]
        cdef bint panicked = self.panics
        self.panics = len(healthy) < max(1.0, self.ejection.panic * len(main))
        if not self.panics:
            if panicked and not self.is_alone:
                log.info("origin %s: %d of %d servers are healthy again", self.name, len(healthy), len(main))
            return healthy
        backups = [each for each in ready if (<Server>each).backup and (<Server>each).is_healthy()]
        if backups:
            self.panics = False
            return healthy + backups
        unopened = [each for each in main or ready if (<Server>each).circuit.state != OPEN]
        if unopened and not panicked and not self.is_alone:
            log.error("origin %s: %d of %d servers are healthy: all are used", self.name, len(healthy), len(main))
        return unopened

    cdef int64_t share_of(self, Server server, bint ramps) except -1:
        """Its weight for the strategy; while any starts slowly in STEPS times as fine parts."""
        cdef int64_t weight = server.weight if self.weighted else 1
        if not ramps:
            return weight
        if server.returned_at == 0:
            return weight * STEPS
        return weight * max(1, min(STEPS, <int64_t>((self.clock - server.returned_at) / self.slow_start * STEPS)))

    # -- what changes by itself

    cdef look_into(self, Server server, bint failure, double now):
        """It has failed once more, or was slow."""
        server.consecutive += failure
        if server.circuit.judge(server.window, now):
            self.circuit_changed(server)
        if self.ejection.is_due(server) and not server.down and not self.ejection.spares(server, self.servers):
            self.ejection.eject(server, now, f"{server.consecutive} requests in a row failed")
            self.refresh()

    cdef circuit_changed(self, Server server):
        if server.circuit.state == OPEN:
            log.warning("server %s: its circuit is open: %s", server.name, server.circuit.why)
        elif server.circuit.state == HALF_OPEN:
            log.info("server %s: its circuit is half-open: %d requests try it", server.name, self.circuits.trials)
        else:
            server.window.clear()
            log.info("server %s: its circuit is closed", server.name)
            self.recovered(server)
        self.refresh()

    cdef recovered(self, Server server):
        server.consecutive = 0
        server.returned_at = self.clock if self.slow_start else 0

    cdef sweep(self, double now):
        """Look at what time alone changes; to be called a few times a second."""
        cdef Server each
        cdef bint changed = False
        cdef bint turned = <int64_t>now != <int64_t>self.clock
        self.clock = self.strategy.clock = now
        for each in self.servers:
            changed = self.look_at(each, now) or changed
        if turned and len(self.servers) > 1:
            each = self.ejection.outlier(self.servers, now)
            if each is not None and not each.down and not self.ejection.spares(each, self.servers):
                self.ejection.eject(each, now, self.ejection.told(each))
                changed = True
        if turned and self.latency is not None:
            self.learn_slowness(now)
        if changed:
            self.refresh()
        if self.line:
            self.expire(now)
        if self.leaving:
            self.leaving = [each for each in self.leaving if (<Server>each).in_flight]

    cdef learn_slowness(self, double now):
        cdef list counts = self.latency.buckets(now)
        if sum(counts) >= TELLING:
            self.slow_after = quantiles(counts, (0.95,))[0]

    cdef bint look_at(self, Server server, double now) except -1:
        """Whether the strategy has to know what time has changed of it."""
        cdef bint changed = False
        if server.ejected_until and now >= server.ejected_until:
            server.ejected_until = 0
            server.ejected_last = now
            self.recovered(server)
            log.info("server %s gets requests again", server.name)
            changed = True
        elif server.ejections and not server.ejected_until and now - server.ejected_last >= self.ejection.time_max:
            server.ejections = 0
        if server.circuit.wait_over(now):
            self.circuit_changed(server)
        if server.returned_at:
            changed = True
            if now - server.returned_at >= self.slow_start:
                server.returned_at = 0
        return changed

    # -- for tools

    def look(self, double now):
        """Look at what time (monotonic seconds) alone changes."""
        self.sweep(now)

    def attempt(self, uint64_t key=0, list tried=None):
        """Take a server for a request; None where nobody takes it."""
        return self.begin(key, tried)

    def report(self, double now):
        """What there is to tell of it, for JSON."""
        cdef Server each
        return {
            "origin": self.name,
            "strategy": self.strategy_name,
            "healthy": sum([each.order == READY and each.is_healthy() for each in self.servers]),
            "panic": bool(self.panics),
            "waiting": len(self.line),
            "queued": self.queued,
            "turned_away": self.turned_away,
            "retries": self.retries,
            "retries_denied": self.retries_denied,
            "hedged": self.hedged,
            "slow_after": self.slow_after,
            "servers": [each.report(now) for each in self.servers + self.leaving],
        }


cdef bint is_better(Server one, Server other) except -1:
    """Which of two is to be asked: the healthy one, that with less to do, that which was asked less often."""
    cdef int64_t load, others
    if one.is_healthy() != other.is_healthy():
        return one.is_healthy()
    load, others = one.in_flight * other.share, other.in_flight * one.share
    return load < others if load != others else one.requests < other.requests
