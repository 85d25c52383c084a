"""A stored response, its head on the wire built once."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE


cdef frozenset PERSONAL = frozenset((b"cookie", b"authorization"))


# Without the garbage collector: it would walk a million entries again and again, and there are no cycles of entries but
# the tier's queues and chains, which the tier takes apart.
@cython.no_gc
cdef class Entry:
    """A stored response. Immutable but for its places in the memory tier and the end of its freshness."""

    def __init__(self, bytes url not None, Variant variant not None, tuple selecting, int status, bytes head not None,
                 Py_ssize_t validation, bytes body, tuple parts, int64_t length, bytes etag, bytes last_modified,
                 storable, int64_t received_at, tuple tags):
        self.set(url, variant, selecting, status, head, validation, body, parts, length, etag, last_modified, storable,
                 received_at, tags)

    cdef set(self, bytes url, Variant variant, tuple selecting, int status, bytes head, Py_ssize_t validation,
             bytes body, tuple parts, int64_t length, bytes etag, bytes last_modified, storable, int64_t received_at,
             tuple tags):
        """Whole with a `body`, else partial with `parts`; `storable` is rfc9111's verdict on it."""
        self.url = url
        self.variant = variant
        self.selecting = selecting
        self.status = status
        self.head = head
        self.validation = validation
        self.body = body
        self.parts = parts
        self.length = length
        self.etag = etag
        self.last_modified = last_modified
        self.tags = tags
        self.date = storable.date
        self.born = received_at - storable.age
        self.fresh_until = self.born + storable.lifetime
        self.stale_while_revalidate = storable.stale_while_revalidate
        self.stale_if_error = storable.stale_if_error
        self.must_revalidate = storable.must_revalidate
        self.no_cache = storable.no_cache

    cdef Py_ssize_t cost(self) noexcept:
        """Octets of memory, all included."""
        cdef Py_ssize_t size = 2 * PyBytes_GET_SIZE(self.variant.text)       # the text, and its parts
        cdef tuple pair
        cdef bytes tag
        size += PyBytes_GET_SIZE(self.head) + PyBytes_GET_SIZE(self.url) + ENTRY_OVERHEAD
        if self.body is not None:
            size += PyBytes_GET_SIZE(self.body)
        if self.etag is not None:
            size += PyBytes_GET_SIZE(self.etag)
        if self.parts is not None:
            for pair in self.parts:
                size += PyBytes_GET_SIZE(<bytes>pair[1]) + TAG_OVERHEAD
        if self.selecting is not None:
            for pair in self.selecting:
                size += TAG_OVERHEAD + (PyBytes_GET_SIZE(<bytes>pair[1]) if pair[1] is not None else 0)
        if self.tags is not None:
            for tag in self.tags:
                size += TAG_OVERHEAD + PyBytes_GET_SIZE(tag)
        return size

    cdef bint is_personal(self) except -1:
        """Whether Vary selected it by who asked: an origin may give everybody's page one tag."""
        for name, _ in self.selecting or ():
            if name in PERSONAL:
                return True
        return False

    cdef bytes octets(self, int64_t first, int64_t last):
        """The octets of the body from `first` to `last`, both included; None where some of them are not there."""
        cdef list found = []
        cdef tuple part
        cdef bytes text
        cdef int64_t start, at = first
        if self.parts is None:
            return self.body if first == 0 and last == self.length - 1 else self.body[first:last + 1]
        for part in self.parts:
            start = part[0]
            text = part[1]
            if start <= at < start + PyBytes_GET_SIZE(text):
                found.append(text[at - start:last + 1 - start])
                at += PyBytes_GET_SIZE(<bytes>found[len(found) - 1])
                if at > last:
                    return b"".join(found)
        return None
