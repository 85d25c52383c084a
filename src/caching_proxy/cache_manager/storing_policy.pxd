"""RFC 9111's verdicts on storing, for the responses of one route."""

from libc.stdint cimport int64_t, uint64_t

from caching_proxy.http.fields cimport Fields

cdef class StoringPolicy:
    cdef readonly object rules        # rfc9111 Rules
    cdef uint64_t decisive            # fields of a response whose values the terms depend on
    cdef bint all_known               # ... and there are no others
    cdef dict known                   # terms by what they depend on

    cpdef object judge(self, bytes method, Fields request, int status, Fields response, int64_t requested_at,
                       int64_t received_at)
    cdef object terms(self, bytes method, Fields request, int status, Fields response)
