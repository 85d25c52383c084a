"""From a request that the store does not answer to the fetch that does: one under way, or one of its own."""

from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport key_digest
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.fields cimport F_AUTHORIZATION, F_IF_RANGE, F_RANGE, Fields
from caching_proxy.proxy_server.affinity cimport balance_key
from caching_proxy.proxy_server.exchange cimport Client

from caching_proxy.cache_manager.rfc9111.directives import NO_DIRECTIVES
from caching_proxy.cache_manager.rfc9111.reuse import Reuse, may_serve_on_error
from caching_proxy.cache_manager.rfc9111.vary import selecting_values
from caching_proxy.http.forwarding import forwarding_lines
from caching_proxy.http import problems
from caching_proxy.http.problems import OriginFailed
from caching_proxy.http.ranges import missing, strong_validator

cdef enum:
    OFFERED_MAX = 16          # entity tags of other variants that a request carries

cdef object PASS = Reuse.PASS
# Methods for which If-None-Match means what is stored (RFC 9110 13.1.2): for others it would be 412.
cdef frozenset CONDITIONAL = frozenset((b"GET", b"HEAD", b"QUERY"))
cdef frozenset ERRORS = frozenset((500, 502, 503, 504))     # RFC 5861 4


cdef find_fetch(Exchange x):
    """Join the fetch for the same that is under way, or begin one."""
    cdef bytes sharing = sharing_key(x)
    x.service.misses += x.variant is not None
    if not join(x, sharing):
        begin_fetch(x, sharing, True)


cdef bint join(Exchange x, bytes sharing) except -1:
    """Join the fetch under way that has this key; whether there is one to be joined."""
    cdef Fetch leader
    if sharing is None or x.wanted is not NO_DIRECTIVES:
        return False
    leader = x.service.cache.coalescing.leader(sharing)
    if leader is None or not is_joinable(x, leader):
        return False
    if leader.generation != x.service.cache.generation_of(leader.url):      # another worker's request outdated it
        x.service.cache.coalescing.discredit(leader)
        return False
    x.fetch = leader
    x.follows = True
    x.key = leader.key
    x.service.collapsed += 1
    leader.orphan = False
    leader.fill.join(x)
    return True


cdef bytes sharing_key(Exchange x):
    """What requests have in common that may share a fetch; None for one that goes alone."""
    cdef Fields fields = x.request.fields
    cdef bytes key
    if x.verdict is PASS or x.request.method == b"HEAD" or fields.has(F_AUTHORIZATION) or not x.route.coalesces:
        return None
    key = x.service.cache.sharing_key(x.url, x.variant, fields)
    if fields.has(F_RANGE):
        key = b"%b\0%b\0%b" % (key, fields.joined(F_RANGE), fields.joined(F_IF_RANGE) or b"")
    return key


cdef bint is_joinable(Exchange x, Fetch leader) except -1:
    if leader.error is not None or leader.fill.dropped:
        return False
    return not leader.opened or (leader.fill.keep and leader.answers_others(time(NULL)) and is_for(x, leader))


cdef bint is_for(Exchange x, Fetch fetch) except -1:
    """Whether the response selects this request as well, by its Vary (RFC 9111 4.1)."""
    cdef tuple selecting = fetch.selecting if fetch.confirmed is None else fetch.confirmed.selecting
    if selecting is None:
        return True
    return selecting_values(tuple([name for name, _ in selecting]), x.request.fields) == selecting


cdef bint is_released(Exchange x) except -1:
    """Whether the fetch of another's does not serve this request."""
    if not x.follows or may_be_stale(x):
        return False
    if x.fetch.error is not None:                       # nobody waits in the same line once more
        return x.fetch.error.problem not in problems.FOR_ALL
    return not x.fetch.shareable or not is_for(x, x.fetch)


cdef go_alone(Exchange x):
    x.fetch.reader_left(x)
    x.follows = False
    begin_fetch(x, None, True)


cdef revalidate_behind(Exchange x):
    """RFC 5861 3: one fetch in the background, for all who are answered with the stale response meanwhile."""
    cdef bytes sharing = sharing_key(x)
    if sharing is None:                                 # nobody shares it, but one at a time is enough
        sharing = b"%b\0behind" % x.service.cache.sharing_key(x.url, x.variant, x.request.fields)
    if x.service.cache.coalescing.leader(sharing) is None:
        begin_fetch(x, sharing, False)


cdef Fetch new_fetch(Exchange x, bytes url, bytes sharing):
    """A fetch for the request; what it brings is stored under `url`."""
    cdef Fetch fetch = Fetch.of(x.service, x.route, x.request, x.target, x.host, forwarding(x), x.variant, x.body)
    fetch.balance_key = balance_key(x)
    if x.variant is not None:
        x.key = key_digest(x.url, x.variant)
        if x.verdict is not PASS and x.service.cache.stores():
            fetch.stores = True
            fetch.sharing = sharing
            fetch.url = url
            fetch.key = x.key
            fetch.scheme = x.scheme
            fetch.stands_in = stands_in(x)
            fetch.leased = x.route.leases and x.wanted is NO_DIRECTIVES and not x.request.fields.has(F_RANGE)
    return fetch


cdef begin_fetch(Exchange x, bytes sharing, bint reads):
    """Send the request to the origin; without `reads` in the background."""
    cdef Fetch fetch = new_fetch(x, x.url, sharing)
    if fetch.stores:
        offer(x, fetch)
    set_off(x, fetch, reads)


cdef set_off(Exchange x, Fetch fetch, bint reads):
    if reads:
        x.fetch = fetch
        fetch.fill.join(x)
    else:
        fetch.stays = True
    fetch.start(fetch.run())


cdef offer(Exchange x, Fetch fetch):
    """Tell the origin what is stored already, so that it need not send that (RFC 9111 4.3.1)."""
    cdef Entry entry
    if x.request.method not in CONDITIONAL:
        return
    if can_complete(x):
        held = [(first, first + len(octets) - 1) for first, octets in x.partial.parts]
        fetch.partial = x.partial
        fetch.rest = missing(held, x.partial.length)
    elif x.entry is not None:
        fetch.offered = [x.entry] if x.entry.etag or x.entry.last_modified else None
    elif x.service.cache.memory.holds(x.url) and not x.request.fields.has(F_RANGE):
        fetch.offered = [
            entry for entry in x.service.cache.memory.of_url(x.url)
            if entry.parts is None and entry.status == 200 and entry.etag and not entry.etag.startswith(b"W/")
            and entry.variant.accept_encoding == x.variant.accept_encoding
            and entry.variant.extra == x.variant.extra and not entry.is_personal()][:OFFERED_MAX]


cdef bint can_complete(Exchange x) except -1:
    """Whether only the rest of what is stored is needed, and can be asked for safely (RFC 9111 3.4)."""
    if x.partial is None or x.request.method == b"HEAD" or x.request.fields.has(F_RANGE):
        return False
    return strong_validator(x.partial.etag, x.partial.last_modified, x.partial.date) is not None


cdef bytes forwarding(Exchange x):
    """The lines that tell the origin who asks."""
    cdef Client client = x.client
    cdef bytes lines
    if client.forwarding is not None:
        return client.forwarding
    host = x.host if x.route.forwarded_host else None
    lines = forwarding_lines(client.peer, "https" if client.secure else "http", client.trusted, x.request.fields, host)
    if not client.trusted and host is None:
        client.forwarding = lines
    return lines


cdef bint may_be_stale(Exchange x) except -1:
    """Whether the origin failed and a stale response answers instead (RFC 5861 4, RFC 9111 4.2.4)."""
    cdef Fetch fetch = x.fetch
    if fetch.contradicted or not stands_in(x) or (fetch.head is None and fetch.error is None):
        return False
    if fetch.error is not None:
        if not isinstance(fetch.error, OriginFailed):
            return False
        return True
    return fetch.head.status in ERRORS


cdef bint stands_in(Exchange x) except -1:
    """Whether what is stored may answer where the origin cannot."""
    if x.entry is None or x.wanted.no_cache:
        return False
    return may_serve_on_error(time(NULL) - x.entry.fresh_until, x.entry.must_revalidate, x.entry.stale_if_error,
                              x.route.stale_if_error)
