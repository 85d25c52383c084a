"""How the proxy would answer a request, and why: the way of a request up to where it would be sent on.

The very functions of request_path decide; what they found is put into words.
"""

from libc.stdint cimport int64_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport key_digest
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.fill cimport Fill
from caching_proxy.http.fields cimport FieldId, Fields, bit, field_id
from caching_proxy.http.head cimport parse_request
from caching_proxy.proxy_server.exchange cimport Exchange
from caching_proxy.proxy_server.fetching cimport sharing_key
from caching_proxy.proxy_server.heads cimport is_sent_on, stored_head
from caching_proxy.proxy_server.lookup cimport NOT_FROM_STORE, content_key, find_key, find_stored
from caching_proxy.proxy_server.request_path cimport admit
from caching_proxy.proxy_server.service cimport Service

from caching_proxy.cache_manager.rfc9111.reuse import Reuse
from caching_proxy.cache_manager.rfc9111.terms import NotStorable
from caching_proxy.cache_manager.rfc9111.vary import KEYED_FIELDS
from caching_proxy.http.problems import RequestRefused

cdef dict VERDICTS = {
    Reuse.FRESH: "answered from the store: what is stored is fresh",
    Reuse.STALE_ALLOWED: "answered from the store: it is stale, and the request's max-stale allows that",
    Reuse.STALE_WHILE_REVALIDATE: "answered from the store, stale, while it is revalidated in the background",
    Reuse.STALE: "sent to the origin: what is stored is stale, or to be validated before each use",
    Reuse.REFUSED: "sent to the origin: the request's Cache-Control does not take what is stored",
    Reuse.MISS: "sent to the origin: nothing that answers it is stored",
    Reuse.PASS: "sent to the origin, and not stored",
    Reuse.UNSATISFIABLE: "refused with 504: only-if-cached, and nothing stored answers it",
}


cdef class Onlooker(Client):
    """Stands where a client's connection would; nothing is sent to it."""

    def __cinit__(self, Service service):
        self.service = service
        self.peer = ""
        self.writable = True

    cdef send(self, bytes head, list chunks):
        pass

    cdef done(self, Exchange exchange):
        pass


def explain(Service service not None, bytes head not None, bytes content not None):
    """What would become of the request with this head and content, as a dictionary for JSON.

    Nothing is sent and nothing changes. Raises RequestRefused for a head that is no request.
    """
    cdef Exchange x = Exchange(Onlooker(service), parse_request(head), None)
    cdef dict report = {}
    try:
        admit(x)
        if content and len(content) > x.route.max_keyed_body:
            x.body = Fill()
        elif x.request.method in x.route.cached_methods and x.request.method != b"GET":
            x.content = content_key(x, content)
        find_key(x)
        find_stored(x)
    except RequestRefused as refused:
        return {"answer": f"refused with {refused.problem.status}: {refused.problem.detail}"}
    report["answer"] = VERDICTS[x.verdict]
    report["because"] = reasons(x)
    report["key"] = key_parts(x)
    if x.entry is not None or x.partial is not None:
        report["stored"] = described(x, x.entry if x.entry is not None else x.partial)
    report["variants"] = [described(x, entry) for entry in service.cache.memory.of_url(x.url)]
    report["fields"] = judged_fields(x)
    return report


cdef list reasons(Exchange x):
    """What decided besides the verdict's own words."""
    cdef list found = []
    cdef bytes sharing = None
    cdef int64_t now = time(NULL)
    if x.variant is None:
        found.append(f"the method {text(x.request.method)} is not cached")
    elif x.verdict is Reuse.PASS:
        found.append("the request has no-store, content, a precondition of its own or a method override")
    else:
        sharing = sharing_key(x)
    if x.partial is not None:
        found.append("only a part of it is stored")
    elif x.verdict is Reuse.MISS:
        found.append("other variants of this URL are stored" if x.varies else "nothing is stored for this URL")
    if sharing is not None:
        reason = x.service.cache.coalescing.why(sharing, now)
        if reason is not None:
            found.append(f"the last answer could not be shared: {text(reason)}")
        if x.service.cache.coalescing.leader(sharing) is not None:
            found.append("a fetch for it is under way, which it would join")
    return found


cdef dict key_parts(Exchange x):
    if x.variant is None:
        return {"url": text(x.url)}
    return {
        "digest": text(key_digest(x.url, x.variant)),
        "url": text(x.url),
        "accept": text(x.variant.accept),
        "accept-encoding": text(x.variant.accept_encoding),
        "accept-language": text(x.variant.accept_language),
        "more": text(x.variant.extra) or None,
    }


cdef dict described(Exchange x, Entry entry):
    """One stored response; times in seconds, sizes in octets."""
    cdef int64_t now = time(NULL)
    cdef Fields fields = stored_head(entry).fields
    storable = x.route.policy.judge(b"GET", Fields.of([]), entry.status, fields, entry.born, entry.born)
    held = entry.length if entry.body is not None else sum([len(octets) for _, octets in entry.parts])
    return {
        "key": text(key_digest(entry.url, entry.variant)),
        "accept": text(entry.variant.accept),
        "accept-encoding": text(entry.variant.accept_encoding),
        "accept-language": text(entry.variant.accept_language),
        "tier": "memory",
        "status": entry.status,
        "age": max(0, now - entry.born),
        "ttl": entry.fresh_until - now,
        "lifetime": entry.fresh_until - entry.born,
        "lifetime from": "-" if isinstance(storable, NotStorable) else text(storable.source.value),
        "validated before each use": entry.no_cache,
        "never stale": entry.must_revalidate,
        "stale while revalidating": entry.stale_while_revalidate,
        "stale if error": entry.stale_if_error if entry.stale_if_error >= 0 else x.route.stale_if_error,
        "etag": text(entry.etag),
        "last-modified": text(entry.last_modified),
        "vary": {text(name): text(value) for name, value in entry.selecting or ()},
        "tags": [text(tag.partition(b"\n")[2]) for tag in entry.tags or ()],
        "length": entry.length,
        "octets held": held,
    }


cdef dict judged_fields(Exchange x):
    """The request's fields by what becomes of them; those passed on unkeyed are for the origin's Vary to name."""
    cdef dict found = {"in the key": [], "not passed on": [], "nothing stored is used with it": [],
                       "passed on, not in the key": []}
    cdef FieldId field
    cdef bytes name
    for name, _ in x.request.fields.items():
        field = field_id(name, len(name))
        if name.lower() in KEYED_FIELDS or name.lower() in x.route.keyed_names:
            found["in the key"].append(text(name))
        elif not is_sent_on(x.route, name):
            found["not passed on"].append(text(name))
        elif bit(field) & NOT_FROM_STORE:
            found["nothing stored is used with it"].append(text(name))
        else:
            found["passed on, not in the key"].append(text(name))
    return found


cdef object text(bytes value):
    return None if value is None else value.decode("latin-1")
