"""A stored response as the octets that Redis holds: a flat, versioned layout.

Whoever can write to Redis can write anything there: nothing is believed that could reach beyond this entry. What does
not fit its own sizes, is of another version, or has a head that would not stand for itself on a connection, is None:
a miss. `Fixed` comes first, then texts, each behind its size: URL, variant, entity tag, Last-Modified, head, names and
values that Vary adds, tags with their generations, parts with their places, body.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport Entry
from caching_proxy.cache_manager.purge_log cimport Stamp
from caching_proxy.http.grammar cimport TOKEN, VALUE, equals_lower
from caching_proxy.http.wire cimport Wire

cdef enum:
    MAGIC = 0xCAC4            # another byte order does not have it
    VERSION = 1               # of this layout: whoever changes it counts on
    MUST_REVALIDATE = 1
    NO_CACHE = 2
    COMPRESSED = 4
    SELECTING = 8             # Vary adds something to the key
    TAGGED = 16
    PARTIAL = 32
    FLAGS = 63
    ITEMS_MAX = 65535         # parts, or what Vary adds
    TAGS_MAX = 1024
    NAMES_MAX = 256           # fields that select

cdef int64_t LARGEST = <int64_t>1 << 53       # seconds or octets: whole as a double too
cdef uint32_t NONE = 0xFFFFFFFF       # in place of the size of a text that is not there
cdef bytes NAMES = b"\xc5\xca\x01Vary\n"     # with a version of its own
cdef bytes KEY_LINE = b"X-Cache: HIT\r\nX-Cache-Key: "
cdef bytes AGE = b"\r\nAge: "

cdef packed struct Fixed:
    uint16_t magic
    uint8_t version
    uint8_t flags
    uint16_t status
    uint16_t selecting        # how many there are of each
    uint16_t tags
    uint16_t parts
    uint32_t validation
    uint32_t chunks
    int32_t stale_while_revalidate
    int32_t stale_if_error
    int64_t length
    int64_t date
    int64_t born
    int64_t fresh_until
    int64_t number            # of the URL's generation
    int64_t sequence          # of the last purge that was known
    int64_t nonce             # that the chunks of the body begin with

cdef struct Cursor:
    const char* at
    const char* end
    bint broken               # what was asked for is not there

cdef Wire WIRE = Wire()


@cython.final
cdef class Decoded:
    """An entry, and what the tier has to know besides."""


# -- to octets


cpdef bytes encode(Entry entry, Stamp stamp, tuple generations=None,
                   bytes compressed=None, uint32_t chunks=0, int64_t nonce=0):
    """The octets of an entry.

    `stamp` says as of when it is current, `generations` are those of its tags; `compressed` stands for its body; with
    `chunks` that lies elsewhere, in as many pieces that begin with `nonce`. None for an entry that has more parts or
    tags than the layout counts.
    """
    cdef Fixed fixed
    cdef tuple pair
    if max(len(entry.selecting or ()), len(entry.parts or ())) > ITEMS_MAX or len(entry.tags or ()) > TAGS_MAX:
        return None
    fixed.magic = MAGIC
    fixed.version = VERSION
    fixed.flags = flags_of(entry, compressed is not None)
    fixed.status = entry.status
    fixed.selecting = len(entry.selecting or ())
    fixed.tags = len(entry.tags or ())
    fixed.parts = len(entry.parts or ())
    fixed.validation = entry.validation
    fixed.chunks = chunks
    fixed.stale_while_revalidate = entry.stale_while_revalidate
    fixed.stale_if_error = entry.stale_if_error
    fixed.length = entry.length
    fixed.date = entry.date
    fixed.born = entry.born
    fixed.fresh_until = entry.fresh_until
    fixed.number = stamp.number
    fixed.sequence = stamp.sequence
    fixed.nonce = nonce
    WIRE.begin()
    WIRE.put(<const char*>&fixed, sizeof(fixed))
    for text in (entry.url, entry.variant.text, entry.etag, entry.last_modified, entry.head):
        put_text(text)
    for pair in entry.selecting or ():
        put_text(pair[0])
        put_text(pair[1])
    for tag, generation in zip(entry.tags or (), generations or ()):
        put_text(tag)
        put_number(generation)
    for pair in entry.parts or ():
        put_number(pair[0])
        put_text(pair[1])
    put_text(None if chunks else compressed if compressed is not None else entry.body)
    return WIRE.take()


cdef uint8_t flags_of(Entry entry, bint compressed) except? 255:
    return (MUST_REVALIDATE * entry.must_revalidate | NO_CACHE * entry.no_cache | COMPRESSED * compressed
            | SELECTING * (entry.selecting is not None) | TAGGED * (entry.tags is not None)
            | PARTIAL * (entry.parts is not None))


cdef int put_text(bytes text) except -1:
    cdef uint32_t size = NONE if text is None else PyBytes_GET_SIZE(text)
    WIRE.put(<const char*>&size, sizeof(size))
    return 0 if text is None else WIRE.put_bytes(text)


cdef int put_number(int64_t number) except -1:
    return WIRE.put(<const char*>&number, sizeof(number))


# -- from octets


cpdef Decoded decode(bytes data, bytes url, Variant variant, bytes key):
    """What octets say is stored under `key` for this URL and variant; None where they do not say that."""
    cdef Cursor cursor
    cdef Fixed fixed
    cdef Decoded decoded
    cdef Entry entry
    cursor.at = PyBytes_AS_STRING(data)
    cursor.end = cursor.at + PyBytes_GET_SIZE(data)
    cursor.broken = False
    if not take_fixed(&cursor, &fixed) or not skip_text(&cursor, url) or not skip_text(&cursor, variant.text):
        return None
    entry = Entry.__new__(Entry)
    decoded = Decoded.__new__(Decoded)
    decoded.entry = entry
    decoded.stamp = Stamp(fixed.number, fixed.sequence)
    decoded.chunks = fixed.chunks
    decoded.nonce = fixed.nonce
    decoded.compressed = fixed.flags & COMPRESSED != 0
    entry.url = url
    entry.variant = variant
    entry.status = fixed.status
    entry.validation = fixed.validation
    entry.length = fixed.length
    entry.date = fixed.date
    entry.born = fixed.born
    entry.fresh_until = fixed.fresh_until
    entry.stale_while_revalidate = fixed.stale_while_revalidate
    entry.stale_if_error = fixed.stale_if_error
    entry.must_revalidate = fixed.flags & MUST_REVALIDATE != 0
    entry.no_cache = fixed.flags & NO_CACHE != 0
    entry.etag = take_text(&cursor)
    entry.last_modified = take_text(&cursor)
    entry.head = take_text(&cursor)
    if fixed.flags & SELECTING:
        entry.selecting = take_pairs(&cursor, fixed.selecting)
    if fixed.flags & TAGGED:
        take_tags(&cursor, fixed.tags, decoded)
    if fixed.flags & PARTIAL:
        entry.parts = take_parts(&cursor, fixed.parts, fixed.length)
    entry.body = take_text(&cursor)
    if cursor.broken or cursor.at != cursor.end or entry.head is None or not is_consistent(decoded, &fixed):
        return None
    return decoded if is_head(entry, key) else None


cpdef bint is_other_version(bytes data) except -1:
    """Whether octets are of a layout of another version of this program: somebody may want them."""
    return len(data) > 2 and data[:2] == encode_magic() and data[2] != VERSION


cdef bytes encode_magic():
    cdef uint16_t magic = MAGIC
    return PyBytes_FromStringAndSize(<const char*>&magic, sizeof(magic))


cdef bint take_fixed(Cursor* cursor, Fixed* fixed) noexcept:
    if cursor.end - cursor.at < <Py_ssize_t>sizeof(Fixed):
        return False
    memcpy(fixed, cursor.at, sizeof(Fixed))
    cursor.at += sizeof(Fixed)
    return fixed.magic == MAGIC and fixed.version == VERSION and not fixed.flags & ~FLAGS


cdef Py_ssize_t take_size(Cursor* cursor) noexcept:
    """The size of the text that follows; -1: there is none."""
    cdef uint32_t size
    if cursor.end - cursor.at < <Py_ssize_t>sizeof(size):
        cursor.broken = True
        return -1
    memcpy(&size, cursor.at, sizeof(size))
    cursor.at += sizeof(size)
    if size == NONE:
        return -1
    if size > cursor.end - cursor.at:
        cursor.broken = True
        return -1
    return size


cdef bytes take_text(Cursor* cursor):
    cdef Py_ssize_t size = take_size(cursor)
    if size < 0:
        return None
    cursor.at += size
    return PyBytes_FromStringAndSize(cursor.at - size, size)


cdef bint skip_text(Cursor* cursor, bytes expected) noexcept:
    """Whether the text is the one that is expected."""
    cdef Py_ssize_t size = take_size(cursor)
    if size != PyBytes_GET_SIZE(expected) or memcmp(cursor.at, PyBytes_AS_STRING(expected), size) != 0:
        return False
    cursor.at += size
    return True


cdef int64_t take_number(Cursor* cursor) noexcept:
    cdef int64_t number
    if cursor.end - cursor.at < <Py_ssize_t>sizeof(number):
        cursor.broken = True
        return 0
    memcpy(&number, cursor.at, sizeof(number))
    cursor.at += sizeof(number)
    return number


cdef tuple take_pairs(Cursor* cursor, int count):
    cdef list pairs = []
    cdef bytes name
    while len(pairs) < count and not cursor.broken:
        name = take_text(cursor)
        cursor.broken |= name is None
        pairs.append((name, take_text(cursor)))
    return tuple(pairs)


cdef take_tags(Cursor* cursor, int count, Decoded decoded):
    cdef list tags = []
    cdef list generations = []
    cdef bytes tag
    while len(tags) < min(count, TAGS_MAX) and not cursor.broken:
        tag = take_text(cursor)
        cursor.broken |= tag is None
        tags.append(tag)
        generations.append(take_number(cursor))
    cursor.broken |= len(set(tags)) != len(tags)
    decoded.entry.tags = tuple(tags)
    decoded.generations = tuple(generations)


cdef tuple take_parts(Cursor* cursor, int count, int64_t length):
    """Parts in order, none overlapping another, all within the body."""
    cdef list parts = []
    cdef int64_t first, at = 0
    cdef bytes octets
    while len(parts) < count and not cursor.broken:
        first = take_number(cursor)
        octets = take_text(cursor)
        if octets is None or first < at or first > length or PyBytes_GET_SIZE(octets) > length - first:
            cursor.broken = True
            break
        at = first + PyBytes_GET_SIZE(octets)
        parts.append((first, octets))
    return tuple(parts)


cdef bint is_consistent(Decoded decoded, Fixed* fixed) except -1:
    """Whether sizes, numbers and flags go together."""
    cdef Entry entry = decoded.entry
    if not 200 <= entry.status <= 999 or entry.length < 0 or entry.length > LARGEST:
        return False
    if entry.status == 205 or entry.status == 304 or (entry.status == 204 and entry.length > 0):
        return False
    if fixed.nonce < 0 or fixed.tags > TAGS_MAX or not (is_value(entry.etag) and is_value(entry.last_modified)):
        return False
    if entry.stale_while_revalidate < 0 or entry.stale_if_error < -1:
        return False
    if not (is_time(entry.date) and is_time(entry.born) and is_time(entry.fresh_until)):
        return False
    if (fixed.selecting and entry.selecting is None) or (fixed.tags and entry.tags is None):
        return False
    if entry.parts is not None:
        return entry.body is None and not decoded.compressed and decoded.chunks == 0
    if fixed.parts or (entry.body is None) != (decoded.chunks > 0):
        return False
    return decoded.chunks > 0 or decoded.compressed or PyBytes_GET_SIZE(entry.body) == entry.length


cdef bint is_value(bytes text) noexcept:
    """Whether a text, where there is one, may be the value of a field."""
    cdef Py_ssize_t at
    if text is None:
        return True
    for at in range(PyBytes_GET_SIZE(text)):
        if not VALUE[<uint8_t>PyBytes_AS_STRING(text)[at]]:
            return False
    return True


cdef bint is_time(int64_t seconds) noexcept:
    return -LARGEST <= seconds <= LARGEST


# -- large bodies


cdef uint32_t chunk_count(int64_t length) noexcept:
    """In how many chunks a body of this length lies; 0: it is with its entry."""
    return 0 if length <= CHUNK else <uint32_t>((length + CHUNK - 1) // CHUNK)


cdef bytes chunk_name(bytes name, uint32_t number):
    """The name of a chunk of the response of this name."""
    return b"%b/%d" % (name, number)


cdef bytes chunk_octets(bytes body, uint32_t number, int64_t nonce):
    """What stands there: nonce, then a piece of the body."""
    return nonce_octets(nonce) + body[number * CHUNK:(number + 1) * CHUNK]


cdef bytes nonce_octets(int64_t nonce):
    return nonce.to_bytes(8, "little")


# -- which fields select

cpdef bytes encode_names(tuple selecting):
    """What stands under the key of a URL and variant whose responses Vary tells apart: the fields that do."""
    return NAMES + b"\n".join([name for name, _ in selecting])


cpdef tuple vary_names(bytes data):
    """The fields that select, where it is these that were stored; None where it is anything else."""
    cdef list names
    if not data.startswith(NAMES):
        return None
    names = data[PyBytes_GET_SIZE(NAMES):].split(b"\n")
    return tuple(names) if len(names) <= NAMES_MAX else None


# -- the head


cdef bint is_head(Entry entry, bytes key) except -1:
    """Whether a stored head is one of ours: for this key and status, framed by the length of the body alone."""
    cdef const char* text = PyBytes_AS_STRING(entry.head)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(entry.head)
    cdef Py_ssize_t at = line_end(text, 0, size)
    cdef Py_ssize_t end, before_validation = -1
    cdef int lengths = 0
    if at < 0 or not is_status_line(text, at, entry.status):
        return False
    at += 2
    while True:
        if at == entry.validation:
            before_validation = at
        end = line_end(text, at, size)
        if end < 0:
            break
        if not is_field(text + at, end - at):
            return False
        lengths += names(text + at, end - at, b"content-length", 14)
        if names(text + at, end - at, b"transfer-encoding", 17):
            return False
        at = end + 2
    if before_validation < 0 or lengths != (entry.status != 204):
        return False
    if lengths and not ends_with_length(text, entry.validation, entry.length):
        return False
    return ends_with_key(text, at, size, key)


cdef Py_ssize_t line_end(const char* text, Py_ssize_t at, Py_ssize_t size) noexcept:
    """Where CRLF ends the line at `at`; -1 where there is none, or a CR or LF of its own."""
    cdef const char* found = <const char*>memchr(text + at, c"\r", size - at)
    if found == NULL or found + 1 >= text + size or found[1] != c"\n":
        return -1
    return found - text


cdef bint is_status_line(const char* text, Py_ssize_t size, int status) noexcept:
    cdef Py_ssize_t at
    if size < 13 or memcmp(text, b"HTTP/1.1 ", 9) != 0 or text[12] != c" ":
        return False
    for at in range(9, 12):
        if not c"0" <= text[at] <= c"9":
            return False
    for at in range(13, size):
        if not VALUE[<uint8_t>text[at]]:
            return False
    return (text[9] - c"0") * 100 + (text[10] - c"0") * 10 + text[11] - c"0" == status


cdef bint is_field(const char* text, Py_ssize_t size) noexcept:
    """A field line as RFC 9112 5 has it."""
    cdef Py_ssize_t at = 0
    while at < size and TOKEN[<uint8_t>text[at]]:
        at += 1
    if at == 0 or at == size or text[at] != c":":
        return False
    for at in range(at + 1, size):
        if not VALUE[<uint8_t>text[at]]:
            return False
    return True


cdef bint names(const char* text, Py_ssize_t size, const char* name, Py_ssize_t length) noexcept:
    return size > length and text[length] == c":" and equals_lower(text, name, length)


cdef bint ends_with_length(const char* text, Py_ssize_t end, int64_t length) noexcept:
    """Whether the line before `end` is Content-Length with this number, written plainly."""
    cdef char[64] line
    cdef Py_ssize_t at = 62
    line[62] = c"\r"
    line[63] = c"\n"
    while True:
        at -= 1
        line[at] = <char>(c"0" + length % 10)
        length //= 10
        if length == 0:
            break
    at -= 16
    memcpy(&line[at], b"Content-Length: ", 16)
    return end >= 64 - at and memcmp(text + end - (64 - at), &line[at], 64 - at) == 0


cdef bint ends_with_key(const char* text, Py_ssize_t at, Py_ssize_t size, bytes key) noexcept:
    """Whether a head that has no more whole lines at `at` ends as ours do: X-Cache, the key, and room for the age."""
    cdef Py_ssize_t tail = PyBytes_GET_SIZE(KEY_LINE) + PyBytes_GET_SIZE(key) + PyBytes_GET_SIZE(AGE)
    if size < tail or at != size - 5 or memcmp(text + at, b"Age: ", 5) != 0:
        return False
    text += size - tail
    if memcmp(text, PyBytes_AS_STRING(KEY_LINE), PyBytes_GET_SIZE(KEY_LINE)) != 0:
        return False
    text += PyBytes_GET_SIZE(KEY_LINE)
    return memcmp(text, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)) == 0
