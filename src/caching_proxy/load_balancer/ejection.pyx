"""Servers that do worse than the others are left out for a time: outlier detection, as Envoy calls it."""

import logging

from caching_proxy.load_balancer.measures cimport SPAN
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
        """The one with the greatest share of errors, if that is far enough above that of the better half of the others.

        Not above that of all others: they may fail as well, and one that does not shows that it can be done.
        """
        cdef Server each, worst = None
        cdef list asked = [each for each in servers if each.window.at(now).requests and each.ejected_until == 0]
        cdef double requests = 0, errors = 0
        cdef int number
        if self.gap == 0:
            return None
        asked.sort(key=share_of_errors)
        for each in asked:
            worst = each if each.window.sums.requests >= COMPARABLE else worst
        if worst is None:
            return None
        asked.remove(worst)
        for number, each in enumerate(asked):
            if 2 * number >= len(asked) and requests >= COMPARABLE:
                break
            requests += each.window.sums.requests
            errors += each.window.sums.errors
        if requests < COMPARABLE or share_of_errors(worst) - errors / requests < self.gap:
            return None
        return worst

    cdef str told(self, Server server):
        """Why it is an outlier, in words."""
        return (f"{server.window.sums.errors} of {server.window.sums.requests} requests failed in {SPAN} s, of others"
                " far fewer")


def share_of_errors(Server server):
    """In its window, where requests are, as of when that was last looked at."""
    return server.window.sums.errors / <double>server.window.sums.requests
