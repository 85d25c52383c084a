"""The way of a request, top to bottom: read `answer` first.

admit -> find_key -> find_stored (lookup and judge) -> find_fetch (which stores what it brings) -> respond. The hit lane
in http1.pyx is the same way, short-cut.
"""

from hashlib import sha256

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport Variant, key_digest
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.http.fields cimport (
    F_ACCEPT, F_ACCEPT_ENCODING, F_ACCEPT_LANGUAGE, F_AUTHORIZATION, F_CACHE_CONTROL, F_CONTENT_ENCODING,
    F_CONTENT_LANGUAGE, F_CONTENT_TYPE, F_FORWARDED, F_IF_MATCH, F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH, F_IF_RANGE,
    F_IF_UNMODIFIED_SINCE, F_PRAGMA, F_RANGE, F_VARY, F_VIA, F_X_FORWARDED_FOR,
    F_X_HTTP_METHOD, F_X_HTTP_METHOD_OVERRIDE, F_X_METHOD_OVERRIDE, F_X_REAL_IP, Fields, bit,
)
from caching_proxy.http.head cimport RequestHead
from caching_proxy.proxy_server.exchange cimport Client, Exchange
from caching_proxy.proxy_server.fetch cimport Fetch
from caching_proxy.proxy_server.heads cimport stored_head
from caching_proxy.proxy_server.responding cimport (
    begin_response, part_answers, refuse, relay_interims, respond_own, respond_stored, send_more,
)
from caching_proxy.proxy_server.service cimport Service

from caching_proxy.cache_manager.rfc9111.directives import NO_DIRECTIVES, request_directives
from caching_proxy.cache_manager.rfc9111.invalidation import SAFE_METHODS, invalidated_targets
from caching_proxy.cache_manager.rfc9111.reuse import Reuse, judge_miss, judge_reuse, may_serve_on_error
from caching_proxy.cache_manager.rfc9111.storable import NotStorable
from caching_proxy.cache_manager.rfc9111.vary import choose_by_language, selecting_values
from caching_proxy.cache_manager.tags import TOO_MANY_TAGS, invalidated_groups, requested_tags
from caching_proxy.http import problems
from caching_proxy.http.forwarding import forwarding_lines, told_scheme
from caching_proxy.http.problems import OriginFailed, RequestRefused
from caching_proxy.http.ranges import missing, strong_validator
from caching_proxy.http.target import split_absolute

cdef enum:
    OFFERED_MAX = 16          # entity tags of other variants that a request carries

cdef object FRESH = Reuse.FRESH
cdef object STALE_ALLOWED = Reuse.STALE_ALLOWED
cdef object STALE_WHILE_REVALIDATE = Reuse.STALE_WHILE_REVALIDATE
cdef object STALE = Reuse.STALE
cdef object MISS = Reuse.MISS
cdef object PASS = Reuse.PASS
cdef object UNSATISFIABLE = Reuse.UNSATISFIABLE
# With one of these an origin may take a GET for another method; preconditions are the origin's to judge.
NOT_FROM_STORE = (bit(F_X_HTTP_METHOD) | bit(F_X_HTTP_METHOD_OVERRIDE) | bit(F_X_METHOD_OVERRIDE)
                                | bit(F_IF_MATCH) | bit(F_IF_UNMODIFIED_SINCE))
# What tells that somebody else's request is passed on.
cdef uint64_t FORWARDED = bit(F_X_FORWARDED_FOR) | bit(F_FORWARDED) | bit(F_VIA) | bit(F_X_REAL_IP)
cdef uint64_t CONDITIONS = bit(F_IF_NONE_MATCH) | bit(F_IF_MODIFIED_SINCE)
cdef frozenset ERRORS = frozenset((500, 502, 503, 504))     # RFC 5861 4
# What Cache-Status (RFC 9211) says of each verdict.
cdef dict FATES = {
    FRESH: b"; hit",
    STALE_ALLOWED: b"; hit",
    STALE_WHILE_REVALIDATE: b"; hit",
    MISS: b"; fwd=uri-miss",
    STALE: b"; fwd=stale",
    Reuse.REFUSED: b"; fwd=request",
    PASS: b"; fwd=request",
}
cdef dict DETAILS = {
    FRESH: b"",
    STALE_ALLOWED: b'; detail="max-stale"',
    STALE_WHILE_REVALIDATE: b'; detail="stale-while-revalidate"',
}
cdef bytes FATE_METHOD = b"; fwd=method"
cdef bytes FATE_BYPASS = b"; fwd=bypass"
cdef bytes FATE_PARTIAL = b"; fwd=partial"
cdef bytes FATE_VARY = b"; fwd=vary-miss"


cdef object set_out(Exchange exchange):
    """Let a request go its way."""
    exchange.start(answer(exchange))


async def answer(Exchange x):
    """The way of a request."""
    try:
        admit(x)
        if x.request.method == b"PURGE":
            purge(x)
            return
        if x.request.method in x.service.cache.rules.methods:
            begin_content(x)
            while content_is_due(x):
                await x.changed()
                if x.client.gone:
                    return
            end_content(x)
        find_key(x)
        find_stored(x)
        if x.verdict in DETAILS:
            if x.verdict is STALE_WHILE_REVALIDATE:
                revalidate_behind(x)
            count_stale(x)
            respond_stored(x, x.entry, FATES[x.verdict], DETAILS[x.verdict])
            return
        if x.verdict is UNSATISFIABLE:
            raise RequestRefused(problems.ONLY_IF_CACHED)

        find_fetch(x)
        while True:
            while not x.fetch.opened and x.fetch.error is None:
                relay_interims(x)
                await x.changed()
                if x.client.gone:
                    return
            if not is_released(x):
                break
            go_alone(x)
        if may_be_stale(x):
            x.service.stale += 1
            respond_stored(x, x.entry, fate_of(x), stale_detail(x.fetch))
            return
        if x.fetch.error is not None:
            raise x.fetch.error
        relay_interims(x)
        invalidate(x)
        if x.fetch.confirmed is not None:
            respond_stored(x, x.fetch.confirmed, fate_of(x) + b"; fwd-status=304", b"")
            return
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


# -- admit


cdef admit(Exchange x):
    """Refuse what is not served; settle what the target is. RFC 9112 3.2."""
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
    if x.target != b"*":
        x.target = service.base_path + service.canonical(x.target)


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
    if authority.lower() not in x.service.authorities and authority.lower() not in local_authorities(x.client):
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


# -- purging


cdef purge(Exchange x):
    """Purge the target, or the tags that the request names; the answer says how many stored responses it was.

    A request that came through somebody else is not one of the networks that --purge-from names.
    """
    cdef Fields fields = x.request.fields
    cdef Service service = x.service
    cdef int64_t number
    if x.client.peer not in service.purgers or fields.seen & FORWARDED:
        raise RequestRefused(problems.PURGE_REFUSED)
    soft = fields.combined(b"soft-purge") in (b"1", b"?1", b"true", b"yes")
    if any([fields.values(name) for name in service.cache.tag_fields]):
        tags = requested_tags(fields, service.cache.tag_fields)
        if not tags or tags is TOO_MANY_TAGS:
            raise RequestRefused(problems.PURGE_TAGS)
        number = service.purge_tags(tags, soft)
    else:
        number = service.purge_target(x.target, x.host, soft)
    receipt = b'{"purged": %d, "soft": %b}\n' % (number, b"true" if soft else b"false")
    respond_own(x, 200, b"OK", receipt, b"Cache-Control: no-store\r\n", b"application/json")


# -- content that is in the key (QUERY, and what --cache-method names)


cdef begin_content(Exchange x):
    """Hold the request's content, as far as --max-keyed-body lets it into the key."""
    if x.request.method == b"GET" or (x.request.method != b"QUERY" and x.request.fields.seen & CONDITIONS):
        return
    if x.body is None:
        x.content = content_key(x, b"")
        return
    if x.request.content_length <= x.service.max_keyed_body:
        x.body.join(x)
        x.body.hold(x.service.cache.bodies, x.service.max_keyed_body)
        if x.request.expects_continue and not x.body.complete:
            x.continued = True
            x.client.send(b"HTTP/1.1 100 Continue\r\n\r\n", [])


cdef bint content_is_due(Exchange x) except -1:
    return x.body is not None and x.body.keep and not x.body.complete and x.body.error is None


cdef end_content(Exchange x):
    """Take the content into the key; what sends it on takes it from its start."""
    if x.body is None or x not in x.body.readers:
        return
    if x.body.error is not None:
        raise x.body.error
    if x.body.keep:
        x.content = content_key(x, x.body.whole())
    x.body.hand_over(x)


cdef bytes content_key(Exchange x, bytes content):
    """What the key says of a request's method and content; its metadata may change what it means."""
    cdef Fields fields = x.request.fields
    parts = [x.request.method, sha256(content).hexdigest().encode()]
    parts += [fields.joined(field) or b"" for field in (F_CONTENT_TYPE, F_CONTENT_ENCODING, F_CONTENT_LANGUAGE)]
    return b"\n".join(parts)


# -- key, lookup, judge


cdef find_key(Exchange x):
    cdef Fields fields = x.request.fields
    x.scheme = b"https" if x.client.secure else b"http"
    if x.client.trusted:
        x.scheme = told_scheme(fields) or x.scheme
    if x.service.host_keyed and x.host is not None:
        x.host = x.host.lower()
    x.url = x.service.url(x.target, x.host, x.scheme)
    if x.content is None and x.request.method != b"GET" and x.request.method != b"HEAD":
        return
    x.variant = x.service.cache.variants.of(
        fields.joined(F_ACCEPT), fields.joined(F_ACCEPT_ENCODING), fields.joined(F_ACCEPT_LANGUAGE),
        x.service.cache.key_rules.extra(fields) + (x.content or b""))


cdef find_stored(Exchange x):
    """What is stored for the request, and what to do with it, by RFC 9111 4 and 5.2.1."""
    cdef Fields fields = x.request.fields
    cdef Entry entry
    x.wanted = NO_DIRECTIVES
    if x.variant is None or (x.body is not None and x.content is None) or fields.seen & NOT_FROM_STORE:
        x.verdict = PASS
        return
    if x.service.obeys_clients and (fields.has(F_CACHE_CONTROL) or fields.has(F_PRAGMA)):
        x.wanted = request_directives(fields)
    entry = x.service.cache.memory.select(x.url, x.variant, fields)
    if entry is None and x.variant.accept_language is not None:
        entry = chosen_by_language(x)
    if entry is not None:
        x.verdict = judged(entry, x.wanted)
        if entry.parts is None or part_answers(x, entry):
            x.entry = entry
            return
        if x.verdict is FRESH:
            x.partial = entry
    x.verdict = MISS if x.wanted is NO_DIRECTIVES else judge_miss(x.wanted)
    x.varies = x.service.cache.memory.holds(x.url)


cdef object judged(Entry entry, object wanted):
    """The verdict on a stored response."""
    return judge_reuse(wanted, entry.fresh_until - entry.born, time(NULL) - entry.born, entry.must_revalidate,
                       entry.no_cache, entry.stale_while_revalidate)


cdef Entry chosen_by_language(Exchange x):
    """Of the fresh variants that differ in language alone, the one that the origin would choose (RFC 9110 12.5.4)."""
    cdef Entry entry
    cdef Variant variant = x.variant
    cdef Fields head
    cdef list entries = []
    cdef list known = []
    for entry in x.service.cache.memory.of_url(x.url):
        if entry.variant.accept != variant.accept or entry.variant.accept_encoding != variant.accept_encoding:
            continue
        if entry.variant.extra != variant.extra or entry.selecting is not None or entry.status != 200:
            continue
        if judged(entry, NO_DIRECTIVES) is not FRESH:
            continue
        head = stored_head(entry).fields
        if b"accept-language" in (head.joined(F_VARY) or b"").lower():
            entries.append(entry)
            known.append((head.joined(F_CONTENT_LANGUAGE), entry.variant.accept_language))
    chosen = choose_by_language(variant.accept_language, known) if known else None
    return None if chosen is None else entries[chosen]


cdef count_stale(Exchange x):
    if x.verdict is not FRESH:
        x.service.stale += 1


# -- fetch


cdef find_fetch(Exchange x):
    """Join the fetch for the same that is under way, or begin one."""
    cdef Fetch leader
    cdef bytes sharing = sharing_key(x)
    if sharing is not None and x.wanted is NO_DIRECTIVES:
        leader = x.service.cache.coalescing.leader(sharing)
        if leader is not None and is_joinable(x, leader):
            x.fetch = leader
            x.follows = True
            x.key = leader.key
            x.service.misses += 1
            x.service.collapsed += 1
            leader.orphan = False
            leader.fill.join(x)
            return
    begin_fetch(x, sharing, True)


cdef bytes sharing_key(Exchange x):
    """What requests have in common that may share a fetch; None for one that goes alone."""
    cdef Fields fields = x.request.fields
    cdef bytes key
    if x.verdict is PASS or x.request.method == b"HEAD" or fields.has(F_AUTHORIZATION):
        return None
    key = x.service.cache.sharing_key(x.url, x.variant, fields)
    if fields.has(F_RANGE):
        key = b"%b\0%b\0%b" % (key, fields.joined(F_RANGE), fields.joined(F_IF_RANGE) or b"")
    return key


cdef bint is_joinable(Exchange x, Fetch leader) except -1:
    if leader.error is not None or leader.fill.dropped:
        return False
    return not leader.opened or (leader.fill.keep and is_for(x, leader))


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
    return x.fetch.error is not None or not x.fetch.shareable or not is_for(x, x.fetch)


cdef go_alone(Exchange x):
    x.fetch.reader_left(x)
    x.follows = False
    begin_fetch(x, None, True)


cdef revalidate_behind(Exchange x):
    """RFC 5861 3: one fetch in the background, for all who are answered with the stale response meanwhile."""
    cdef bytes sharing = sharing_key(x)
    if sharing is not None and x.service.cache.coalescing.leader(sharing) is None:
        begin_fetch(x, sharing, False)


cdef begin_fetch(Exchange x, bytes sharing, bint reads):
    """Send the request to the origin; without `reads` in the background."""
    cdef Fetch fetch = Fetch(x.service, x.request, x.target, x.host, forwarding(x), x.variant, x.body)
    if x.variant is not None:
        x.key = key_digest(x.url, x.variant)
        if x.verdict is not PASS and x.service.cache.memory.limit:
            fetch.stores = True
            fetch.sharing = sharing
            fetch.url = x.url
            fetch.key = x.key
            fetch.scheme = x.scheme
            fetch.stands_in = stands_in(x)
            offer(x, fetch)
    x.service.origin_requests += 1
    if reads:
        x.service.misses += x.variant is not None
        x.fetch = fetch
        fetch.fill.join(x)
    else:
        fetch.stays = True
    fetch.start(fetch.run())


cdef offer(Exchange x, Fetch fetch):
    """Tell the origin what is stored already, so that it need not send that (RFC 9111 4.3.1)."""
    cdef Entry entry
    if can_complete(x):
        held = [(first, first + len(octets) - 1) for first, octets in x.partial.parts]
        fetch.partial = x.partial
        fetch.rest = missing(held, x.partial.length)
    elif x.entry is not None:
        fetch.offered = [x.entry] if x.entry.etag or x.entry.last_modified else None
    elif not x.request.fields.has(F_RANGE):
        fetch.offered = [
            entry for entry in x.service.cache.memory.of_url(x.url)
            if entry.parts is None and entry.status == 200 and entry.etag and not entry.etag.startswith(b"W/")
            and entry.variant.accept_encoding == x.variant.accept_encoding
            and entry.variant.extra == x.variant.extra][:OFFERED_MAX]


cdef bint can_complete(Exchange x) except -1:
    """Whether only the rest of what is stored is needed, and can be asked for safely (RFC 9111 3.4)."""
    if x.partial is None or x.request.fields.has(F_RANGE):
        return False
    return strong_validator(x.partial.etag, x.partial.last_modified, x.partial.date) is not None


cdef bytes forwarding(Exchange x):
    """The lines that tell the origin who asks."""
    cdef Client client = x.client
    cdef bytes lines
    if client.forwarding is not None:
        return client.forwarding
    host = x.host if x.service.forwarded_host else None
    lines = forwarding_lines(client.peer, "https" if client.secure else "http", client.trusted, x.request.fields, host)
    if not client.trusted and host is None:
        client.forwarding = lines
    return lines


cdef invalidate(Exchange x):
    """RFC 9111 4.4, RFC 9875 3: what an unsafe method touched is no longer stored."""
    cdef Service service = x.service
    cdef Fields response = x.fetch.head.fields
    if x.request.method in SAFE_METHODS or x.content is not None or x.fetch.head.status >= 400:
        return
    for target in invalidated_targets(x.request.method, x.fetch.head.status, x.target, response, own_origins(x)):
        service.cache.invalidate(service.url(target, x.host, x.scheme))
    for group in invalidated_groups(response):
        service.cache.purge_group(service.site(x.host, x.scheme), group, False)


cdef own_origins(Exchange x):
    """The names under which the target's origin is known: the origin's own, and the client's for it."""
    scheme, _, rest = x.service.origin_url.partition(b"://")
    names = {(scheme, rest.partition(b"/")[0])}
    if x.host is not None:
        names.add((b"https" if x.client.secure else b"http", x.host))
    return names


cdef bint may_be_stale(Exchange x) except -1:
    """Whether the origin failed and a stale response answers instead (RFC 5861 4, RFC 9111 4.2.4)."""
    cdef Fetch fetch = x.fetch
    if fetch.contradicted or not stands_in(x):
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
                              x.service.cache.stale_if_error)


# -- what Cache-Status says


cdef bytes fate_of(Exchange x):
    """Why the request went to the origin."""
    cdef bytes fate
    if x.variant is None:
        return FATE_METHOD
    if x.body is not None and x.content is None:
        return FATE_BYPASS
    if x.partial is not None:
        fate = FATE_PARTIAL
    elif x.varies and x.verdict is MISS:
        fate = FATE_VARY
    else:
        fate = FATES.get(x.verdict, FATE_BYPASS)
    return fate + b"; collapsed" if x.follows else fate


cdef bytes outcome(Fetch fetch):
    """What became of the response in the store."""
    cdef bytes told = b"; fwd-status=206" if fetch.completing else b""
    if isinstance(fetch.storable, NotStorable):
        return told + b"; detail=" + fetch.storable.value
    if fetch.stored or fetch.fill.keep:
        return b"%b; ttl=%d; stored" % (told, fetch.storable.lifetime - fetch.storable.age)
    return told


cdef bytes stale_detail(Fetch fetch):
    if fetch.error is None:
        return b"; fwd-status=%d" % fetch.head.status
    return b'; detail="%b"' % fetch.error.problem.detail.encode()
