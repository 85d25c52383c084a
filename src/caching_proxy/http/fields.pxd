"""A header section as one block of bytes and a table of where its lines stand."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

# Fields that the proxy itself looks at. The order is that of NAMES in fields.pyx.
cdef enum FieldId:
    F_OTHER, F_HOST, F_CONNECTION, F_KEEP_ALIVE, F_PROXY_CONNECTION, F_TE, F_TRAILER
    F_TRANSFER_ENCODING, F_UPGRADE, F_HTTP2_SETTINGS, F_PROXY_AUTHENTICATE, F_PROXY_AUTHORIZATION
    F_CONTENT_LENGTH, F_EXPECT, F_ACCEPT, F_ACCEPT_ENCODING, F_ACCEPT_LANGUAGE
    F_IF_NONE_MATCH, F_IF_MODIFIED_SINCE, F_IF_MATCH, F_IF_UNMODIFIED_SINCE, F_IF_RANGE, F_RANGE
    F_CACHE_CONTROL, F_PRAGMA, F_AUTHORIZATION, F_COOKIE, F_SET_COOKIE, F_VIA
    F_X_FORWARDED_FOR, F_X_FORWARDED_PROTO, F_X_FORWARDED_HOST, F_FORWARDED
    F_DATE, F_AGE, F_ETAG, F_LAST_MODIFIED, F_EXPIRES, F_VARY, F_CONTENT_TYPE, F_CONTENT_ENCODING
    F_CONTENT_LANGUAGE, F_CONTENT_RANGE, F_CONTENT_LOCATION, F_LOCATION
    F_CACHE_STATUS, F_X_CACHE, F_X_CACHE_KEY, F_CDN_CACHE_CONTROL
    F_X_HTTP_METHOD, F_X_HTTP_METHOD_OVERRIDE, F_X_METHOD_OVERRIDE
    # Client's words about its own request that an origin may believe and that are in no key: not sent on.
    F_UNKEYED, F_X_HOST, F_X_ORIGINAL_HOST, F_X_ORIGINAL_URL, F_X_REAL_IP, F_X_REWRITE_URL, F_X_URL_SCHEME
    F_CACHE_GROUPS, F_NO_VARY_SEARCH, F_PROXY_AUTHENTICATION_INFO
    FIELD_IDS

cdef struct Span:
    uint32_t name             # offsets into the block
    uint32_t value
    uint32_t value_size
    uint32_t name_size
    uint8_t field

cdef inline uint64_t bit(FieldId field) noexcept nogil:
    return <uint64_t>1 << field

cdef FieldId known_id(const char* name, Py_ssize_t size) noexcept nogil
cdef bint is_unkeyed(const char* name, Py_ssize_t size) noexcept nogil
cdef FieldId field_id(const char* name, Py_ssize_t size) noexcept nogil

cdef class Fields:
    cdef bytes block
    cdef const char* base
    cdef Span* spans
    cdef readonly int count
    cdef uint64_t seen        # a bit for every FieldId that occurs

    @staticmethod
    cdef Fields adopt(bytes block, const Span* spans, int count)
    cdef bint has(self, FieldId field) noexcept nogil
    cdef bint contains(self, bytes name) noexcept
    cdef int occurrences(self, FieldId field) noexcept nogil
    cdef bytes first(self, FieldId field)
    cdef bytes joined(self, FieldId field)
    cdef Fields without_named(self)
    cdef bytes excerpt(self, uint64_t fields)
