"""One request to the origin, and what becomes of its answer.

A fetch lives by itself: its readers may go while it goes on, and it stores what it brings.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.time cimport monotonic
from libc.stdint cimport int64_t, uint64_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport whole_url
from caching_proxy.cache_manager.purge_log cimport Stamp
from caching_proxy.http.fields cimport (
    F_CONTENT_RANGE, F_ETAG, F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH, F_IF_RANGE, F_NO_VARY_SEARCH, F_RANGE, F_VARY,
    Fields, bit,
)
from caching_proxy.http.head cimport ResponseHead
from caching_proxy.load_balancer.server cimport Server
from caching_proxy.proxy_server.heads cimport origin_head, origin_lines, rebuilt_head, stored_entry, stored_head
from caching_proxy.proxy_server.hedging cimport begin_hedge, cancel_hedge
from caching_proxy.proxy_server.lookup cimport judged
from caching_proxy.proxy_server.renewing cimport confirm, renew_by_head
from caching_proxy.proxy_server.resuming cimport may_resume
from caching_proxy.proxy_server.sending cimport leave_server
from caching_proxy.proxy_server.turn cimport give_turn_back
from caching_proxy.proxy_server.resuming import resume
from caching_proxy.proxy_server.sending import exchange
from caching_proxy.proxy_server.turn import comes_from_elsewhere

from caching_proxy.cache_manager.parts import combine, whole
from caching_proxy.cache_manager.rfc9111.directives import NO_DIRECTIVES
from caching_proxy.cache_manager.rfc9111.freshness import response_date
from caching_proxy.cache_manager.rfc9111.reuse import UNASKED, judge_reuse
from caching_proxy.cache_manager.rfc9111.storable import OF_THE_REQUEST, Storable
from caching_proxy.cache_manager.rfc9111.terms import NotStorable
from caching_proxy.cache_manager.rfc9111.validation import (
    confirms, fields_for_all, merged_fields, same_strong_validator, validation_fields,
)
from caching_proxy.cache_manager.rfc9111.vary import selecting_names, selecting_values
from caching_proxy.cache_manager.tags import TOO_MANY_TAGS
from caching_proxy.http import problems
from caching_proxy.http.problems import OriginFailed, RequestRefused
from caching_proxy.http.ranges import parse_content_range, strong_validator

cdef frozenset ERRORS = frozenset((500, 502, 503, 504))     # RFC 5861 4
# The client's own conditions on what is stored: answered here, against the whole that comes.
cdef uint64_t CONDITIONS = bit(F_IF_NONE_MATCH) | bit(F_IF_MODIFIED_SINCE)
cdef frozenset TIMEOUTS = frozenset(
    (problems.ORIGIN_CONNECT_TIMEOUT, problems.ORIGIN_HEAD_TIMEOUT, problems.ORIGIN_BODY_TIMEOUT))
cdef frozenset NOT_REACHED = frozenset((problems.ORIGIN_UNRESOLVABLE, problems.NO_DESCRIPTOR))
cdef frozenset GONE = frozenset((404, 410))
cdef Fields NO_FIELDS = Fields.of([])

cdef enum:
    SHORT = 65536             # octets of a body that are cheaper read than a connection closed


cdef class Fetch(Receiver):
    """A fiber from the choice of a connection to the stored response."""

    @staticmethod
    cdef Fetch of(Service service, Route route, RequestHead request, bytes target, bytes host, bytes forwarding,
                  Variant variant, Fill body):
        """A fetch that is yet to start; `body` is the request's, or None."""
        cdef Fetch self = Fetch.__new__(Fetch)
        self.service = service
        self.route = route
        self.request = request
        self.target = target
        self.host = host
        self.forwarding = forwarding
        self.variant = variant
        self.body = body
        self.fill = Fill()
        self.interims = []
        self.is_head = request.method == b"HEAD"
        self.sent = body is None
        if body is not None:
            body.join(self)
        return self

    async def run(self):
        """Bring the response; what went wrong is in `error`."""
        if self.stores:
            self.date()
            self.service.cache.coalescing.begin(self, self.leads())
        try:
            if self.leased and self.leads() and await comes_from_elsewhere(self):
                return
            self.service.origin_requests += 1
            await exchange(self)
            if self.is_futile():
                self.start_over()
                await exchange(self)
            self.judge()
            self.opened = True
            while not self.ended:
                self.give_up_unread()
                self.fill.wake()
                if self.error is None:                  # the rest that another server gave may have broken off already
                    await self.changed()
                if self.error is not None and may_resume(self, self.error) and await resume(self):
                    continue
                self.progress()
                if self.lease is not None and not self.fill.keep:
                    self.judge_sharing()                # it has become too large to be stored
            self.finish()
        except (OriginFailed, RequestRefused) as failure:
            self.error = failure
            self.blame(failure)
            self.fill.fail(failure)
        except Exception:
            self.error = OriginFailed(problems.INTERNAL)
            if self.connection is not None and self.connection.receiver is self:
                self.connection.abort()
            self.fill.fail(self.error)
            raise
        finally:
            self.settle()

    cdef date(self):
        """Note as of when what is asked for now is current."""
        self.generation = self.service.cache.generation_of(self.url)
        self.stamp = self.service.cache.stamp(self.url)

    # -- the request

    cdef bint leads(self) except -1:
        """Whether others may join: not where an answer could not be shared lately, but a background fetch is one."""
        if self.sharing is None:
            return False
        return self.stays or not self.service.cache.coalescing.is_pass(self.sharing, time(NULL))

    cdef bytes outgoing(self, Server server):
        """The request's head for this server, with the conditions of what it is for."""
        cdef uint64_t without = CONDITIONS if self.stores else 0
        cdef list lines = []
        if self.slice is not None:
            without |= bit(F_RANGE) | bit(F_IF_RANGE)
            lines = [(b"Range", b"bytes=%d-%d" % self.slice)]
        if self.resumed_at:
            without |= CONDITIONS | bit(F_RANGE) | bit(F_IF_RANGE)
            lines = [(b"Range", b"bytes=%d-" % self.resumed_at), (b"If-Range", self.validator)]
        elif self.rest is not None:
            without |= bit(F_RANGE) | bit(F_IF_RANGE)
            validator = strong_validator(self.partial.etag, self.partial.last_modified, self.partial.date)
            lines = [(b"Range", b"bytes=%d-%d" % self.rest), (b"If-Range", validator)]
        elif self.offered is not None and len(self.offered) == 1:
            lines += validation_fields((<Entry>self.offered[0]).etag, (<Entry>self.offered[0]).last_modified)
        elif self.offered:
            lines = [(b"If-None-Match", b", ".join([(<Entry>entry).etag for entry in self.offered]))]
        more = b"".join([b"%b: %b\r\n" % line for line in lines])
        host = server.authority if self.route.host_of_server else self.host
        return origin_head(self.route, self.service, self.request, self.target, host, self.variant,
                           self.forwarding, without, more)

    def dialed(self, task):
        """The connection is open, or is not to be had."""
        cdef UpstreamConnection connection
        if task.cancelled():
            self.error = OriginFailed(problems.ORIGIN_RESET)
        elif task.exception() is not None:
            self.error = self.error or task.exception()
        else:
            connection = task.result()
            if self.error is None:
                self.connection = connection
            else:
                connection.pool.release(connection)
        self.wake()

    def hedge_now(self):
        """The response is slow."""
        self.timer = None
        begin_hedge(self)

    cdef blame(self, object failure):
        """The response breaks off: that counts against the server, unless nobody waited for it."""
        if self.attempt is not None and self.opened and isinstance(failure, OriginFailed) and not self.orphan:
            if self.is_to_blame(failure):
                self.attempt.failed()

    cdef bint is_to_blame(self, object failure) except -1:
        """Whether a failure is the server's.

        Not where its name does not resolve or we have no descriptor left, where it was given too little time, or where
        it waited for a client that sends no more of the request.
        """
        if failure.problem in NOT_REACHED:
            return False
        if failure.problem not in TIMEOUTS:
            return True
        if self.connection is not None and not self.sent:
            return not self.connection.writable
        return not self.came_late()

    cdef bint came_late(self) except -1:
        """Whether most of the time for the whole exchange was over before the server had the request."""
        cdef double now = monotonic()
        return 0 < self.deadline <= now and 2 * self.attempt.waited(now) < self.route.balancer.retry.deadline

    cdef give_up_unread(self):
        """End what nobody reads and nothing will be stored of; a short rest is read to keep the connection."""
        if self.fill.readers or self.fill.keep or not self.stays:
            return
        if 0 <= self.head.content_length <= SHORT:
            self.fill.abandoned = True
            self.fill.drop_taken()
            return
        leave_server(self)                              # it did nothing wrong
        if self.connection.receiver is self:
            self.connection.abort()
        raise OriginFailed(problems.ORIGIN_RESET, "nobody waits for it")

    cdef progress(self):
        """Tell of 1xx, send on what has come of the request's body, and raise what went wrong."""
        if self.error is not None:
            raise self.error
        if self.interims and self.fill.readers:
            self.fill.wake()
        if not self.sent and self.connection.receiver is self:
            self.send_body()

    cdef send_body(self):
        cdef bytes chunk
        if self.body.error is not None:
            self.connection.abort()
            raise self.body.error
        if not self.connection.writable:
            return
        while self.connection.writable and not self.body.is_taken(self):
            for chunk in self.body.take(self):
                if self.request.chunked:
                    self.connection.write(b"%x\r\n%b\r\n" % (PyBytes_GET_SIZE(chunk), chunk))
                else:
                    self.connection.write(chunk)
        if self.body.is_read(self):
            self.sent = True
            self.attempt.sent()
            if self.request.chunked:
                self.connection.write(b"0\r\n\r\n")

    # -- the answer to our own conditions

    cdef bint is_futile(self) except -1:
        """Whether the origin answered a condition of ours with what helps nobody."""
        if self.head.status == 304 and self.offered:
            return self.meant() is None
        if self.rest is not None:
            return self.head.status == 416 or (self.head.status == 206 and not self.completes())
        return False

    cdef start_over(self):
        """Ask again, without conditions: what is stored is not what the origin has."""
        self.contradicted = True
        leave_server(self)
        if self.partial is not None:
            self.service.cache.drop(self.partial)
        self.offered = self.partial = self.rest = None
        self.forget_answer()

    cdef forget_answer(self):
        """Whatever has been said to this request does not count."""
        if self.connection is not None and self.connection.receiver is self:
            self.connection.abort()
        self.connection = None
        self.head = None
        self.error = None
        self.ended = False
        self.interims.clear()
        self.interim_count = 0
        self.fill.restart()

    cdef Entry meant(self):
        """The stored response that a 304 confirms, or None (RFC 9111 4.3.3, 4.3.4)."""
        cdef Entry entry
        for entry in self.offered:
            if len(self.offered) > 1 and not self.head.fields.has(F_ETAG):
                return None
            if confirms(stored_head(entry).fields, self.head.fields):
                return entry
        return None

    cdef bint completes(self) except -1:
        """Whether a 206 is what is missing of the stored part (RFC 9111 3.4)."""
        told = parse_content_range(self.head.fields.joined(F_CONTENT_RANGE) or b"")
        if self.head.content_length not in (-1, self.rest[1] - self.rest[0] + 1):
            return False
        return told == (self.rest[0], self.rest[1], self.partial.length) and same_strong_validator(
            stored_head(self.partial).fields, self.head.fields,
            response_date(self.head.fields, time(NULL)))

    # -- storing

    cdef judge(self):
        """Decide what becomes of the response, by RFC 9111 3 and 4.3."""
        self.received_at = time(NULL)
        self.status = self.head.status
        if not self.stores:
            return
        if self.head.status == 304:
            if not self.offered:
                raise OriginFailed(problems.ORIGIN_MALFORMED, "304 without a condition")
            confirm(self)
        elif self.is_head:
            renew_by_head(self)
        else:
            if self.head.status == 206 and self.rest is not None:
                self.complete()
            self.storable = self.verdict(self.request.fields, self.head_for_all().fields)
            if self.head.status == 206 and not self.is_asked_for():
                self.storable = NotStorable.PARTIAL
            if self.slice is not None and (self.head.status != 206 or self.is_all()):
                self.url = whole_url(self.url)
            if self.head.status in ERRORS and self.stands_in:
                self.storable = NotStorable.STATUS
            if isinstance(self.storable, Storable):
                self.judge_tags()
            if isinstance(self.storable, Storable):
                self.selecting = selecting_of(self.head.fields, self.request.fields)
                if self.slice is None:
                    self.learn_search()
                if self.head.content_length <= self.route.max_object:
                    self.fill.hold(self.service.cache.bodies, self.route.max_object)
            elif self.outdates():
                self.replace_selected()
        self.judge_sharing()

    cdef object verdict(self, Fields request, Fields response):
        """Whether a response with these fields to a request with those may be stored: Storable or NotStorable."""
        return self.route.policy.judge(self.request.method, request, self.head.status, response, self.requested_at,
                                       self.received_at)

    cdef learn_search(self):
        """Take over what the response says of its query: its URL may have another form from now on."""
        if not (self.head.fields.has(F_NO_VARY_SEARCH) or self.service.cache.searches):
            return
        if self.generation != self.service.cache.generation_of(self.url):
            self.void = True
        url = self.route.learn_search(self.target, self.host, self.scheme,
                                      self.head.fields.joined(F_NO_VARY_SEARCH))
        if url != self.url:
            self.service.cache.coalescing.rename(self, url)
            self.stamp = Stamp(0, 0)                    # it is not known what was purged meanwhile
        self.generation = self.service.cache.generation_of(self.url)

    cdef judge_tags(self):
        """What cannot be found by all its tags is not stored: a purge would miss it."""
        self.tags = self.tags_of(self.head.fields)
        if self.tags is TOO_MANY_TAGS:
            self.storable = NotStorable.TAGS

    cdef tuple tags_of(self, Fields response):
        site = self.route.site(self.host, self.scheme)
        return self.service.cache.tags_of(response, self.route.tag_fields, self.url, site)

    cdef judge_sharing(self):
        """Tell those who wait, and those to come, whether they may share it."""
        cdef bint known = self.sharing is not None
        self.shareable = self.answers_others(self.received_at)
        if not self.shareable or not self.service.cache.may_share(self.stamp, self.head.content_length):
            give_turn_back(self, True)
        if known and self.shareable:
            self.service.cache.coalescing.forget_pass(self.sharing)
        elif known and not self.stays:
            self.service.cache.coalescing.close(self)
            self.service.cache.coalescing.remember_pass(self.sharing, self.unshareable(), self.received_at)

    cdef bint answers_others(self, int64_t now) except -1:
        """Whether it may answer requests that it was not made for: what they may have unasked (RFC 9111 4)."""
        if self.confirmed is not None:
            return self.renewed is not None and judged(self.renewed, NO_DIRECTIVES) in UNASKED
        if not self.fill.keep:
            return False
        found = self.storable
        age = found.age + now - self.received_at
        if age < found.lifetime and not found.no_cache:     # nearly always: what judge_reuse would say
            return True
        return judge_reuse(NO_DIRECTIVES, found.lifetime, age, found.must_revalidate, found.no_cache,
                           found.stale_while_revalidate) in UNASKED

    cdef bint answers_a_query(self) except -1:
        """Whether a method that --cache-method names was a query: the origin states that its answer lasts."""
        found = self.verdict(NO_FIELDS, self.head.fields)
        return isinstance(found, Storable) and not found.no_cache and found.age < found.lifetime

    cdef ResponseHead head_for_all(self):
        """The head as everybody but the asker gets it."""
        return self.head if self.common is None else self.common

    cdef Entry confirmed_for(self, bint follower):
        """The response that a 304 confirmed, for who asked or for a follower."""
        return self.renewed if follower else self.confirmed

    cdef bytes unshareable(self):
        """Why nobody else can have the answer."""
        if isinstance(self.storable, NotStorable):
            return self.storable.token
        return b"to be validated for each" if self.confirmed is not None or self.fill.keep else b"too large"

    cdef complete(self):
        """Make of the rest that comes, and what is stored, the whole."""
        cdef Entry held = self.partial
        cdef list lines = self.head.fields.items()
        before = held.octets(0, self.rest[0] - 1) if self.rest[0] else None
        after = held.octets(self.rest[1] + 1, held.length - 1) if self.rest[1] + 1 < held.length else None
        self.common = rebuilt_head(held, merged_fields(origin_lines(held), fields_for_all(lines)), held.length)
        self.head = rebuilt_head(held, merged_fields(origin_lines(held), lines), held.length)
        self.completing = True
        if before is not None:
            self.fill.prepend([before])
        self.suffix = after

    cdef finish(self):
        """The response has come whole."""
        if self.suffix is not None:
            self.fill.add([self.suffix])
        if self.completing and self.fill.size != self.partial.length:
            self.service.cache.drop(self.partial)
            raise OriginFailed(problems.ORIGIN_MALFORMED, "a part has another size than it says")
        if self.fill.keep and not self.void:
            self.store()
        self.fill.finish()

    cdef bint outdates(self) except -1:
        """Whether a response that is not stored shows that what is stored is no longer so (RFC 9111 4.3.3).

        Not one that is the asker's alone, nor an error that may pass.
        """
        if self.void or self.storable in OF_THE_REQUEST:
            return False
        return self.head.status < 400 or self.head.status in GONE

    cdef bint is_asked_for(self) except -1:
        """Whether a 206 answers a Range, of the client's or of ours."""
        return self.request.fields.has(F_RANGE) if self.slice is None else self.is_slice()

    cdef bint is_all(self) except -1:
        """Whether a 206 has all there is."""
        told = parse_content_range(self.head.fields.joined(F_CONTENT_RANGE) or b"")
        return told is not None and told.first == 0 and told.last + 1 == told.length

    cdef bint is_slice(self) except -1:
        """Whether the response is the slice that was asked for, and safe to put beside others."""
        told = parse_content_range(self.head.fields.joined(F_CONTENT_RANGE) or b"")
        if told is None or told.length is None or not isinstance(self.storable, Storable):
            return False
        return told.first == self.slice[0] and told.last == min(self.slice[1], told.length - 1)

    cdef replace_selected(self):
        """What the request selected is outdated (RFC 9111 4.3.3)."""
        cdef Entry held = self.service.cache.memory.select(self.url, self.variant, self.request.fields)
        if held is not None:
            self.service.cache.drop(held)
        elif self.storable is not None and not isinstance(self.storable, Storable):
            self.service.cache.forget_named(self.url, self.variant)

    cdef store(self):
        cdef bytes body
        if self.head.status == 206:
            self.store_part()
            return
        body = self.fill.whole()
        self.stored = True
        if self.service.cache.memory.holds(self.url):
            self.replace_selected()
        self.service.cache.store(self.entry(
            self.head_for_all(), self.variant, self.selecting, body, None, PyBytes_GET_SIZE(body), self.storable,
            self.tags), self.stamp, self.lease)

    cdef store_part(self):
        """Store a part, with what is stored of the same representation already (RFC 9111 3.3, 3.4)."""
        cdef ResponseHead head = self.head
        cdef Entry held = self.service.cache.memory.select(self.url, self.variant, self.request.fields)
        cdef bytes body = self.fill.whole()
        cdef tuple parts
        told = parse_content_range(head.fields.joined(F_CONTENT_RANGE))
        if PyBytes_GET_SIZE(body) != told.last - told.first + 1:
            return
        parts = ((told.first, body),)
        if held is not None and held.length == told.length and same_strong_validator(
                stored_head(held).fields, head.fields, self.storable.date):
            lines = merged_fields(origin_lines(held), fields_for_all(head.fields.items()))
            head = rebuilt_head(held, lines, held.length)
            parts = ((0, held.body),) if held.parts is None else combine(held.parts, parts[0])
        if sum([len(octets) for _, octets in parts]) > self.route.max_object:
            return
        self.stored = True
        body = whole(parts, told.length)
        self.service.cache.store(self.entry(
            head, self.variant, self.selecting, body, None if body is not None else parts, told.length,
            self.storable, self.tags), self.stamp, self.lease)

    cdef Entry as_slice(self, bint follower):
        """The slice that comes, to tell who asked (or a `follower`) of it and nothing more; None: it is no slice."""
        if self.head.status != 206 or not isinstance(self.storable, Storable):
            return None
        told = parse_content_range(self.head.fields.joined(F_CONTENT_RANGE))
        storable = self.storable if follower else self.storable._replace(excluded=frozenset())
        return self.entry(self.head, self.variant, self.selecting, None, (), told.length, storable, self.tags)

    cdef Entry entry(self, ResponseHead head, Variant variant, tuple selecting, bytes body, tuple parts,
                     int64_t length, object storable, tuple tags):
        cdef Entry entry = stored_entry(self.route, self.service, self.url, variant, selecting, self.key, head, body,
                                        parts, length, storable, self.received_at, tags)
        entry.generation = self.generation
        return entry

    cdef settle(self):
        """Give back what was reserved and let go of everything."""
        cancel_hedge(self)
        leave_server(self)
        give_turn_back(self, False)
        if self.stores:
            self.service.cache.coalescing.end(self)
            self.remember_failure()
        self.fill.settle()
        self.connection = None
        if self.body is not None:
            self.body.leave(self)
            self.body.let_go_unread()
            self.body = None

    cdef remember_failure(self):
        """Let those who ask next go on their own, where others might fare better."""
        if self.error is None or self.sharing is None or self.orphan or self.stays:
            return
        if self.error.problem not in problems.FOR_ALL:
            self.service.cache.coalescing.remember_pass(
                self.sharing, self.error.problem.detail.encode(), time(NULL))

    # -- readers

    cdef reader_left(self, Reader reader):
        """A client is gone: when it was the last, the fetch goes on only where it is worth it.

        That is where more than half of a body that will be stored has come.
        """
        self.fill.leave(reader)
        if self.fill.readers:
            return
        if self.stays:
            self.wake()
            return
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


cdef tuple selecting_of(Fields response, Fields request):
    """What Vary adds to the key of a response to this request, or None."""
    if not response.has(F_VARY):
        return None
    names = selecting_names(response.joined(F_VARY))
    return selecting_values(names, request) if names else None
