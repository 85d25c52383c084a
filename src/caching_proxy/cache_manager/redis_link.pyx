"""One connection to a Redis node, which any number of callers share, in RESP3.

What is asked in one turn of the event loop leaves in one piece; Redis answers in order. Nobody waits longer than the
deadline: a Call that is overdue is over, and the link is "suspended" until Redis has caught up with all that is
overdue, so that a slow Redis costs those few the deadline and nobody else anything. A connection that breaks, or over
which nothing came for SILENCE seconds, is made anew, after pauses that grow.
"""

import asyncio
import logging
import os
import ssl
from collections import deque

import hiredis

from caching_proxy.fiber cimport Fiber

log = logging.getLogger("caching_proxy")

cdef enum:
    WAITING_MAX = 16384       # calls that wait for an answer; then there are no more

cdef double SILENCE = 2.0     # seconds without a word from Redis after which the connection counts as broken
cdef double PING = 1.0        # seconds between pings
cdef double PAUSE = 0.05      # seconds before the second attempt to connect, then doubled ...
cdef double PAUSE_MAX = 1.0   # ... up to this
cdef double GREETING = 2.0    # seconds that connecting may take, with all that a connection begins with
cdef str NAME = "caching-proxy"


class RedisDown(Exception):
    """Redis does not answer, or not in time: one line says why."""


cdef class Redis:
    """What commands go to, be it one node or a cluster."""

    def __init__(self, address, double timeout, pushed=None, changed=None, greeting=(), *, replica_reads=False):
        """`timeout`: seconds that a call may take. `pushed` takes what comes unasked, `changed` this object.

        `greeting` are commands that a connection to a node begins with besides those of its address. With
        `replica_reads` replicas, where there are any, are asked what `read_for` is about.
        """
        self.address = address
        self.timeout = timeout
        self.pushed = pushed
        self.changed = changed
        self.greeting = tuple(greeting)
        self.replica_reads = replica_reads
        self.state = "closed"
        self.why = "it has not been asked yet"

    cdef set_state(self, str state, str why):
        self.state = state
        self.why = why
        if self.changed is not None:
            self.changed(self)

    cpdef Call call(self, tuple words, callback=None):
        """Ask; `callback` is called with the Call when it is over, which may be at once."""
        cdef Call call = Call.__new__(Call)
        call.callback = callback
        self.put(call, words, self.timeout)
        return call

    cdef Call call_for(self, Fiber asker, tuple words, double seconds):
        """Ask for a fiber, which is woken when the call is over, unless it is that at once."""
        cdef Call call = Call.__new__(Call)
        self.put(call, words, seconds)
        call.asker = None if call.over else asker
        return call

    cdef Call read_for(self, Fiber asker, tuple words, double seconds):
        """The same for the value of the key `words[1]`, which may be a little behind."""
        return self.call_for(asker, words, seconds)

    def stand_in(self, Call call, error):
        """Ask here what a replica has not told, in the time that is left; whether there is any."""
        cdef double left = call.deadline - self.loop.time()
        if left <= 0:
            return False
        call.redirect = call.callback = None
        self.put(call, call.words, left)
        return True

    cdef put(self, Call call, tuple words, double seconds):
        """Ask, for at most so many seconds."""
        raise NotImplementedError

    cdef int64_t backlog(self) except -1:
        """Octets that wait to be written."""
        raise NotImplementedError

    def nodes_now(self):
        """Those that hold keys, each once."""
        return [self]

    def is_whole(self):
        """Whether all of them answer."""
        return self.state == "ready"

    def ask(self, *words):
        """The reply, as a future. RedisDown, or hiredis.ReplyError with what Redis says."""
        future = asyncio.get_running_loop().create_future()

        def over(Call call):
            if future.done():
                return
            if call.error is not None:
                future.set_exception(call.error)
            else:
                future.set_result(call.reply)

        self.call(words, over)
        return future


cdef class Call:
    """One command: over with a reply, with an error, or at its deadline."""

    cdef end(self, object reply, object error):
        if self.over or (reply is None and self.is_redirected(error)):
            return
        self.over = True
        self.reply = reply
        self.error = error
        if self.callback is not None:                   # first: what it learns is what the asker looks at
            self.callback(self)
        if self.asker is not None:
            self.asker.wake()

    cdef bint is_redirected(self, object error) except -1:
        """Whether the error, or no value, sent it elsewhere. No defect there may lose it: somebody waits for it."""
        if self.redirect is None:
            return False
        try:
            return self.redirect(self, error)
        except Exception:
            log.exception("internal error")
            return False


cdef class Stream:
    """The asyncio protocol of one connection; a link has one after another."""

    def __init__(self, RedisLink link not None):
        self.link = link
        self.reader = hiredis.Reader(notEnoughData=Ellipsis)

    def connection_made(self, transport):
        self.transport = transport
        self.write = transport.write
        if self.link.stream is not self:
            transport.abort()

    def data_received(self, bytes data):
        if self.link.stream is self:
            self.link.hear(self, data)

    def eof_received(self):
        return False

    def connection_lost(self, error):
        if self.link.stream is self:
            self.link.drop("the connection is lost")

    def pause_writing(self):
        """What is written is bounded by WAITING_MAX, and its age by the deadline."""

    def resume_writing(self):
        """See pause_writing."""


cdef class RedisLink(Redis):
    """A connection that makes itself anew."""

    def __init__(self, *args, **more):
        Redis.__init__(self, *args, **more)
        self.waiting = deque()
        self.out = []
        self.pause = PAUSE

    # -- calls

    cdef put(self, Call call, tuple words, double seconds):
        if self.state != "ready":
            call.end(None, RedisDown(f"{self.address}: {self.why}"))
            return
        if len(self.waiting) >= WAITING_MAX:
            call.end(None, RedisDown(f"{self.address}: {WAITING_MAX} calls wait already"))
            return
        self.calls += 1
        self.send(words, call, seconds)

    cdef int64_t backlog(self) except -1:
        """Octets that wait to be written."""
        if self.stream is None or self.stream.transport is None:
            return self.out_size
        return self.out_size + self.stream.transport.get_write_buffer_size()

    def send(self, tuple words, Call call, double seconds):
        call.deadline = self.loop.time() + seconds
        if not self.out:
            self.loop.call_soon(self.flush)
        packed = hiredis.pack_command(words)
        self.out.append(packed)
        self.out_size += len(packed)
        self.waiting.append(call)
        if self.overdue is None or call.deadline < self.overdue_at:
            self.watch(call)

    def flush(self):
        """Write what was asked for in this turn of the loop."""
        if self.stream is not None and self.out:
            self.stream.write(b"".join(self.out))
        self.clear_out()

    cdef clear_out(self):
        self.out.clear()
        self.out_size = 0

    # -- deadlines

    cdef watch(self, Call call):
        """See to the deadline of the first that has one."""
        if self.overdue is not None:
            self.overdue.cancel()
        self.overdue_at = call.deadline
        self.overdue = self.loop.call_at(call.deadline, self.expire)

    def expire(self):
        """End what is overdue."""
        cdef Call call
        cdef Call first = None
        cdef double now = self.loop.time()
        cdef list late = []
        self.overdue = None
        for waiting in self.waiting:
            call = waiting
            if call.over:
                continue
            if call.deadline <= now:
                late.append(call)
            elif first is None or call.deadline < first.deadline:
                first = call
        if late:
            self.timeouts += len(late)
            if self.state == "ready":
                self.set_state("suspended", "it is slow: no answer in time")
            down = RedisDown(f"{self.address}: no answer in time")
            for call in late:
                call.end(None, down)
        if first is not None and not first.over and self.overdue is None:
            self.watch(first)

    # -- what comes

    cdef hear(self, Stream stream, bytes data):
        self.heard = self.loop.time()
        stream.reader.feed(data)
        while self.stream is stream:
            try:
                reply = stream.reader.gets()
            except (hiredis.ProtocolError, TypeError):  # TypeError: a map whose key is a list
                self.drop("what it sends is not the protocol of Redis")
                return
            if reply is Ellipsis:
                return
            self.take(reply)

    cdef take(self, object reply):
        cdef Call call
        if isinstance(reply, hiredis.PushNotification):
            if self.pushed is not None:
                self.pushed(list(reply))
            return
        if not self.waiting:
            self.drop("it answers what nobody has asked")
            return
        call = self.waiting.popleft()
        if isinstance(reply, hiredis.ReplyError):
            call.end(None, reply)
        else:
            call.end(reply, None)
        if self.state == "suspended" and not (self.waiting and (<Call>self.waiting[0]).over):
            self.set_state("ready", "")

    # -- connecting

    def open(self):
        """Connect, and stay connected until `close`."""
        self.loop = asyncio.get_running_loop()
        self.connect()

    def connect(self):
        self.set_state("connecting", "it is being connected to")
        self.dialing = asyncio.ensure_future(self.dial())

    async def dial(self):
        try:
            stream = await asyncio.wait_for(self.begin(), GREETING)
        except (asyncio.TimeoutError, TimeoutError):
            hint = ": does it speak TLS?" if self.address.tls is not None else ""
            self.drop(f"it has not answered within {GREETING:g} s{hint}")
        except hiredis.ReplyError as error:
            self.drop(f"it refuses: {self.address.without_secrets(str(error))}")
        except RedisDown as error:
            self.drop(str(error))
        except ssl.SSLError as error:
            self.drop(f"TLS fails: {error.reason or error}")
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            self.drop(os.strerror(number) if number and number > 0 else str(error) or type(error).__name__)
        else:
            if self.stream is not stream:               # it was lost since
                return
            self.connections += 1
            self.set_state("ready", "")
            self.due = self.loop.call_later(PING, self.ping)

    async def begin(self):
        """A connection that has been greeted."""
        address = self.address
        stream = self.stream = Stream(self)
        if address.path is not None:
            await self.loop.create_unix_connection(lambda: stream, address.path)
        else:
            name = address.host if address.tls is not None else None
            await self.loop.create_connection(
                lambda: stream, address.host, address.port, ssl=address.tls, server_hostname=name)
        for words in (*address.greeting(NAME), *self.greeting):
            await self.greet(words)
        return stream

    def greet(self, tuple words):
        future = self.loop.create_future()

        def over(Call call):
            if not future.done():
                future.set_exception(call.error) if call.error is not None else future.set_result(call.reply)

        cdef Call call = Call.__new__(Call)
        call.callback = over
        self.send(words, call, GREETING)
        return future

    def ping(self):
        """Ask for a sign of life, and see whether there was one."""
        cdef Call call
        self.pause = PAUSE
        self.due = self.loop.call_later(PING, self.ping)
        if self.loop.time() - self.heard >= SILENCE:
            self.drop(f"it has been silent for {SILENCE:g} s")
        else:
            call = Call.__new__(Call)
            call.over = True                            # nobody waits for it
            self.send(("PING",), call, SILENCE)

    cdef drop(self, str why):
        """The connection is of no use any more: end all calls, and try again after a while."""
        cdef Stream stream = self.stream
        if self.state == "closed" or self.state == "waiting":
            return
        self.stream = None
        self.clear_out()
        if stream is not None and stream.transport is not None:
            stream.transport.abort()
        for timer in (self.due, self.overdue):
            if timer is not None:
                timer.cancel()
        self.overdue = None
        self.due = self.loop.call_later(self.pause, self.connect)
        self.pause = min(2 * self.pause, PAUSE_MAX)
        self.set_state("waiting", why)
        self.end_calls(why)

    def end_calls(self, str why):
        calls = list(self.waiting)
        self.waiting.clear()
        down = RedisDown(f"{self.address}: {why}")
        for call in calls:
            (<Call>call).end(None, down)

    def close(self):
        """Close it for good."""
        self.drop("it is closed")
        if self.due is not None:
            self.due.cancel()
        if self.dialing is not None:
            self.dialing.cancel()
        self.set_state("closed", "it is closed")
