"""A client's HTTP/1.1 connection: the hit lane (hit_lane.pyx), then the llhttp lane.

`process` takes requests from what has come, one after another. A plain one that a fresh entry answers is answered on
the spot; any other becomes an Exchange, and the next is looked at when that has ended, so that answers keep the order
of requests (RFC 9112 9.3.2).
"""

import asyncio
import socket
import struct
from operator import itemgetter

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memchr

from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.fill cimport Fill
from caching_proxy.http.body cimport CHUNKED, LENGTH, BodyDecoder
from caching_proxy.http.head cimport (
    BAD_LINE, NEED_MORE, RequestHead, Scan, find_head_end, parse_request, plain_request, scan_request_head,
)
from caching_proxy.http.wire cimport Wire
from caching_proxy.proxy_server.exchange cimport Client, Exchange
from caching_proxy.proxy_server.heads cimport own_response
from caching_proxy.proxy_server.hit_lane cimport JOIN_MAX, answer_hit, has_large_body
from caching_proxy.proxy_server.request_path cimport set_out
from caching_proxy.proxy_server.service cimport Service
from caching_proxy.proxy_server.upstream cimport Pool

from caching_proxy.http import problems
from caching_proxy.http.body import MalformedBody
from caching_proxy.http.problems import RequestRefused
from caching_proxy.proxy_server.backlog import unsent_octets

cdef enum:
    PENDING_MAX = 65536       # octets of later requests that are held; then the client is not read
    GATHER_MAX = 65536        # octets of answers that are gathered before they are written

cdef double LINGER = 2.0      # seconds of silence after a last response before its connection is reset
cdef double LINGER_MAX = 30.0     # seconds that a client may go on sending behind it
cdef double MOMENT = 0.3      # seconds that an idle connection is kept when draining: a request may be on its way
cdef double CONTINUE_AFTER = 1.0  # seconds that the origin has for its own 100 (Continue)


cdef class ClientConnection(Client):
    """An asyncio protocol."""

    def __init__(self, Service service not None):
        self.service = service
        self.writable = True
        self.reading = True

    # -- what the event loop says

    def connection_made(self, transport):
        cdef Service service = self.service
        peer = transport.get_extra_info("peername")
        self.transport = transport
        self.write = transport.write
        self.peer = peer[0] if isinstance(peer, tuple) and peer else ""
        self.secure = transport.get_extra_info("ssl_object") is not None
        self.fd = -1 if self.secure else transport.get_extra_info("socket").fileno()
        self.trusted = self.peer in service.trusted
        service.clients.add(self)
        service.connections_accepted += 1
        service.per_client[self.peer] = service.per_client.get(self.peer, 0) + 1
        self.rests()
        self.waits(service.head_timeout)
        if self.peer and 0 < service.max_per_client < service.per_client[self.peer]:
            make_room(service, self, self.peer, service.max_per_client)
        elif len(service.clients) > service.max_connections:
            make_room(service, self, None, service.max_connections)

    def connection_lost(self, error):
        cdef Service service = self.service
        cdef Exchange exchange = self.exchange
        self.gone = True
        self.unpin()
        service.clients.discard(self)
        if service.per_client.get(self.peer, 0) <= 1:
            service.per_client.pop(self.peer, None)
        else:
            service.per_client[self.peer] -= 1
        if exchange is not None:
            if exchange.body is not None and not exchange.body.complete:
                exchange.body.fail(RequestRefused(problems.MALFORMED_REQUEST))
            exchange.wake()
        if service.draining and not service.clients:
            service.empty.set()

    def eof_received(self):
        self.ended = True
        if self.secure or (self.exchange is None and (self.pending is None or self.partial)):
            return False
        if self.decoder is not None:
            self.exchange.body.fail(RequestRefused(problems.MALFORMED_REQUEST))
        return True

    def pause_writing(self):
        self.writable = False
        self.window = 0

    def resume_writing(self):
        self.writable = True
        self.window = 0
        self.unpin()
        if self.exchange is not None:
            self.exchange.wake()
        elif not self.processing:
            self.go_on()

    def data_received(self, bytes data):
        cdef Py_ssize_t at
        self.received += PyBytes_GET_SIZE(data)
        if self.lingering and self.service.clock < self.linger_end:
            self.waits(LINGER)
        if self.lingering or self.gone:
            return
        if self.decoder is not None:
            at = self.feed(data, 0)
            if at == PyBytes_GET_SIZE(data):
                return
            data = data[at:]
        if self.pending is not None:
            data = self.pending + data
            self.pending = None
        if self.exchange is None and self.writable and not self.lingering and not self.gone:
            self.direct = self.fd >= 0 and not self.holds_octets()
            self.process(data)
        else:
            self.hold(data)

    # -- requests

    cdef process(self, bytes data):
        """Take requests from `data` until it is used up or an exchange is under way; hold the rest."""
        cdef const char* text = PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t at = 0
        cdef Scan scan
        cdef Entry hit
        self.processing = True
        self.service.hit_wire.begin()
        try:
            while at < size and self.exchange is None and self.writable and not self.lingering and not self.gone:
                if self.partial or not scan_request_head(text, at, size, &scan) or self.oversize(&scan):
                    self.flush()
                    self.direct = False
                    at = self.parse(data, at)
                    if at < 0:
                        return
                    continue
                hit = answer_hit(self, data, &scan)
                at += scan.size
                if hit is not None:
                    self.gather(hit, has_large_body(hit, &scan))
                else:
                    self.flush()
                    self.direct = False
                    self.begin(plain_request(data, &scan), data, at)
            self.flush()
            if at < size and not self.lingering:
                self.hold(data[at:])
            elif self.exchange is None and not self.lingering:
                self.rests()
        finally:
            self.processing = False
            self.direct = False

    cdef bint oversize(self, Scan* scan) noexcept:
        """Whether the head just scanned is beyond a limit, which the other lane then says."""
        return (scan.size > self.service.max_head or scan.target_size > self.service.max_target
                or scan.count > self.service.max_fields)

    cdef Py_ssize_t parse(self, bytes data, Py_ssize_t at) except -2:
        """Let llhttp take the request at `at`; the offset behind what was used, or -1: nothing more to do now."""
        cdef const char* text = PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t end
        cdef RequestHead head
        while size - at >= 2 and text[at] == c"\r" and text[at + 1] == c"\n":
            at += 2                                     # RFC 9112 2.2: empty lines before a request
            self.searched = 0
        if at == size:
            return -1
        end = find_head_end(text + at, min(size - at, self.service.max_head), self.searched)
        if end == BAD_LINE:
            self.refuse(problems.LINE_ENDING)
            return -1
        if end == NEED_MORE:
            problem = too_large(self.service, text + at, size - at)
            if problem is not None:
                self.refuse(problem)
                return -1
            if not self.partial:
                self.partial = True
                self.waits(self.service.head_timeout)
            self.searched = size - at
            self.hold(data[at:])
            return -1
        try:
            head = parse_request(data[at:at + end])
        except RequestRefused as refused:
            self.refuse(refused.problem)
            return -1
        return self.begin(head, data, at + end)

    cdef Py_ssize_t begin(self, RequestHead head, bytes data, Py_ssize_t at) except -2:
        """Start the exchange for a request whose head ends at `at`; the offset behind what of its body is there."""
        cdef Fill body = None
        self.service.requests += 1
        self.deadline = 0
        self.partial = False
        self.searched = 0
        if head.has_body():
            body = Fill()
            body.source = self
            self.decoder = BodyDecoder.begin(CHUNKED if head.chunked else LENGTH, head.content_length)
        self.exchange = Exchange(self, head, body)
        if body is not None:
            at = self.feed(data, at)
            if self.ended and self.decoder is not None:
                body.fail(RequestRefused(problems.MALFORMED_REQUEST))
            if body.error is not None:
                self.exchange = None
                self.refuse(body.error.problem)
                return -1
            if head.expects_continue and body.size == 0:
                self.continue_at = self.service.clock + CONTINUE_AFTER
        set_out(self.exchange)
        return at

    cdef Py_ssize_t feed(self, bytes data, Py_ssize_t at) except -2:
        """Take octets of the request's body from `at` on; the offset behind them."""
        cdef Fill body = self.exchange.body
        cdef list chunks = []
        self.waits(self.service.body_timeout)
        try:
            at = self.decoder.feed(data, at, chunks)
        except MalformedBody:
            self.decoder = None
            body.fail(RequestRefused(problems.CHUNKED))
            return PyBytes_GET_SIZE(data)
        if chunks:
            body.add(chunks)
        if 0 <= self.service.max_body < body.size:
            self.decoder = None
            body.fail(RequestRefused(problems.BODY_TOO_LARGE))
            return PyBytes_GET_SIZE(data)
        if self.decoder.complete:
            self.decoder = None
            self.deadline = 0
            self.window = 0
            body.finish()
        else:
            body.wake()
        return at

    cdef hold(self, bytes data):
        """Keep octets for later; a client that sends too many is not read meanwhile."""
        self.pending = data
        if PyBytes_GET_SIZE(data) > PENDING_MAX and (self.exchange is not None or not self.writable):
            self.pause()

    cdef done(self, Exchange exchange):
        self.exchange = None
        self.decoder = None
        self.continue_at = 0
        if self.service.access_log is not None:
            self.service.access_log.exchange(self.peer, exchange.request.method, exchange.request.target,
                                             exchange.status, exchange.sent,
                                             "HIT" if exchange.hit else "MISS" if exchange.key is not None else "-")
        if self.gone:
            return
        if exchange.broken:
            self.reset()
        elif not exchange.keep_alive:
            self.linger()
        else:
            self.rests()
            if not self.processing:
                self.go_on()

    cdef go_on(self):
        """Look at what came while an exchange was under way, or while the client did not read."""
        cdef bytes data = self.pending
        self.resume()
        if data is not None:
            self.pending = None
            self.process(data)
        elif not self.lingering:
            self.rests()
        if self.ended and self.exchange is None and not self.lingering and (self.pending is None or self.partial):
            self.transport.close()

    # -- answers

    cdef gather(self, Entry hit, bint large):
        """Keep an answer to be written with others; not too many, so that a client that does not read is noticed."""
        cdef bytes head
        if large:
            head = self.service.hit_wire.take()
            if self.gathered is None:
                self.gathered = []
                self.large = []
            self.gathered += [head, hit.body]
            self.gathered_size += PyBytes_GET_SIZE(head) + PyBytes_GET_SIZE(hit.body)
            self.large.append(hit)
        if self.gathered_size + self.service.hit_wire.size > GATHER_MAX:
            self.flush()

    cdef flush(self):
        """Write the hits gathered so far.

        While `data_received` runs and nothing but hits has run in it, the transport is open and the descriptor surely
        its own: then the kernel takes them from the buffer that they were written in, at a tenth less than from bytes.
        """
        cdef Wire wire = self.service.hit_wire
        cdef list out = self.gathered
        cdef int64_t size = self.gathered_size + wire.size
        if self.direct and out is None and wire.size:
            self.count(wire.send(self.fd))
            size = wire.size
        if size == 0:
            return
        self.direct = False
        if out is None:
            self.put([wire.take()], size)
            return
        self.gathered = None
        self.gathered_size = 0
        if wire.size:
            out.append(wire.take())
        self.put(out, size)
        for entry in self.large:
            self.pin(entry)
        self.large = None

    cdef pin(self, Entry entry):
        """What was just written is of `entry`: while it has not left, that counts as in use."""
        if self.writable or self.gone:
            return
        self.service.cache.memory.pin(entry)
        if self.pinned is None:
            self.pinned = []
        self.pinned.append(entry)

    cdef unpin(self):
        """What was pinned has left, or never will."""
        cdef Entry entry
        if self.pinned is not None:
            for entry in self.pinned:
                self.service.cache.memory.unpin(entry)
            self.pinned = None

    cdef send(self, bytes head, list chunks):
        cdef list out = chunks if head is None else [head, *chunks]
        cdef int64_t size = 0
        cdef bytes piece
        for piece in out:
            size += PyBytes_GET_SIZE(piece)
        if size and not self.lingering and not self.gone:
            self.put(out if size > JOIN_MAX or len(out) == 1 else [b"".join(out)], size)

    cdef put(self, list out, int64_t size):
        """Write pieces that have `size` octets together."""
        self.count(size)
        self.through_transport = True
        if len(out) == 1:
            self.write(out[0])
        else:
            self.transport.writelines(out)

    cdef count(self, int64_t size):
        self.written += size
        self.service.octets_sent += size

    cdef bint holds_octets(self) except -1:
        """Whether the transport has octets that the kernel did not take yet."""
        if self.through_transport:
            self.through_transport = self.transport.get_write_buffer_size() > 0
        return self.through_transport

    cdef refuse(self, object problem):
        """Answer what never became an exchange, and close."""
        cdef bytes text = problem.detail.encode()
        cdef bytes body = b"%d %b: %b\n" % (problem.status, problem.reason.encode(), text)
        self.service.refused += 1
        self.pending = None
        if self.service.access_log is not None:
            self.service.access_log.exchange(self.peer, b"-", b"-", problem.status, len(body), "-")
        self.write(own_response(self.service, problem.status, problem.reason.encode(), body, b'%b; detail="%b"\r\n' % (
            self.service.cache_status, text), False, True))
        self.linger()

    cdef linger(self):
        """Close without losing what is written: a close with unread octets would reset the connection."""
        self.lingering = True
        self.pending = None
        self.decoder = None
        self.resume()
        self.rests()
        self.waits(LINGER)
        self.linger_end = self.service.clock + LINGER_MAX
        if self.ended or self.secure or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()

    cdef reset(self):
        """Close so that the client cannot take what it has for the whole response: nothing may come behind it."""
        self.gone = True
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.secure:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    cdef pause(self):
        if self.reading and not self.gone:
            self.reading = False
            self.window = 0
            self.deadline = 0
            self.transport.pause_reading()

    cdef resume(self):
        if not self.reading and not self.gone:
            self.reading = True
            if self.decoder is not None:
                self.waits(self.service.body_timeout)
            self.transport.resume_reading()

    # -- time

    cdef waits(self, double seconds):
        self.deadline = self.service.clock + seconds

    cdef rests(self):
        """Nothing is under way: the time of an idle connection begins."""
        self.waits(self.service.keepalive_timeout)
        self.partial = False
        self.searched = 0
        self.service.turns += 1
        self.turn = self.service.turns
        if self.service.draining:
            self.waits(MOMENT)

    cdef bint idle(self) noexcept:
        """Whether it only waits for a next request."""
        return self.exchange is None and self.pending is None and self.writable

    cdef sweep(self, double now):
        """See to deadlines and rates; called a few times a second."""
        if self.continue_at and now >= self.continue_at:
            self.encourage()
        if not self.writable:
            self.check_rate(now, True)
        elif self.deadline and now >= self.deadline:
            if (self.lingering or self.idle()) and self.unsent():
                self.check_rate(now, True)              # its time begins when the output is gone
                if self.lingering:
                    self.waits(LINGER)
            else:
                self.expire()
        elif self.decoder is not None:
            self.check_rate(now, False)

    cdef encourage(self):
        """Send 100 (Continue) where the origin, which was told of the expectation, keeps silent (RFC 9110 10.1.1)."""
        self.continue_at = 0
        cdef Exchange exchange = self.exchange
        if self.decoder is not None and exchange.body.size == 0 and not (exchange.continued or exchange.begun):
            exchange.continued = True
            self.put([b"HTTP/1.1 100 Continue\r\n\r\n"], 25)
            self.window = 0
            self.waits(self.service.body_timeout)

    cdef expire(self):
        if self.lingering or self.idle():
            self.transport.abort() if self.lingering else self.transport.close()
        elif self.decoder is not None:
            self.decoder = None
            self.exchange.body.fail(RequestRefused(problems.BODY_TIMEOUT))
        elif self.exchange is None:
            self.refuse(problems.HEAD_TIMEOUT)

    cdef check_rate(self, double now, bint sending):
        """End a client that gives or takes fewer octets a second than --min-rate, or none at all.

        Averaged over --body-timeout when it gives, over --send-timeout when it takes.
        """
        cdef double window = self.service.send_timeout if sending else self.service.body_timeout
        cdef int64_t moved = self.written - self.unsent() if sending else self.received
        if not sending and (not self.reading or self.continue_at):
            self.window = 0
        elif self.window == 0:
            self.window = now
            self.window_start = moved
        elif now - self.window >= window:
            if moved - self.window_start < max(1.0, self.service.min_rate * (now - self.window)):
                self.reset()
            self.window = now
            self.window_start = moved

    cdef int64_t unsent(self) except -1:
        """Octets written that the client's side has not acknowledged."""
        return self.transport.get_write_buffer_size() + unsent_octets(self.transport)


cdef object too_large(Service service, const char* text, Py_ssize_t size):
    """The problem of a head whose end has not come, when it is too large already."""
    cdef bint one_line = memchr(text, c"\n", size) == NULL
    if one_line and size > service.max_target + 64:
        return problems.TARGET_TOO_LONG
    if size >= service.max_head:
        return problems.TARGET_TOO_LONG if one_line else problems.HEAD_TOO_LARGE
    return None


cdef object OLDEST_FIRST = itemgetter(0, 1)


cdef make_room(Service service, ClientConnection newcomer, str peer, int limit):
    """Of all clients (or those at `peer`) close the ones that linger, then those idle the longest, down to `limit`.

    Where that is not enough the newcomer is refused. A few more idle ones go than need to, so that a crowd at the limit
    is not searched for every newcomer.
    """
    cdef list idle = []
    cdef ClientConnection other
    cdef int number = 0
    for connection in service.clients:
        other = connection
        if peer is None or other.peer == peer:
            number += 1
            if other is not newcomer and (other.lingering or other.idle()):
                idle.append((not other.lingering, other.turn, other))
    idle.sort(key=OLDEST_FIRST)
    for _, _, connection in idle[:max(number - limit, len(idle) // 32)]:
        other = connection
        service.clients.discard(other)
        if other.lingering:
            other.transport.abort()
        else:
            other.transport.close()
        number -= 1
    if number > limit:
        newcomer.refuse(problems.TOO_MANY_CONNECTIONS)


def sweep(Service service not None, double now):
    """See to every connection's deadlines; `now` is the loop's monotonic time in seconds."""
    service.clock = now
    service.sweep_upstreams(now)
    for connection in list(service.clients):
        (<ClientConnection>connection).sweep(now)


def judge_trust(Service service not None):
    """Judge anew who of those connected is trusted: Service.trusted has changed."""
    cdef ClientConnection client
    for connection in service.clients:
        client = connection
        client.trusted = client.peer in service.trusted
        client.forwarding = None


def drain(Service service not None):
    """From now on answer with Connection: close, and close what is idle.

    The asyncio.Event that comes back is set once nobody is connected.
    """
    service.draining = True
    service.empty = asyncio.Event()
    for connection in service.clients:
        if (<ClientConnection>connection).idle() and not (<ClientConnection>connection).lingering:
            (<ClientConnection>connection).rests()
    if not service.clients:
        service.empty.set()
    return service.empty


def end(Service service not None):
    """Close everything now."""
    for connection in list(service.clients):
        (<ClientConnection>connection).transport.abort()
    for pool in service.pools:
        (<Pool>pool).close()
