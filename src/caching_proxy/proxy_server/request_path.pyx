"""The way of a request, top to bottom: read `answer` first.

admit -> find_key -> find_stored (lookup.pyx) -> find_fetch (fetching.pyx; fetch.pyx stores what it brings) -> respond
(responding.pyx). The hit lane (hit_lane.pyx) is the same way, short-cut.
"""

import json

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

from caching_proxy.cache_manager.redis_tier cimport all_done
from caching_proxy.http.fields cimport (
    F_FORWARDED, F_VIA, F_X_FORWARDED_FOR, F_X_FORWARDED_HOST, F_X_FORWARDED_PROTO, Fields, bit,
)
from caching_proxy.http.head cimport RequestHead
from caching_proxy.proxy_server.affinity cimport take_session
from caching_proxy.proxy_server.exchange cimport Client, Exchange
from caching_proxy.proxy_server.fetching cimport find_fetch, go_alone, is_released, may_be_stale, revalidate_behind
from caching_proxy.proxy_server.heads cimport WORDS_OF_GATEWAYS
from caching_proxy.proxy_server.lookup cimport (
    ask_again, ask_redis, begin_content, content_is_due, end_content, find_key, find_stored,
)
from caching_proxy.proxy_server.responding cimport (
    begin_response, fate_of, outcome, refuse, relay_interims, respond_confirmed, respond_own, respond_stale,
    respond_stored, send_more,
)
from caching_proxy.proxy_server.service cimport Service
from caching_proxy.proxy_server.slicing cimport is_sliceable
from caching_proxy.proxy_server.responding import send_pieces
from caching_proxy.proxy_server.slicing import answer_slices

from caching_proxy.cache_manager.rfc9111.invalidation import SAFE_METHODS, invalidated_targets
from caching_proxy.cache_manager.rfc9111.reuse import Reuse
from caching_proxy.cache_manager.tags import TOO_MANY_TAGS, invalidated_groups, requested_tags
from caching_proxy.http import problems
from caching_proxy.http.problems import OriginFailed, RequestRefused
from caching_proxy.http.target import split_absolute

cdef object UNSATISFIABLE = Reuse.UNSATISFIABLE
cdef object STALE_WHILE_REVALIDATE = Reuse.STALE_WHILE_REVALIDATE
# Verdicts with which what is stored answers, and what Cache-Status says of them besides.
cdef dict FROM_STORE = {
    Reuse.FRESH: b"",
    Reuse.STALE_ALLOWED: b'; detail="max-stale"',
    STALE_WHILE_REVALIDATE: b'; detail="stale-while-revalidate"',
}
cdef bytes FETCHED_ELSEWHERE = b'; detail="fetched-elsewhere"'
cdef frozenset AT_ONCE = frozenset(FROM_STORE)
# What tells that somebody else's request is passed on.
cdef uint64_t FORWARDED = bit(F_X_FORWARDED_FOR) | bit(F_X_FORWARDED_HOST) | bit(F_X_FORWARDED_PROTO) | bit(
    F_FORWARDED) | bit(F_VIA) | WORDS_OF_GATEWAYS
# Fields besides these by which gateways mark what they pass on.
cdef tuple MARKS_OF_GATEWAYS = (
    b"cdn-loop", b"cf-ray", b"forwarded-for", b"x-amz-cf-id", b"x-azure-fdid", b"x-forwarded", b"x-proxyuser-ip",
    b"x-varnish",
)


cdef object set_out(Exchange exchange):
    """Let a request go its way."""
    exchange.start(answer(exchange))


async def answer(Exchange x):
    """The way of a request."""
    try:
        admit(x)
        if x.request.method == b"PURGE":
            await answer_purge(x)
            return
        if has_content_in_key(x) and not await take_content(x):
            return
        find_key(x)
        find_stored(x)
        if x.verdict not in AT_ONCE and ask_redis(x) and not await hear_redis(x):
            return
        if respond_at_once(x):
            if x.pieces is not None:
                await send_pieces(x)
            return

        if not is_sliceable(x):
            find_fetch(x)
        elif await answer_slices(x):
            return
        while True:
            while not x.fetch.opened and x.fetch.error is None and not (x.follows and x.fetch.unshared):
                relay_interims(x)
                await x.changed()
                if x.client.gone:
                    invalidate_unheard(x)
                    return
            if not is_released(x):
                break
            go_alone(x)
        if respond_after_all(x):
            if x.pieces is not None:
                await send_pieces(x)
            return
        while x.purges is not None and not all_done(x.purges):
            await x.changed()
        begin_response(x, fate_of(x) + outcome(x.fetch))
        while not x.ended:
            await x.changed()
            if x.client.gone:
                return
            if x.fetch.fill.error is not None:
                x.broken = True
                return
            if x.client.writable:
                send_more(x)
    except RequestRefused as refused:
        refuse(x, refused.problem, b"")
    except OriginFailed as failed:
        x.service.origin_failures += 1
        refuse(x, failed.problem, fate_of(x))
    except Exception:
        refuse(x, problems.INTERNAL, b"")
        raise
    finally:
        x.finish()


async def hear_redis(Exchange x):
    """Wait for what Redis has; False where the client has gone meanwhile."""
    while True:
        while not x.lookup.over:
            await x.changed()
            if x.client.gone:
                return False
        find_stored(x)
        if not ask_again(x):
            return True


cdef bint respond_at_once(Exchange x) except -1:
    """Answer with what is stored, where that may be used as it is; whether it may."""
    if x.verdict is UNSATISFIABLE:
        raise RequestRefused(problems.ONLY_IF_CACHED)
    if x.verdict not in FROM_STORE:
        return False
    if x.verdict is STALE_WHILE_REVALIDATE:
        revalidate_behind(x)
    respond_stored(x, x.entry, b"; hit", FROM_STORE[x.verdict])
    return True


cdef bint respond_after_all(Exchange x) except -1:
    """Answer with what is stored, where another process has brought it, the origin confirmed it, or failed."""
    if x.fetch.found is not None:
        respond_stored(x, x.fetch.found, b"; hit", FETCHED_ELSEWHERE)
        return True
    if may_be_stale(x):
        respond_stale(x)
        return True
    if x.fetch.error is not None:
        raise x.fetch.error
    relay_interims(x)
    invalidate(x)
    if x.fetch.confirmed is None:
        return False
    respond_confirmed(x)
    return True


# -- admit


cdef admit(Exchange x):
    """Refuse what is not served; settle what the target is, and which route takes it. RFC 9112 3.2."""
    cdef RequestHead request = x.request
    cdef Service service = x.service
    x.target = request.target
    if request.method == b"TRACE":
        raise RequestRefused(problems.TRACE_REFUSED)
    if request.method == b"CONNECT":
        raise RequestRefused(problems.CONNECT_REFUSED)
    if request.method == b"OPTIONS":
        count_forward(request)
    if PyBytes_GET_SIZE(request.target) > service.max_target:
        raise RequestRefused(problems.TARGET_TOO_LONG)
    if request.fields.count > service.max_fields:
        raise RequestRefused(problems.TOO_MANY_FIELDS)
    if 0 <= service.max_body < request.content_length:
        raise RequestRefused(problems.BODY_TOO_LARGE)
    if not x.target.startswith(b"/") and x.target != b"*":
        resolve_absolute(x)
    x.route = service.router.find(b"GET" if request.method == b"PURGE" else request.method, x.host, x.target,
                                  request.fields)
    if x.route is None:
        raise RequestRefused(problems.NO_ROUTE)
    take_session(x)
    if x.target != b"*" and request.method != b"PURGE":
        x.target = x.route.upstream_target(x.target)


cdef count_forward(RequestHead request):
    """Max-Forwards of OPTIONS, RFC 9110 7.6.2: the one it ends at answers."""
    cdef bytes hops = request.fields.combined(b"max-forwards")
    if hops is None or not hops.isdigit():
        return
    if int(hops[:9]) == 0:
        raise RequestRefused(problems.LAST_HOP)
    request.fields = Fields.of([
        (name, b"%d" % (int(hops[:9]) - 1) if name.lower() == b"max-forwards" else value)
        for name, value in request.fields.items()])


cdef resolve_absolute(Exchange x):
    """Serve a target in absolute form where its authority is ours (RFC 9112 3.2.2); it goes before Host."""
    scheme, authority, origin_form = split_absolute(x.target)
    if scheme != (b"https" if x.client.secure else b"http"):
        raise RequestRefused(problems.MISDIRECTED)
    if not x.service.is_ours(authority) and authority.lower() not in local_authorities(x.client):
        raise RequestRefused(problems.MISDIRECTED)
    x.host = authority
    x.target = b"*" if x.request.method == b"OPTIONS" and x.target.endswith(b"//" + authority) else origin_form


cdef local_authorities(Client client):
    """The names of the address that the client connected to."""
    address = client.transport.get_extra_info("sockname")
    if not isinstance(address, tuple):
        return ()
    names = [b"localhost", address[0].encode() if ":" not in address[0] else b"[%b]" % address[0].encode()]
    return [b"%b:%d" % (name, address[1]) for name in names] + (names if address[1] == 80 else [])


# -- content that belongs to the key


cdef bint has_content_in_key(Exchange x) except -1:
    return x.request.method != b"GET" and x.request.method in x.route.cached_methods and x.route.stores


async def take_content(Exchange x):
    """Wait for the content of a request; False where its client has gone meanwhile."""
    begin_content(x)
    while content_is_due(x):
        await x.changed()
        if x.client.gone:
            return False
    end_content(x)
    return True


# -- purging


async def answer_purge(Exchange x):
    """Purge, and answer with the receipt when that is there."""
    begin_purge(x)
    x.purges = x.service.cache.under_way(x)
    while not (x.answered and all_done(x.purges)):
        await x.changed()
        if x.client.gone:
            return
    respond_purged(x)


cdef begin_purge(Exchange x):
    """Purge the target, or the tags that the request names, in all workers.

    A request that came through somebody else is not one of the networks that --purge-from names.
    """
    cdef Fields fields = x.request.fields
    cdef Service service = x.service
    if x.client.peer not in x.route.purgers or came_through(fields):
        raise RequestRefused(problems.PURGE_REFUSED)
    selection = purge_selection(x)
    if service.relay is not None:
        service.relay(selection, x.take_receipt)
    elif "tags" in selection:
        tags = [tag.encode("latin-1") for tag in selection["tags"]]
        x.take_receipt({"purged": service.purge_tags(tags, selection["soft"])})
    else:
        x.take_receipt({"purged": service.purge_target(x.target, x.host, selection["soft"])})


cdef bint came_through(Fields fields) except -1:
    """Whether something in the request tells that somebody passed it on."""
    cdef bytes name
    if fields.seen & FORWARDED:
        return True
    for name in MARKS_OF_GATEWAYS:
        if fields.contains(name):
            return True
    return False


cdef dict purge_selection(Exchange x):
    """What the request asks to purge, as ProxyServer.purge has it."""
    cdef Fields fields = x.request.fields
    soft = is_soft(fields)
    if any([fields.values(name) for name in x.route.tag_fields]):
        tags = requested_tags(fields, x.route.tag_fields)
        if not tags or tags is TOO_MANY_TAGS:
            raise RequestRefused(problems.PURGE_TAGS)
        return {"tags": [tag.decode("latin-1") for tag in tags], "soft": soft}
    host = b"" if x.host is None else b"http://" + x.host
    return {"url": (host + x.target).decode("latin-1"), "soft": soft}


cdef bint is_soft(Fields request) except -1:
    return request.combined(b"soft-purge") in (b"1", b"?1", b"true", b"yes")


cdef respond_purged(Exchange x):
    """The receipt: how many stored responses it was, in how many workers."""
    if x.receipt is None:
        raise RequestRefused(problems.PURGE_INCOMPLETE)
    soft = is_soft(x.request.fields)
    if x.service.relay is None:
        x.receipt.update(x.service.reach())
    receipt = json.dumps({"purged": x.receipt.pop("purged"), "soft": soft, **x.receipt}).encode() + b"\n"
    respond_own(x, 200, b"OK", receipt, b"Cache-Control: no-store\r\n", b"application/json")


# -- what an unsafe method changes


cdef invalidate(Exchange x):
    """RFC 9111 4.4, RFC 9875 3: what an unsafe method touched is no longer stored."""
    cdef Service service = x.service
    cdef Fields response = x.fetch.head.fields
    if x.request.method in SAFE_METHODS or x.fetch.head.status >= 400:
        return
    if x.content is not None and x.fetch.answers_a_query():
        return
    for target in invalidated_targets(x.request.method, x.fetch.head.status, x.target, response, own_origins(x)):
        for url in x.route.urls(target, x.host, x.scheme):
            service.cache.invalidate(url)
    for group in invalidated_groups(response):
        site = x.route.site(x.host, x.scheme)
        service.purge_group(site, group, False)
        if service.relay is not None:
            service.relay({"group": group.decode("latin-1"), "site": site.decode("latin-1")}, ignore)
    x.purges = service.cache.under_way(x)               # everybody is to have heard before the client does


cdef invalidate_unheard(Exchange x):
    """The client has gone before the answer: an unsafe request may have changed its target all the same."""
    if x.request.method not in SAFE_METHODS:
        for url in x.route.urls(x.target, x.host, x.scheme):
            x.service.cache.invalidate(url)


def ignore(receipt):
    """Nobody waits for the receipt."""


cdef own_origins(Exchange x):
    """The names under which the target's origin is known: the origin's own, and the client's for it."""
    scheme, _, rest = x.route.origin_url.partition(b"://")
    names = {(scheme, rest.partition(b"/")[0])}
    if x.host is not None:
        names.add((b"https" if x.client.secure else b"http", x.host))
    return names
