"""What a request's key is, what is stored for it, and what to do with that."""

from hashlib import sha256

from libc.stdint cimport uint64_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.cache_manager cimport CacheManager
from caching_proxy.http.fields cimport (
    F_ACCEPT, F_ACCEPT_ENCODING, F_ACCEPT_LANGUAGE, F_CACHE_CONTROL, F_CONTENT_ENCODING, F_CONTENT_LANGUAGE,
    F_CONTENT_TYPE, F_IF_MATCH, F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH, F_IF_UNMODIFIED_SINCE, F_PRAGMA, F_VARY,
    F_X_HTTP_METHOD, F_X_HTTP_METHOD_OVERRIDE, F_X_METHOD_OVERRIDE, Fields, bit,
)
from caching_proxy.proxy_server.fetching cimport sharing_key
from caching_proxy.proxy_server.heads cimport stored_head
from caching_proxy.proxy_server.responding cimport part_answers

from caching_proxy.cache_manager.rfc9111.directives import NO_DIRECTIVES, request_directives
from caching_proxy.cache_manager.rfc9111.reuse import Reuse, judge_miss, judge_reuse
from caching_proxy.cache_manager.rfc9111.vary import choose_by_language, selecting_values
from caching_proxy.http.forwarding import told_scheme

cdef object FRESH = Reuse.FRESH
cdef object MISS = Reuse.MISS
cdef object PASS = Reuse.PASS
cdef uint64_t CONDITIONS = bit(F_IF_NONE_MATCH) | bit(F_IF_MODIFIED_SINCE)
# With one of these an origin may take a GET for another method; preconditions are the origin's to judge.
NOT_FROM_STORE = (bit(F_X_HTTP_METHOD) | bit(F_X_HTTP_METHOD_OVERRIDE) | bit(F_X_METHOD_OVERRIDE)
                  | bit(F_IF_MATCH) | bit(F_IF_UNMODIFIED_SINCE))


# -- content that is in the key (QUERY, and what --cache-method names)


cdef begin_content(Exchange x):
    """Hold the request's content, as far as --max-keyed-body lets it into the key."""
    if x.request.method != b"QUERY" and x.request.fields.seen & CONDITIONS:
        return
    if x.body is None:
        x.content = content_key(x, b"")
        return
    if x.request.content_length <= x.route.max_keyed_body:
        x.body.join(x)
        x.body.hold(x.service.cache.bodies, x.route.max_keyed_body)
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
    cdef bytes extra
    x.scheme = b"https" if x.client.secure else b"http"
    if x.client.trusted:
        x.scheme = told_scheme(fields) or x.scheme
    if x.route.host_keyed and x.host is not None:
        x.host = x.host.lower()
    x.url = x.route.url(x.target, x.host, x.scheme)
    if x.content is None and x.request.method != b"GET" and x.request.method != b"HEAD":
        return
    extra = x.content or b""
    if x.route.key_rules is not None:
        extra = x.route.key_rules.extra(fields) + extra
    x.variant = x.route.variants.of(
        fields.joined(F_ACCEPT), fields.joined(F_ACCEPT_ENCODING), fields.joined(F_ACCEPT_LANGUAGE), extra)


cdef find_stored(Exchange x):
    """What is stored for the request, and what to do with it, by RFC 9111 4 and 5.2.1."""
    cdef Fields fields = x.request.fields
    cdef Entry entry
    x.entry = x.partial = None
    x.wanted = NO_DIRECTIVES
    if x.variant is None or (x.body is not None and x.content is None) or fields.seen & NOT_FROM_STORE:
        x.verdict = PASS
        return
    if not x.route.stores or x.route.bypassed(x.target, fields):
        x.verdict = PASS
        return
    if x.route.obeys_clients and (fields.has(F_CACHE_CONTROL) or fields.has(F_PRAGMA)):
        x.wanted = request_directives(fields)
    x.service.cache.drop_outdated(x.url)
    entry = x.service.cache.memory.select(x.url, x.variant, fields)
    if entry is None and x.lookup is not None:
        entry = found_in_redis(x)
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


# -- Redis


cdef bint ask_redis(Exchange x) except -1:
    """Ask Redis for what memory has not; whether there is something to wait for (x.lookup)."""
    cdef CacheManager cache = x.service.cache
    cdef bytes sharing
    if cache.tier is None or not cache.tier.is_usable() or x.variant is None or x.verdict is PASS:
        return False
    if x.entry is not None and (x.verdict is FRESH or cache.tier.stamp(x.url).is_known()):
        return False
    sharing = sharing_key(x)
    if sharing is not None and (cache.coalescing.leader(sharing) is not None
                                or cache.coalescing.is_pass(sharing, time(NULL))):
        return False
    x.lookup = cache.look_up(x, x.url, x.variant, x.request.fields, True)
    return x.lookup is not None


cdef bint ask_again(Exchange x) except -1:
    """Ask once more where another's search has shown that Vary tells the two requests apart."""
    if x.entry is not None or not x.lookup.varies or x.lookup.request is x.request.fields:
        return False
    x.lookup = x.service.cache.look_up(x, x.url, x.variant, x.request.fields, False)
    return x.lookup is not None


cdef Entry found_in_redis(Exchange x):
    """What was found there, where this request selects it (RFC 9111 4.1): memory may not have it."""
    cdef Entry entry = x.lookup.entry
    if entry is None or entry.selecting is None:
        return entry
    names = tuple([name for name, _ in entry.selecting])
    return entry if selecting_values(names, x.request.fields) == entry.selecting else None


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
