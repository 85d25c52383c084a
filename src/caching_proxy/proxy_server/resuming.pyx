"""A body that breaks off goes on at another server, so that clients who have some of it get the rest.

Only where the octets are sure to be the same: the response has a strong validator, and the other server has the same
one (RFC 9110 8.8.1, 14.4, 15.3.7).
"""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.fill cimport Fill
from caching_proxy.http.fields cimport F_CONTENT_RANGE
from caching_proxy.http.head cimport ResponseHead
from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.sending cimport including, leave_server, may_go_elsewhere, take_server
from caching_proxy.proxy_server.sending import connect

from caching_proxy.cache_manager.rfc9111.validation import same_strong_validator
from caching_proxy.http.problems import OriginFailed
from caching_proxy.http.ranges import parse_content_range, strong_validator


cdef class Continuation(Receiver):
    """Hears what the other server says until it is known whether that fits."""

    cdef wake(self):
        self.fetch.wake()


cdef bint may_resume(Fetch fetch, object failure) except -1:
    """Whether another server may be asked for the rest; the retry is counted."""
    cdef ResponseHead head = fetch.head
    if not isinstance(failure, OriginFailed) or fetch.orphan or fetch.attempt is None or fetch.completing:
        return False
    if fetch.request.method != b"GET" or fetch.body is not None or head.status != 200 or fetch.fill.size == 0:
        return False
    fetch.validator = strong_validator(head.fields.combined(b"etag"), head.fields.combined(b"last-modified"),
                                       fetch.received_at)
    return fetch.validator is not None and may_go_elsewhere(fetch)


async def resume(Fetch fetch):
    """Ask another server for the rest; whether it comes."""
    cdef Continuation rest = Continuation.__new__(Continuation)
    cdef object failure = fetch.error
    begin(fetch, rest)
    try:
        if take_server(fetch):
            await connect(fetch)                        # one that was kept might be closed, and be asked in vain
            fetch.connection.begin(rest, fetch.outgoing(fetch.attempt.server))
            while rest.head is None and rest.error is None and fetch.error is None:
                await fetch.changed()
            if goes_on(fetch, rest):
                return True
    except OriginFailed as error:
        if not fetch.orphan and fetch.is_to_blame(error):
            fetch.attempt.failed()
    leave_server(fetch)
    fetch.error = fetch.error or failure
    return False


cdef begin(Fetch fetch, Continuation rest):
    """Let go of the server that broke off."""
    fetch.attempt.failed()
    fetch.tried = including(fetch)
    leave_server(fetch)
    fetch.error = fetch.connection = None
    fetch.resumed_at = fetch.fill.size
    rest.fetch = fetch
    rest.fill = Fill()
    rest.interims = []
    rest.sent = True
    rest.deadline = fetch.deadline


cdef bint goes_on(Fetch fetch, Continuation rest) except -1:
    """Whether what has come is the rest; then it goes where the beginning went."""
    if rest.head is None:
        if rest.error is not None:
            fetch.attempt.failed()
    else:
        fetch.attempt.heard(rest.head.status)
    if rest.head is None or fetch.error is not None or not fits(fetch, rest.head):
        if fetch.connection.receiver is rest:
            fetch.connection.abort()
        return False
    fetch.ended = rest.ended
    fetch.error = rest.error
    if fetch.connection.receiver is rest:
        fetch.connection.receiver = fetch
        fetch.fill.source = fetch.connection
    fetch.fill.add(rest.fill.chunks)
    return True


cdef bint fits(Fetch fetch, ResponseHead head) except -1:
    """Whether it is the rest of the same representation."""
    cdef int64_t length = fetch.head.content_length
    told = parse_content_range(head.fields.joined(F_CONTENT_RANGE) or b"")
    if head.status != 206 or told is None or told.length is None or told.first != fetch.resumed_at:
        return False
    if told.last + 1 != told.length or (length >= 0 and length != told.length):
        return False
    if head.content_length not in (-1, told.length - told.first):
        return False
    return same_strong_validator(fetch.head.fields, head.fields, fetch.received_at)
