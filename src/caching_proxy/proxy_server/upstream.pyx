"""Connections to an origin server, and the pool that keeps them.

A connection serves one request at a time. It puts what it hears into its Receiver and wakes it; it knows nothing of
caching. Whatever is not one clean response to one request closes the connection: what follows such a response could be
taken for the next one's.
"""

from time import monotonic

from cpython.bytes cimport PyBytes_GET_SIZE

from caching_proxy.cache_manager.fill cimport Source
from caching_proxy.http.body cimport UNTIL_CLOSE, response_body
from caching_proxy.http.head cimport INTERIMS_MAX, ResponseHead, first_response

from caching_proxy.http import problems
from caching_proxy.http.body import MalformedBody
from caching_proxy.http.problems import OriginFailed


cdef class Receiver(Flight):
    """A request in flight, as its connection sees it."""


cdef class UpstreamConnection(Source):
    """One connection to an origin server: an asyncio protocol."""

    def __init__(self, Pool pool not None):
        self.pool = pool
        self.pending = b""
        self.writable = True

    # -- what the event loop says

    def connection_made(self, transport):
        self.transport = transport
        self.pool.connections.add(self)
        self.waits(self.pool.head_timeout)

    def connection_lost(self, error):
        self.closed = True
        self.pool.connections.discard(self)
        self.pool.allowance.count -= self.counted
        self.counted = False
        if self in self.pool.idle:
            self.pool.idle.remove(self)
        if self.receiver is not None:
            self.fail(OriginFailed(problems.ORIGIN_RESET))

    def eof_received(self):
        if self.receiver is not None and self.decoder is not None and self.decoder.framing == UNTIL_CLOSE:
            self.ended(False)

    def pause_writing(self):
        self.writable = False

    def resume_writing(self):
        self.writable = True
        if self.receiver is not None:
            self.receiver.wake()

    def data_received(self, bytes data):
        if self.receiver is None:
            self.abort()
            return
        self.heard = True
        if self.deadline:
            self.waits(self.pool.body_timeout if self.decoder is not None else self.pool.head_timeout)
        try:
            if self.decoder is not None:
                self.read_body(data, 0)
            else:
                self.read_head(data)
        except OriginFailed as error:
            self.fail(error)

    # -- what its exchange does

    cdef begin(self, Receiver receiver, bytes head):
        """Send a request's head; the response goes to `receiver`. Raises OriginFailed."""
        assert self.receiver is None, "a connection serves one request at a time"
        self.receiver = receiver
        receiver.fill.source = self
        self.heard = False
        self.decoder = None
        self.pending = b""
        self.write(head)

    cdef write(self, bytes data):
        """Send some of a request. Raises OriginFailed."""
        if self.closed or self.transport.is_closing():
            raise OriginFailed(problems.ORIGIN_RESET)
        self.waits(self.pool.head_timeout)
        self.transport.write(data)

    cdef pause(self):
        self.deadline = 0
        if not self.closed:
            self.transport.pause_reading()

    cdef resume(self):
        self.waits(self.pool.body_timeout)
        if not self.closed:
            self.transport.resume_reading()

    cdef abort(self):
        """Close at once; nobody is told."""
        self.receiver = None
        if not self.closed:
            self.closed = True
            self.transport.abort()

    # -- time

    cdef waits(self, double seconds):
        self.deadline = self.pool.clock + seconds
        if self.decoder is None and self.receiver is not None and 0 < self.receiver.deadline < self.deadline:
            self.deadline = self.receiver.deadline

    cdef expire(self, double now):
        """Close it when what it waits for has not come in time."""
        if self.deadline == 0 or now < self.deadline:
            return
        if self.receiver is None:
            self.abort()
        elif self.decoder is None:
            self.fail(OriginFailed(problems.ORIGIN_HEAD_TIMEOUT))
        else:
            self.fail(OriginFailed(problems.ORIGIN_BODY_TIMEOUT))

    # -- the response

    cdef read_head(self, bytes data):
        """Take interim responses and the final one's head; what is behind it is its body."""
        cdef Receiver receiver = self.receiver
        cdef Py_ssize_t seen = PyBytes_GET_SIZE(self.pending)
        cdef ResponseHead head
        if seen:
            data = self.pending + data
        head = first_response(data, seen, self.pool.max_head)
        while head is not None and head.status < 200:
            receiver.interim_count += 1
            if head.status == 101 or receiver.interim_count > INTERIMS_MAX:
                raise OriginFailed(problems.ORIGIN_MALFORMED, "an unexpected interim response")
            receiver.interims.append(head)
            data = data[head.size:]
            head = first_response(data, 0, self.pool.max_head)
        if head is None:
            self.pending = data
            if receiver.interims:
                receiver.wake()
            return
        self.head = receiver.head = head
        self.decoder = response_body(head, receiver.is_head)
        self.waits(self.pool.body_timeout)
        self.read_body(data, head.size)

    cdef read_body(self, bytes data, Py_ssize_t at):
        cdef Receiver receiver = self.receiver
        cdef list chunks = []
        cdef bint first = at != 0
        try:
            at = self.decoder.feed(data, at, chunks)
        except MalformedBody as error:
            receiver.fill.add(chunks)
            raise OriginFailed(problems.ORIGIN_MALFORMED, str(error)) from None
        if chunks:
            receiver.fill.add(chunks)
        if self.decoder.complete:
            self.ended(at == PyBytes_GET_SIZE(data))
        elif first or not receiver.fill.readers:
            receiver.wake()
        else:
            receiver.fill.wake()

    cdef ended(self, bint clean):
        """The response is whole; `clean`: nothing came behind it and its end was not that of the connection."""
        cdef Receiver receiver = self.receiver
        self.receiver = None
        self.decoder = None
        receiver.fill.detach()
        if clean and receiver.sent and self.head.keep_alive and not self.closed and not self.outdated:
            self.pool.release(self)
        else:
            self.abort()
        self.head = None
        receiver.ended = True
        receiver.wake()

    cdef fail(self, object error):
        """The response will not come whole."""
        cdef Receiver receiver = self.receiver
        self.abort()
        receiver.fill.detach()
        receiver.error = error
        receiver.wake()


cdef class Allowance:
    """The connections that a process may have to all servers together: file descriptors are not for these alone."""

    def __init__(self, set pools not None):
        self.pools = pools

    cdef bint make_room(self) except -1:
        """Whether one more may be opened: the one that has been idle for longest makes room for it."""
        cdef UpstreamConnection oldest
        if self.count < self.limit:
            return True
        oldest = min([(<Pool>pool).idle[0] for pool in self.pools if (<Pool>pool).idle], key=idle_since, default=None)
        if oldest is None:
            return False
        oldest.pool.idle.remove(oldest)
        oldest.abort()
        return True


def idle_since(UpstreamConnection connection not None):
    """Monotonic seconds."""
    return connection.deadline - connection.pool.idle_timeout


cdef class Pool:
    """The connections to one origin server; the one used last is taken first."""

    def __init__(self, dialer, settings, Py_ssize_t max_head, Allowance allowance not None):
        """`settings` are those of settings.OriginSettings; `max_head` (octets) is for responses."""
        self.dialer = dialer
        self.allowance = allowance
        self.idle = []
        self.connections = set()
        self.max_head = max_head
        self.idle_limit = settings.origin_keepalive
        self.idle_timeout = settings.origin_idle_timeout
        self.head_timeout = settings.origin_head_timeout
        self.body_timeout = settings.origin_body_timeout
        self.clock = monotonic()

    cdef UpstreamConnection take(self):
        """An idle connection, or None."""
        cdef UpstreamConnection connection
        self.asked = True
        while self.idle:
            connection = self.idle.pop()
            if not connection.closed and not connection.transport.is_closing():
                return connection
        return None

    async def open(self, double limit):
        """A new connection, in at most `limit` seconds. Raises OriginFailed."""
        cdef UpstreamConnection connection = None
        if not self.allowance.make_room():
            raise OriginFailed(problems.NO_DESCRIPTOR)
        self.opening += 1
        self.allowance.count += 1
        self.clock = monotonic()                        # it may be a pool that was done, and is swept no more
        try:
            connection = await self.dialer.connect(self, limit)
            connection.counted = not connection.closed
        finally:
            self.opening -= 1
            self.allowance.count -= connection is None or not connection.counted
        self.opened += 1
        return connection

    def connection(self):
        """The protocol of a connection that is being opened."""
        return UpstreamConnection(self)

    cdef bint is_done(self) except -1:
        """Whether there is nothing to look after any more."""
        return self.retired and not self.connections and self.opening == 0

    def drop_peers(self, gone):
        """Keep no connections to addresses in `gone`: the origin's name no longer leads there."""
        for connection in list(self.connections):
            peer = (<UpstreamConnection>connection).transport.get_extra_info("peername")
            if peer is None or peer[0] not in gone:
                continue
            (<UpstreamConnection>connection).outdated = True
            if connection in self.idle:
                self.idle.remove(connection)
                (<UpstreamConnection>connection).abort()

    cdef release(self, UpstreamConnection connection):
        """Keep a connection for the next request."""
        if len(self.idle) >= self.idle_limit or self.retired:
            connection.abort()
            return
        connection.kept = True
        connection.waits(self.idle_timeout)
        self.idle.append(connection)

    def let_go(self):
        """Keep no connections any more."""
        self.retire()

    cdef retire(self):
        """Nothing new begins here: close what is idle, and the rest when it has done its work."""
        self.retired = True
        for connection in self.idle[:]:
            (<UpstreamConnection>connection).abort()
        self.idle.clear()

    cdef sweep(self, double now):
        """Close what has waited too long."""
        self.clock = now
        for connection in list(self.connections):
            (<UpstreamConnection>connection).expire(now)
        if self.asked and not self.retired:
            self.asked = False
            self.dialer.refresh_if_due(self)

    cdef close(self):
        self.dialer.close()
        for connection in list(self.connections):
            (<UpstreamConnection>connection).abort()
