"""RFC 9111's verdicts on storing, for the responses of one route.

What responses say about storing is of few kinds: the terms of each kind are read once and remembered.
"""

from libc.stdint cimport uint64_t

from caching_proxy.http.fields cimport (
    F_AUTHORIZATION, F_CACHE_CONTROL, F_CDN_CACHE_CONTROL, F_CONNECTION, F_CONTENT_TYPE, F_COOKIE, F_SET_COOKIE,
    F_VARY, bit,
)

from caching_proxy.cache_manager.rfc9111.storable import apply_terms
from caching_proxy.cache_manager.rfc9111.terms import terms_of

cdef enum:
    KINDS_MAX = 256           # then all are forgotten

# Of these it counts only whether they are there.
cdef uint64_t OF_REQUESTS = bit(F_COOKIE) | bit(F_AUTHORIZATION)
cdef uint64_t OF_RESPONSES = bit(F_SET_COOKIE)


cdef class StoringPolicy:
    """What `rules` (rfc9111 Rules) make of responses."""

    def __init__(self, rules not None):
        self.rules = rules
        self.decisive = bit(F_CACHE_CONTROL) | bit(F_CDN_CACHE_CONTROL) | bit(F_VARY) | bit(F_CONNECTION)
        if rules.by_response:
            self.decisive |= bit(F_CONTENT_TYPE)
        self.all_known = {b"cdn-cache-control"}.issuperset(rules.targets)
        self.known = {}

    cpdef object judge(self, bytes method, Fields request, int status, Fields response, int64_t requested_at,
                       int64_t received_at):
        """rfc9111's judge_storing: Storable, or why it is NotStorable. Times in seconds since 1970."""
        return apply_terms(self.terms(method, request, status, response), response, requested_at, received_at)

    cdef object terms(self, bytes method, Fields request, int status, Fields response):
        """rfc9111's terms_of."""
        cdef bytes said = response.excerpt(self.decisive)
        cdef bytes asked = request.excerpt(bit(F_CACHE_CONTROL))
        cdef tuple kind
        if said is None or asked is None or status == 206 or not self.all_known:
            return terms_of(method, request, status, response, self.rules)
        kind = (method, status, said, asked, (request.seen & OF_REQUESTS) | (response.seen & OF_RESPONSES))
        terms = self.known.get(kind)
        if terms is None:
            terms = terms_of(method, request, status, response, self.rules)
            if len(self.known) >= KINDS_MAX:
                self.known.clear()
            self.known[kind] = terms
        return terms
