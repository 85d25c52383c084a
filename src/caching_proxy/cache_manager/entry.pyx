"""A stored response, its head on the wire built once."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE


# Without the garbage collector: it would walk a million entries again and again, and there are no cycles of entries but
# the tier's queues and chains, which the tier takes apart.
@cython.no_gc
cdef class Entry:
    """A stored response. Immutable but for its places in the memory tier."""

    def __init__(self, bytes url not None, Variant variant not None, int status, bytes head not None,
                 Py_ssize_t validation, bytes body not None, bytes etag, bytes last_modified,
                 bint must_revalidate, int64_t date, int64_t born, int64_t fresh_until):
        self.url = url
        self.variant = variant
        self.status = status
        self.head = head
        self.validation = validation
        self.body = body
        self.etag = etag
        self.last_modified = last_modified
        self.must_revalidate = must_revalidate
        self.date = date
        self.born = born
        self.fresh_until = fresh_until

    cdef Py_ssize_t cost(self) noexcept:
        """Octets of memory, all included."""
        cdef Py_ssize_t variant = 2 * PyBytes_GET_SIZE(self.variant.text)       # the text, and its parts
        return (PyBytes_GET_SIZE(self.head) + PyBytes_GET_SIZE(self.body) + PyBytes_GET_SIZE(self.url)
                + (PyBytes_GET_SIZE(self.etag) if self.etag is not None else 0) + variant + ENTRY_OVERHEAD)
