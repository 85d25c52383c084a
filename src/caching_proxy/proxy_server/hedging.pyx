"""A slow GET goes to a second server as well, and the first answer counts (Dean, Barroso: The Tail at Scale).

Slow is what takes longer than 95% of the origin's responses lately. A hedge is a retry: it comes out of the same
budget, and goes to a server that has not had the request.
"""

import asyncio

from caching_proxy.cache_manager.fill cimport Fill
from caching_proxy.load_balancer.load_balancer cimport LoadBalancer
from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.sending cimport including, leave_server, may_go_elsewhere
from caching_proxy.proxy_server.upstream cimport Pool, UpstreamConnection

from caching_proxy.http import problems
from caching_proxy.http.problems import OriginFailed

cdef double FOREVER = float("inf")


cdef class Hedge(Receiver):
    """Hears what the second server says until it is known whose answer counts."""

    cdef send(self, UpstreamConnection connection):
        self.connection = connection
        connection.begin(self, self.fetch.outgoing(self.attempt.server))

    def dialed(self, task):
        """The connection is open, or is not to be had."""
        cdef UpstreamConnection connection
        failure = OriginFailed(problems.ORIGIN_RESET) if task.cancelled() else task.exception()
        if failure is not None:
            if not self.over:
                if failure.problem is not problems.NO_DESCRIPTOR:
                    self.attempt.failed()
                self.give_up()
            return
        connection = task.result()
        if self.over:
            connection.pool.release(connection)
            return
        try:
            self.send(connection)
        except Exception as failure:
            self.error = failure
            self.wake()

    cdef wake(self):
        """The connection has something to say."""
        if self.over:
            return
        if self.error is not None:
            self.attempt.failed()
            self.give_up()
        elif self.head is not None and self.fetch.head is None and self.fetch.error is None:
            if self.head.status in self.fetch.route.balancer.retry.statuses:
                self.attempt.heard(self.head.status)    # the first server may have something better
                self.give_up()
                return
            self.take_over()
            self.fetch.wake()

    cdef take_over(self):
        """From now on the fetch hears the second server."""
        cdef Fetch fetch = self.fetch
        self.over = True
        fetch.hedge = None
        fetch.tried = including(fetch)
        leave_server(fetch)
        if fetch.connection is not None and fetch.connection.receiver is fetch:
            fetch.connection.abort()
        fetch.attempt = self.attempt
        fetch.connection = self.connection
        fetch.head = self.head
        fetch.ended = self.ended
        if self.connection.receiver is self:
            self.connection.receiver = fetch
            fetch.fill.source = self.connection
        fetch.fill.add(self.fill.chunks)

    cdef give_up(self):
        """The second server is asked no longer."""
        self.over = True
        self.fetch.hedge = None
        self.attempt.end()
        if self.connection is not None and self.connection.receiver is self:
            self.connection.abort()


cdef plan_hedge(Fetch fetch):
    """Hedge the request that was just sent, once it is slow."""
    cdef LoadBalancer balancer = fetch.route.balancer
    if fetch.request.method == b"GET" and fetch.body is None:
        fetch.timer = asyncio.get_running_loop().call_later(balancer.slow_after, fetch.hedge_now)


cdef begin_hedge(Fetch fetch):
    """Ask a second server, where one is to be had."""
    cdef LoadBalancer balancer = fetch.route.balancer
    cdef Hedge hedge
    cdef Pool pool
    cdef UpstreamConnection connection
    if fetch.head is not None or fetch.error is not None or fetch.attempt is None or fetch.hedge is not None:
        return
    if fetch.orphan or not may_go_elsewhere(fetch):
        return
    hedge = Hedge.__new__(Hedge)
    hedge.attempt = balancer.begin(fetch.balance_key, including(fetch))
    if hedge.attempt is None:
        return
    hedge.fetch = fetch
    hedge.fill = Fill()
    hedge.interims = []
    hedge.sent = True
    hedge.deadline = fetch.deadline
    fetch.hedge = hedge
    balancer.hedged += 1
    pool = hedge.attempt.server.pool
    connection = pool.take()
    if connection is None:
        asyncio.ensure_future(pool.open(FOREVER)).add_done_callback(hedge.dialed)
    else:
        hedge.send(connection)


cdef cancel_hedge(Fetch fetch):
    """Whose answer counts is settled, or nobody waits for one."""
    if fetch.timer is not None:
        fetch.timer.cancel()
        fetch.timer = None
    if fetch.hedge is not None:
        (<Hedge>fetch.hedge).give_up()


cdef bint is_carried_on(Fetch fetch) except -1:
    """Whether the second server goes on with what the first one has failed at."""
    cdef Hedge hedge = <Hedge>fetch.hedge
    if hedge is None or hedge.connection is None or hedge.connection.receiver is not hedge:
        return False
    hedge.take_over()
    fetch.error = None
    return True
