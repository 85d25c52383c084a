"""A header section as one block of bytes and a table of where its lines stand.

No Python object is made for a line until somebody asks for its value: most lines are only copied on.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy

from caching_proxy.http.grammar cimport LOWER, equals_lower

cdef enum:
    EXCERPT_MAX = 512         # octets

cdef tuple NAMES = (
    b"", b"host", b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"http2-settings", b"proxy-authenticate",
    b"proxy-authorization", b"content-length", b"expect", b"accept", b"accept-encoding",
    b"accept-language", b"if-none-match", b"if-modified-since", b"if-match",
    b"if-unmodified-since", b"if-range", b"range", b"cache-control", b"pragma", b"authorization",
    b"cookie", b"set-cookie", b"via", b"x-forwarded-for", b"x-forwarded-proto",
    b"x-forwarded-host", b"forwarded", b"date", b"age", b"etag", b"last-modified", b"expires",
    b"vary", b"content-type", b"content-encoding", b"content-language", b"content-range",
    b"content-location", b"location", b"cache-status", b"x-cache", b"x-cache-key",
    b"cdn-cache-control",
    b"x-http-method", b"x-http-method-override", b"x-method-override",
    b"", b"x-host", b"x-original-host", b"x-original-url", b"x-real-ip", b"x-rewrite-url",
    b"x-url-scheme",
    b"cache-groups", b"no-vary-search", b"proxy-authentication-info",
)
assert len(NAMES) == FIELD_IDS <= 64

# What gateways and their products tell an origin about a client, its address, scheme, host and URL: an origin that
# believes one of these from anybody can be made to answer for all with it. They are F_UNKEYED, as X-Forwarded-* is.
cdef tuple WORDS_OF_GATEWAYS = (
    # address
    b"cf-connecting-ip", b"cf-connecting-ipv6", b"cf-ipcountry", b"client-ip", b"cloudfront-viewer-address",
    b"fastly-client-ip", b"fly-client-ip", b"incap-client-ip", b"proxy-client-ip", b"true-client-ip",
    b"wl-proxy-client-ip", b"x-appengine-user-ip", b"x-azure-clientip", b"x-azure-socketip", b"x-client-ip",
    b"x-cluster-client-ip", b"x-envoy-external-address", b"x-forward-for", b"x-original-forwarded-for",
    b"x-originating-ip", b"x-remote-addr", b"x-remote-ip", b"x-remote-user", b"x-true-client-ip",
    # scheme
    b"cf-visitor", b"cloudfront-forwarded-proto", b"fastly-ssl", b"front-end-https", b"x-arr-ssl", b"x-proto",
    b"x-scheme", b"x-ssl",
    # host
    b"x-backend-host", b"x-host-override", b"x-http-host-override", b"x-server-name",
    # URL and method
    b"destination-url", b"x-accel-mapping", b"x-http-destinationurl", b"x-original-method", b"x-original-uri",
    b"x-request-uri", b"x-script-name", b"x-uri", b"x-url",
    # what an origin runs inside itself; CGI turns Proxy into HTTP_PROXY
    b"proxy", b"x-middleware-prefetch", b"x-middleware-rewrite", b"x-middleware-subrequest",
)

# What Connection cannot take away (and itself, which is dropped by its id).
cdef frozenset NEVER_NAMED = frozenset(
    (b"connection", b"content-length", b"host", b"transfer-encoding"))

# A hash table with chaining over the known names, then those words; index 0 (F_OTHER) ends a chain.
cdef tuple ALL_NAMES = NAMES + WORDS_OF_GATEWAYS
cdef uint8_t BUCKETS[256]
cdef uint8_t CHAIN[128]
cdef const char* NAME_TEXT[128]
cdef Py_ssize_t NAME_SIZE[128]
assert len(ALL_NAMES) <= 128


cdef inline uint8_t bucket(const char* name, Py_ssize_t size) noexcept nogil:
    return <uint8_t>(size * 13 + LOWER[<uint8_t>name[0]] * 5 + LOWER[<uint8_t>name[size - 1]] * 3)


cdef void fill_buckets() except *:
    cdef int number
    cdef uint8_t slot
    for number in range(1, len(ALL_NAMES)):
        if number == F_UNKEYED:
            continue
        NAME_TEXT[number] = PyBytes_AS_STRING(ALL_NAMES[number])
        NAME_SIZE[number] = PyBytes_GET_SIZE(ALL_NAMES[number])
        slot = bucket(NAME_TEXT[number], NAME_SIZE[number])
        CHAIN[number] = BUCKETS[slot]
        BUCKETS[slot] = number


fill_buckets()


cdef FieldId known_id(const char* name, Py_ssize_t size) noexcept nogil:
    cdef uint8_t number = BUCKETS[bucket(name, size)]
    while number:
        if NAME_SIZE[number] == size and equals_lower(name, NAME_TEXT[number], size):
            return <FieldId>number if number < FIELD_IDS else F_UNKEYED
        number = CHAIN[number]
    return F_OTHER


cdef FieldId field_id(const char* name, Py_ssize_t size) noexcept nogil:
    """The id of a field name of any case; F_OTHER when the proxy only copies it."""
    cdef FieldId known
    if size < 1:
        return F_OTHER
    known = known_id(name, size)
    if known != F_OTHER:
        return known
    return F_UNKEYED if is_unkeyed(name, size) else F_OTHER


cdef bint is_unkeyed(const char* name, Py_ssize_t size) noexcept nogil:
    """Whether an origin may take this for one of the fields that the proxy judges or writes itself.

    The family of X-Forwarded-*, and known names with underscores: CGI cannot tell them from hyphens.
    """
    cdef char hyphened[32]
    cdef Py_ssize_t at
    cdef Py_ssize_t looked = min(size, 32)
    if size > 12 and equals_lower(name, b"x-forwarded-", 12):
        return True
    if memchr(name, c"_", size) == NULL:
        return False
    for at in range(looked):
        hyphened[at] = c"-" if name[at] == c"_" else name[at]
    if size > 12 and equals_lower(hyphened, b"x-forwarded-", 12):
        return True
    return size == looked and known_id(hyphened, size) != F_OTHER


@cython.freelist(64)
cdef class Fields:
    """The lines of one header section in the order they came."""

    def __dealloc__(self):
        free(self.spans)

    @staticmethod
    cdef Fields adopt(bytes block, const Span* spans, int count):
        """Lines at `spans` (copied) of `block` (referenced)."""
        cdef Fields self = Fields.__new__(Fields)
        cdef int at
        self.spans = <Span*>malloc(sizeof(Span) * (count if count else 1))
        if self.spans == NULL:
            raise MemoryError
        memcpy(self.spans, spans, sizeof(Span) * count)
        self.block = block
        self.base = PyBytes_AS_STRING(block)
        self.count = count
        for at in range(count):
            self.seen |= <uint64_t>1 << spans[at].field
        return self

    @staticmethod
    def of(lines):
        """The section that has these (name, value) pairs, all bytes."""
        cdef list pairs = list(lines)
        cdef bytes block = b"".join([name + value for name, value in pairs])
        cdef Span* spans = <Span*>malloc(sizeof(Span) * (len(pairs) + 1))
        cdef int at = 0
        cdef Py_ssize_t offset = 0
        if spans == NULL:
            raise MemoryError
        try:
            for name, value in pairs:
                spans[at].name = offset
                spans[at].name_size = len(name)
                spans[at].value = offset + len(name)
                spans[at].value_size = len(value)
                spans[at].field = field_id(PyBytes_AS_STRING(name), len(name))
                offset += len(name) + len(value)
                at += 1
            return Fields.adopt(block, spans, at)
        finally:
            free(spans)

    cdef bint has(self, FieldId field) noexcept nogil:
        return (self.seen >> field) & 1

    cdef bint contains(self, bytes name) noexcept:
        """Whether there is a line of that name, given in lower case."""
        cdef int at
        for at in range(self.count):
            if self.spans[at].name_size == PyBytes_GET_SIZE(name) and equals_lower(
                    self.base + self.spans[at].name, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)):
                return True
        return False

    cdef int occurrences(self, FieldId field) noexcept nogil:
        cdef int at, number = 0
        if self.has(field):
            for at in range(self.count):
                number += self.spans[at].field == field
        return number

    cdef bytes first(self, FieldId field):
        """The value of the first line with that id, or None."""
        cdef int at
        if self.has(field):
            for at in range(self.count):
                if self.spans[at].field == field:
                    return self.base[self.spans[at].value:self.spans[at].value
                                     + self.spans[at].value_size]
        return None

    cdef bytes joined(self, FieldId field):
        """The values of all lines with that id as one list (RFC 9110 5.3), or None."""
        cdef list values
        if not self.has(field):
            return None
        if self.occurrences(field) == 1:
            return self.first(field)
        values = [value for name, value in self.items()
                  if field_id(PyBytes_AS_STRING(name), len(name)) == field]
        return b", ".join(values)

    cdef Fields without_named(self):
        """Without the lines that Connection names, RFC 9110 7.6.1.

        Framing fields and Host stay whatever it names: a message that could shed them could be cut in two.
        """
        cdef set named = {name.strip(b" \t") for name in self.joined(F_CONNECTION).lower().split(b",")}
        named -= NEVER_NAMED
        return Fields.of([(name, value) for name, value in self.items() if name.lower() not in named])

    def values(self, bytes name not None):
        """The values of the lines of that name (given in lower case), in order."""
        cdef int at
        cdef Span span
        cdef list found = []
        for at in range(self.count):
            span = self.spans[at]
            if span.name_size == len(name) and equals_lower(
                    self.base + span.name, PyBytes_AS_STRING(name), len(name)):
                found.append(self.base[span.value:span.value + span.value_size])
        return found

    def combined(self, bytes name not None):
        """The values of all lines of that name (given in lower case), joined by ", "; None without any.

        RFC 9110 5.3.
        """
        cdef FieldId field = field_id(PyBytes_AS_STRING(name), len(name))
        cdef list values
        if field != F_OTHER and field != F_UNKEYED:         # F_UNKEYED is many names
            return self.joined(field)
        values = self.values(name)
        return b", ".join(values) if values else None

    cdef bytes excerpt(self, uint64_t fields):
        """The ids and values of the lines that are in `fields`, as one text; None where it would be a long one."""
        cdef char text[EXCERPT_MAX]
        cdef int at
        cdef Span* span
        cdef Py_ssize_t size = 0
        for at in range(self.count):
            span = &self.spans[at]
            if not bit(<FieldId>span.field) & fields:
                continue
            if size + span.value_size + 2 > EXCERPT_MAX:
                return None
            text[size] = span.field
            memcpy(text + size + 1, self.base + span.value, span.value_size)
            size += span.value_size + 2
            text[size - 1] = c"\n"
        return text[:size]

    def items(self):
        """All lines as (name, value), as they came."""
        cdef int at
        cdef Span span
        cdef list lines = []
        for at in range(self.count):
            span = self.spans[at]
            lines.append((self.base[span.name:span.name + span.name_size],
                          self.base[span.value:span.value + span.value_size]))
        return lines

    def __len__(self):
        return self.count

    def __repr__(self):
        return f"Fields({self.items()!r})"
