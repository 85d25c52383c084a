"""Servers that do worse than the others are left out for a time: outlier detection, as Envoy calls it."""

import logging

from caching_proxy.load_balancer.measures cimport SPAN, Outcomes
from caching_proxy.load_balancer.server cimport READY, Server

log = logging.getLogger("caching_proxy")

cdef enum:
    COMPARABLE = 20           # requests in the last seconds without which a share of errors says little
    DOUBLINGS = 20            # more would only overflow


cdef class Ejection:
    """When that is, as settings.OriginSettings have it."""

    def __init__(self, settings):
        self.after = settings.eject_after
        self.gap = settings.eject_gap / 100
        self.time = settings.eject_time
        self.time_max = settings.eject_time_max
        self.most = settings.eject_max / 100
        self.panic = settings.panic_threshold / 100

    cdef bint is_due(self, Server server) except -1:
        """Whether it has failed too often in a row."""
        return 0 < self.after <= server.consecutive and server.ejected_until == 0

    cdef bint spares(self, Server server, list servers) except -1:
        """Whether it has to stay: without it too few of `servers` would be left."""
        cdef Server each
        cdef int number = 0, ejected = 0, healthy = 0
        for each in servers:
            if each.order == READY:
                healthy += each is not server and each.is_healthy()
                if each.backup == server.backup:
                    number += 1
                    ejected += each.ejected_until != 0
        return healthy == 0 or (number > 1 and ejected + 1 > self.most * number)

    cdef eject(self, Server server, double now, str why):
        """Leave it out: each time in a row for twice as long."""
        cdef double seconds = min(self.time * 2.0 ** server.ejections, self.time_max)
        server.ejected_until = now + seconds
        server.ejections = min(server.ejections + 1, DOUBLINGS)
        server.consecutive = 0
        server.window.clear()
        server.why = why
        log.warning("server %s is left out for %g s: %s", server.name, seconds, why)

    cdef Server outlier(self, list servers, double now):
        """The one whose share of errors is farthest above that of the others together, if far enough; else None."""
        cdef Server each, worst = None
        cdef double requests = 0, errors = 0, distance, farthest = self.gap
        cdef Outcomes* last
        if self.gap == 0:
            return None
        for each in servers:
            each.window.at(now)
            requests += each.window.sums.requests
            errors += each.window.sums.errors
        for each in servers:
            last = &each.window.sums
            if each.ejected_until or last.requests < COMPARABLE or requests - last.requests < COMPARABLE:
                continue
            distance = last.errors / <double>last.requests - (errors - last.errors) / (requests - last.requests)
            if distance >= farthest:
                worst, farthest = each, distance
        return worst

    cdef str told(self, Server server):
        """Why it is an outlier, in words."""
        return (f"{server.window.sums.errors} of {server.window.sums.requests} requests failed in {SPAN} s, of the"
                " others far fewer")
