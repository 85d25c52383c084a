"""The primary cache key: URL and the request fields that select a representation.

Accept, Accept-Encoding and Accept-Language count in normalised form, so that requests which mean the same share what
is stored. A HEAD is answered from a GET: both have the key of the GET.
"""

from hashlib import sha256

from caching_proxy.http.accept import (
    normalise_accept,
    normalise_accept_encoding,
    normalise_accept_language,
)

from libc.stdint cimport int64_t

cdef enum:
    MEMO_ENTRIES = 4096       # combinations of field values remembered; then the memo starts anew
    MEMO_SIZE = 1024          # octets of a combination that is remembered
    KIND_SIZE = 6             # "cache:"


# Of what was asked for lately: a response that is never stored needs its key each time.
cdef dict DIGESTS = {}


cdef class Variant:
    """What a request has in the key besides its URL.

    Normalised Accept, Accept-Encoding and Accept-Language, None where it has no such field, and what --key-header and
    its like, and content of the request, add.
    """


cdef class Variants:
    """Finds the Variant of a request's field values; equal ones are one object.

    All have `told` in them: what a route tells the origin besides.
    """

    def __cinit__(self, bytes told=b""):
        self.told = told
        self.memo = {}
        self.interned = {}
        self.plain = self.of(None, None, None)

    cdef Variant find(self, bytes raw):
        """The remembered Variant for the three raw values, each with "=" before and LF behind it (absent: LF alone)."""
        return self.memo.get(raw)

    cpdef Variant of(self, bytes accept, bytes accept_encoding, bytes accept_language, bytes extra=b""):
        """The Variant for these values as they came (None: absent); `extra` is empty or canonical already."""
        cdef bytes raw = raw_line(accept) + raw_line(accept_encoding) + raw_line(accept_language) + extra
        cdef Variant variant = self.memo.get(raw)
        if variant is not None:
            return variant
        extra = self.told + extra
        variant = Variant.__new__(Variant)
        variant.accept = None if accept is None else normalise_accept(accept)
        variant.accept_encoding = None if accept_encoding is None else normalise_accept_encoding(accept_encoding)
        variant.accept_language = None if accept_language is None else normalise_accept_language(accept_language)
        variant.extra = extra
        variant.text = b"%b\n%b\n%b" % (
            variant.accept or b"", variant.accept_encoding or b"", variant.accept_language or b"")
        if extra:
            variant.text += b"\n" + extra
        if len(raw) > MEMO_SIZE:
            return variant
        if len(self.memo) >= MEMO_ENTRIES:
            self.memo.clear()
            self.interned.clear()
        variant = self.interned.setdefault(variant.text, variant)
        self.memo[raw] = variant
        return variant


cdef bytes raw_line(bytes value):
    return b"\n" if value is None else b"=" + value + b"\n"


cpdef bytes slice_url(bytes url, int64_t number):
    """Under what a slice of a URL's response is stored; there is no NUL in a URL."""
    return b"%b\0%d" % (url, number)


cpdef bytes whole_url(bytes url):
    """The URL that a slice is of, or the URL itself."""
    return url.partition(b"\0")[0] if b"\0" in url else url


cpdef bytes key_digest(bytes url, Variant variant):
    """What X-Cache-Key shows and Redis uses: `cache:` and the SHA-256 of method, URL and variant in hexadecimal."""
    cdef bytes text = b"GET\n" + url + b"\n" + variant.text
    cdef bytes digest = DIGESTS.get(text)
    if digest is None:
        digest = b"cache:" + sha256(text).hexdigest().encode()
        if len(DIGESTS) >= MEMO_ENTRIES:
            DIGESTS.clear()
        if len(text) <= MEMO_SIZE:
            DIGESTS[text] = digest
    return digest


cpdef bytes stored_name(bytes url, Variant variant, tuple selecting):
    """The name in Redis of a stored response, behind the prefix: 64 hexadecimal digits.

    They are those of its key. What Vary selects besides (`selecting`) makes another name of it.
    """
    cdef bytes name = key_digest(url, variant)[KIND_SIZE:]
    if selecting is None:
        return name
    values = [field if value is None else b"%b=%b" % (field, value) for field, value in selecting]
    return sha256(b"\0".join([name, *values])).hexdigest().encode()
