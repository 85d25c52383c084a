"""One request to the origin, and what becomes of its answer.

A fetch lives by itself: its reader may go while it goes on, and it stores what it brings.
"""

import asyncio

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.time cimport time

from caching_proxy.cache_manager.fill cimport Fill
from caching_proxy.http.head cimport RequestHead
from caching_proxy.proxy_server.heads cimport stored_entry
from caching_proxy.proxy_server.service cimport Service
from caching_proxy.proxy_server.upstream cimport Receiver

from caching_proxy.cache_manager.rfc9111.storable import Storable, judge_storing
from caching_proxy.http import problems
from caching_proxy.http.problems import OriginFailed, RequestRefused

# RFC 9110 9.2.2: what may be sent again when nothing was heard.
cdef frozenset IDEMPOTENT = frozenset(
    (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"QUERY", b"PROPFIND", b"REPORT"))


cdef class Fetch(Receiver):
    """A fiber from the choice of a connection to the stored response."""

    def __cinit__(self, Service service, RequestHead request, bytes wire, Fill body=None):
        self.service = service
        self.request = request
        self.wire = wire
        self.body = body
        self.fill = Fill()
        self.interims = []
        self.is_head = request.method == b"HEAD"
        self.sent = body is None
        if body is not None:
            body.reader = self

    async def run(self):
        """Bring the response; what went wrong is in `error`."""
        if self.variant is not None:
            self.service.fetches.add(self)
        try:
            await self.exchange()
            self.judge()
            self.opened = True
            while not self.ended:
                if self.fill.reader is not None:
                    self.fill.reader.wake()
                await self.changed()
                self.progress()
            self.store()
            self.fill.finish()
        except (OriginFailed, RequestRefused) as failure:
            self.error = failure
            self.fill.fail(failure)
        except Exception:
            self.error = OriginFailed(problems.INTERNAL)
            if self.connection is not None and self.connection.receiver is self:
                self.connection.abort()
            self.fill.fail(self.error)
            raise
        finally:
            self.settle()

    async def exchange(self):
        """Send the request and wait for the response's head; once more on a new connection if a kept one was stale."""
        cdef bint again = True
        self.connection = self.service.pool.take()
        while True:
            if self.connection is None:
                await self.connect()
            self.requested_at = time(NULL)
            self.connection.begin(self, self.wire)
            try:
                while self.head is None:
                    self.progress()
                    if self.head is None:
                        await self.changed()
                return
            except OriginFailed as failure:
                if not (again and self.resendable() and self.was_stale(failure)):
                    raise
                self.connection = None
                self.error = None
                again = False

    async def connect(self):
        self.dial()
        while self.connection is None and self.error is None:
            await self.changed()
        if self.error is not None:
            raise self.error

    cdef dial(self):
        """Open a connection in a task of its own; it is kept when this fetch no longer wants it."""
        task = asyncio.ensure_future(self.service.pool.open())
        task.add_done_callback(self.dialed)

    def dialed(self, task):
        """The connection is open, or is not to be had."""
        if task.cancelled():
            self.error = OriginFailed(problems.ORIGIN_RESET)
        elif task.exception() is not None:
            self.error = task.exception()
        elif self.orphan:
            self.service.pool.release(task.result())
            self.error = OriginFailed(problems.ORIGIN_RESET)
        else:
            self.connection = task.result()
        self.wake()

    cdef progress(self):
        """Tell of 1xx, send on what has come of the request's body, and raise what went wrong."""
        if self.error is not None:
            raise self.error
        if self.interims and self.fill.reader is not None:
            self.fill.reader.wake()
        if not self.sent and self.connection.receiver is self:
            self.send_body()

    cdef bint was_stale(self, object failure) except -1:
        """Whether the kept connection had been closed by the origin before it saw the request."""
        return failure.problem is problems.ORIGIN_RESET and self.connection.kept and not self.connection.heard

    cdef bint resendable(self) except -1:
        return not self.orphan and self.body is None and self.request.method in IDEMPOTENT

    cdef send_body(self):
        cdef bytes chunk
        if self.body.error is not None:
            self.connection.abort()
            raise self.body.error
        if not self.connection.writable:
            return
        for chunk in self.body.take():
            if self.request.chunked:
                self.connection.write(b"%x\r\n%b\r\n" % (PyBytes_GET_SIZE(chunk), chunk))
            else:
                self.connection.write(chunk)
        if self.body.complete:
            self.sent = True
            if self.request.chunked:
                self.connection.write(b"0\r\n\r\n")

    # -- storing

    cdef judge(self):
        """Decide whether the response will be stored, by RFC 9111 3."""
        self.received_at = time(NULL)
        if self.variant is None:
            return
        self.storable = judge_storing(self.request.method, self.request.fields, self.head.status, self.head.fields,
                                      self.service.rules, self.requested_at, self.received_at)
        self.keep_or_not()

    cdef keep_or_not(self):
        """Hold the body for the store where it is storable and there is room."""
        cdef int64_t expected = self.head.content_length
        if isinstance(self.storable, Storable) and expected <= self.service.max_object:
            self.fill.hold(self.service.bodies, self.service.max_object)

    cdef store(self):
        if self.fill.keep and not self.void:
            self.stored = True
            self.service.memory.store(stored_entry(self.service, self.url, self.variant, self.key, self.head,
                                                   self.fill.whole(), self.storable, self.received_at))

    cdef settle(self):
        """Give back what was reserved and let go of everything."""
        self.service.fetches.discard(self)
        self.fill.let_go()
        self.connection = None
        self.body = None

    # -- readers

    cdef reader_left(self):
        """The client is gone: the fetch goes on only where more than half of a body that will be stored has come."""
        self.fill.leave()
        self.orphan = True
        if self.ended or self.error is not None:
            return
        if self.opened and self.fill.keep and self.head.content_length > 0 and (
                2 * self.fill.size > self.head.content_length):
            return
        self.error = OriginFailed(problems.ORIGIN_RESET, "nobody waits for it")
        if self.connection is not None and self.connection.receiver is self:
            self.connection.abort()
        self.wake()
