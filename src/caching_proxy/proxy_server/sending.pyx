"""From a fetch to its response's head: which server, on which connection, and again elsewhere where that is safe.

What is safe: a request of which nothing was sent, whatever its method; one that was sent only if its method is
idempotent (RFC 9110 9.2.2) and its body, if any, is still there. Each retry goes to a server that has not had the
request yet, and comes out of the origin's retry budget.
"""

import asyncio

from libc.stdint cimport int64_t
from libc.time cimport time

from caching_proxy.load_balancer.load_balancer cimport CIRCUITS, OUT, UNKNOWN, LoadBalancer, Place, Shortage
from caching_proxy.load_balancer.server cimport Server
from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.hedging cimport cancel_hedge, is_carried_on, plan_hedge
from caching_proxy.proxy_server.upstream cimport Pool

from caching_proxy.http import problems
from caching_proxy.http.problems import OriginFailed

cdef frozenset IDEMPOTENT = frozenset(
    (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"QUERY", b"PROPFIND", b"REPORT"))
cdef double FOREVER = float("inf")


async def exchange(Fetch fetch):
    """Send the request and wait for the response's head; a short body is waited for as well (see `holds`)."""
    begin(fetch)
    while True:
        if fetch.attempt is None and not take_server(fetch):
            await wait_for_server(fetch)
        try:
            if not fetch.is_asked:
                if not take_kept(fetch):
                    await connect(fetch)
                ask(fetch)
            while not is_answered(fetch):
                await fetch.changed()
        except OriginFailed as failure:
            if not again(fetch, failure):
                raise
            continue
        if not is_better_elsewhere(fetch):
            return
        go_elsewhere(fetch)


cdef begin(Fetch fetch):
    cdef LoadBalancer balancer = fetch.route.balancer
    fetch.wire = None
    fetch.tried = None
    fetch.is_asked = False
    fetch.avoids_kept = False
    fetch.service.balancers.add(balancer)               # it may be of a configuration that is gone
    if balancer.retry.deadline and fetch.deadline == 0:
        fetch.deadline = fetch.service.clock + balancer.retry.deadline
    balancer.retry.budget.request(balancer.clock)


# -- a server


cdef bint take_server(Fetch fetch) except -1:
    """Whether there is one that takes the request now."""
    fetch.attempt = fetch.route.balancer.begin(fetch.balance_key, fetch.tried)
    return fetch.attempt is not None


async def wait_for_server(Fetch fetch):
    """Wait for one where that makes sense. Raises OriginFailed."""
    cdef LoadBalancer balancer = fetch.route.balancer
    cdef Place place = line_up(fetch, balancer)
    while True:
        while not place.called and not place.expired and fetch.error is None:
            await fetch.changed()
        if fetch.error is not None:
            balancer.leave_line(place)
            if place.called:
                balancer.call_all()
            raise fetch.error
        if place.expired:
            raise OriginFailed(waited_for(fetch, balancer))
        if take_server(fetch):
            return
        refuse_if_vain(balancer)
        balancer.line_up_again(place)


cdef object waited_for(Fetch fetch, LoadBalancer balancer):
    """What has not come in time."""
    if fetch.deadline and fetch.service.clock >= fetch.deadline:
        return problems.ORIGIN_DEADLINE
    return problems.SERVERS_BUSY if balancer.resolved else problems.ORIGIN_UNRESOLVABLE


cdef Place line_up(Fetch fetch, LoadBalancer balancer):
    """A place in the line. Raises OriginFailed where nobody is to be waited for."""
    cdef Shortage shortage = refuse_if_vain(balancer)
    cdef Place place
    cdef double until = fetch.service.clock + balancer.queue_timeout
    if fetch.deadline:
        until = min(until, fetch.deadline)
    place = balancer.line_up(fetch, until)
    if place is None:
        raise OriginFailed(problems.ORIGIN_UNRESOLVABLE if shortage == UNKNOWN else problems.QUEUE_FULL)
    return place


cdef Shortage refuse_if_vain(LoadBalancer balancer) except *:
    """Why nobody takes a request now. Raises OriginFailed where waiting would not change that."""
    cdef Shortage shortage = balancer.shortage()
    if shortage == UNKNOWN and balancer.failure is not None:
        raise OriginFailed(problems.ORIGIN_UNRESOLVABLE, balancer.failure)
    if shortage == CIRCUITS or shortage == OUT:
        balancer.turned_away += 1
        raise OriginFailed(problems.CIRCUITS_OPEN if shortage == CIRCUITS else problems.NO_SERVER)
    return shortage


# -- a connection


cdef bint take_kept(Fetch fetch) except -1:
    """Whether there is a connection to the server that is not in use."""
    fetch.connection = None if fetch.avoids_kept else (<Pool>fetch.attempt.server.pool).take()
    return fetch.connection is not None


async def connect(Fetch fetch):
    """Open one. Raises OriginFailed."""
    dial(fetch, fetch.attempt.server.pool)
    while fetch.connection is None and fetch.error is None:
        await fetch.changed()
    if fetch.error is not None:
        raise fetch.error


cdef ask(Fetch fetch):
    """Send the request, as far as it has come. Raises OriginFailed."""
    if fetch.wire is None or fetch.route.host_of_server:
        fetch.wire = fetch.outgoing(fetch.attempt.server)
    fetch.taken = 0                                     # a body that is kept is sent from its start
    fetch.sent = fetch.body is None
    if not fetch.sent:
        fetch.attempt.sends()
    fetch.requested_at = time(NULL)
    fetch.connection.begin(fetch, fetch.wire)
    fetch.is_asked = True
    if fetch.route.balancer.slow_after:
        plan_hedge(fetch)


cdef bint is_answered(Fetch fetch) except -1:
    """Whether the response can be given to others. Raises OriginFailed where there is none."""
    if fetch.head is None or fetch.error is not None:   # the head may be well, and what came with it malformed
        fetch.progress()
        if fetch.head is None:
            return False
    if not fetch.attempt.judged:
        cancel_hedge(fetch)
        fetch.attempt.heard(fetch.head.status)
        fetch.served_by = fetch.attempt.server
    if not holds(fetch):
        return True
    fetch.progress()
    return fetch.ended


cdef dial(Fetch fetch, Pool pool):
    """Open a connection in a task of its own; it is kept when this fetch no longer wants it."""
    cdef double limit = fetch.deadline - fetch.service.clock if fetch.deadline else FOREVER
    task = asyncio.ensure_future(pool.open(limit))
    task.add_done_callback(fetch.dialed)


cdef bint holds(Fetch fetch) except -1:
    """Whether nobody gets the response before it is whole: it is short, and another server could do it all again."""
    cdef int64_t length = fetch.head.content_length
    if fetch.ended or fetch.is_head or not 0 < length <= HELD:
        return False
    if fetch.head.status in fetch.route.balancer.retry.statuses or retries(fetch) >= fetch.route.balancer.retry.number:
        return False
    return may_resend(fetch) and has_others(fetch)


cdef bint has_others(Fetch fetch) except -1:
    """Whether a server could have the request that has not had it."""
    cdef LoadBalancer balancer = fetch.route.balancer
    cdef Server server
    cdef int others = balancer.count - (fetch.attempt.server.slot >= 0)
    if len(balancer.servers) == 1:
        return False
    if fetch.tried is not None:
        for server in fetch.tried:
            others -= server.slot >= 0
    return others > 0 or balancer.elsewhere(including(fetch)) is not None


# -- again


cdef bint again(Fetch fetch, object failure) except -1:
    """Whether the request may be sent once more after this failure; then all is ready for that."""
    if was_stale(fetch, failure):
        cancel_hedge(fetch)                             # while a connection is opened nobody else may bring one
        fetch.connection = None
        fetch.error = None
        fetch.is_asked = False
        fetch.avoids_kept = True
        return True
    if fetch.orphan or failure.problem is problems.NO_DESCRIPTOR:
        return False
    if fetch.is_to_blame(failure):
        fetch.attempt.failed()
    if is_carried_on(fetch):
        return True
    if not (fetch.connection is None or may_resend(fetch)) or not may_go_elsewhere(fetch):
        return False
    go_elsewhere(fetch)
    return True


cdef bint was_stale(Fetch fetch, object failure) except -1:
    """Whether the kept connection had been closed by the server before it saw the request."""
    if failure.problem is not problems.ORIGIN_RESET or fetch.connection is None or fetch.avoids_kept:
        return False
    return fetch.connection.kept and not fetch.connection.heard and may_resend(fetch)


cdef bint may_resend(Fetch fetch) except -1:
    """Whether the server may see the request twice."""
    if fetch.orphan or fetch.request.method not in IDEMPOTENT:
        return False
    return fetch.body is None or fetch.body.keep


cdef bint is_better_elsewhere(Fetch fetch) except -1:
    """Whether the server could not answer, but another might."""
    if fetch.head.status not in fetch.route.balancer.retry.statuses or not may_resend(fetch):
        return False
    return may_go_elsewhere(fetch)


cdef bint may_go_elsewhere(Fetch fetch) except -1:
    """Whether there is another server, and one more retry; it is counted."""
    cdef LoadBalancer balancer = fetch.route.balancer
    if retries(fetch) >= balancer.retry.number or (fetch.deadline and fetch.service.clock >= fetch.deadline):
        return False
    return balancer.may_retry(including(fetch))


cdef int retries(Fetch fetch) except -1:
    """How often it was sent to another server so far."""
    return 0 if fetch.tried is None else len(fetch.tried)


cdef list including(Fetch fetch):
    """The servers that have had the request, the present one too."""
    cdef Server server = fetch.attempt.server
    return [server] if fetch.tried is None else fetch.tried + [server]


cdef go_elsewhere(Fetch fetch):
    """Forget what this server has said."""
    fetch.tried = including(fetch)
    cancel_hedge(fetch)
    leave_server(fetch)
    fetch.forget_answer()
    fetch.is_asked = False
    fetch.avoids_kept = False


cdef leave_server(Fetch fetch):
    """The server is done with the request."""
    if fetch.attempt is not None:
        fetch.attempt.end()
        fetch.attempt = None
