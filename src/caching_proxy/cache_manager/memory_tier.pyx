"""The memory tier: entries by URL and variant, bounded in bytes, evicted by S3-FIFO.

S3-FIFO (Yang et al., SOSP 2023): new entries go through a small queue; those asked for again meanwhile move to the main
queue, the others leave a ghost behind, and whoever comes back while its ghost is there enters the main queue at once. A
scan over many objects so passes through a tenth of the memory. A hit only counts, it moves nothing.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from caching_proxy.cache_manager.cache_key cimport Variant
from caching_proxy.cache_manager.entry cimport FREQUENCY_MAX, Entry

cdef enum:
    SMALL_SHARE = 10          # the small queue may hold a tenth of the memory
    GHOSTS_MIN = 1024
    VARIANTS_MAX = 64         # variants of one URL
    WORTH_KEEPING = 2         # hits in the small queue that lead to the main one


cdef class Ghosts:
    """Fingerprints of what was evicted lately: a table that forgets, eight octets a ghost."""

    def __cinit__(self):
        self.resize(GHOSTS_MIN)

    def __dealloc__(self):
        free(self.prints)
        free(self.stamps)

    cdef int resize(self, uint32_t capacity) except -1:
        """Room for `capacity` (a power of two) ghosts; the present ones are forgotten."""
        cdef uint32_t* prints = <uint32_t*>calloc(2 * capacity, sizeof(uint32_t))
        cdef uint32_t* stamps = <uint32_t*>calloc(2 * capacity, sizeof(uint32_t))
        if prints == NULL or stamps == NULL:
            free(prints)
            free(stamps)
            raise MemoryError
        free(self.prints)
        free(self.stamps)
        self.prints = prints
        self.stamps = stamps
        self.capacity = capacity
        self.clock = 0
        return 0

    cdef void remember(self, uint64_t digest) noexcept:
        cdef uint32_t slot = <uint32_t>digest & (2 * self.capacity - 1)
        self.clock += 1
        self.prints[slot] = <uint32_t>(digest >> 32) | 1
        self.stamps[slot] = self.clock

    cdef bint recall(self, uint64_t digest) noexcept:
        """Whether the ghost is there; it is then taken away."""
        cdef uint32_t slot = <uint32_t>digest & (2 * self.capacity - 1)
        if self.prints[slot] != (<uint32_t>(digest >> 32) | 1):
            return False
        self.prints[slot] = 0
        return self.clock - self.stamps[slot] < self.capacity


cdef class Queue:
    """A first-in first-out queue linked through its entries; `size` in octets of memory."""

    cdef push(self, Entry entry):
        entry.older = self.newest
        entry.newer = None
        if self.newest is not None:
            self.newest.newer = entry
        else:
            self.oldest = entry
        self.newest = entry
        self.size += entry.cost()

    cdef remove(self, Entry entry):
        if entry.newer is not None:
            entry.newer.older = entry.older
        else:
            self.newest = entry.older
        if entry.older is not None:
            entry.older.newer = entry.newer
        else:
            self.oldest = entry.newer
        entry.newer = entry.older = None
        self.size -= entry.cost()


@cython.final
cdef class MemoryTier:
    """Stored responses of one process, at most `limit` octets."""

    def __init__(self, int64_t limit):
        self.urls = {}
        self.small = Queue()
        self.main = Queue()
        self.ghosts = Ghosts()
        self.limit = limit

    cpdef Entry find(self, bytes url, Variant variant):
        """The entry stored for this URL and variant, fresh or not, or None."""
        cdef Entry entry = self.urls.get(url)
        while entry is not None:
            if entry.variant is variant or entry.variant.text == variant.text:
                return entry
            entry = entry.sibling
        return None

    cpdef touch(self, Entry entry):
        """Count a hit."""
        if entry.frequency < FREQUENCY_MAX:
            entry.frequency += 1

    @staticmethod
    def cost(Entry entry not None):
        """The octets of memory that an entry is counted with."""
        return entry.cost()

    cpdef store(self, Entry entry):
        """Take in `entry` in the place of what it replaces, and evict what no longer fits."""
        cdef Entry present
        if entry.cost() > self.limit:
            return
        present = self.find(entry.url, entry.variant)
        if present is not None:
            entry.frequency = present.frequency
            entry.in_main = present.in_main
            self.discard(present)
        else:
            entry.in_main = self.ghosts.recall(digest_of(entry))
        self.bound_variants(entry.url)
        entry.sibling = self.urls.get(entry.url)
        # An equal key that is there keeps its own object: the chain's must be that of the first entry.
        self.urls.pop(entry.url, None)
        self.urls[entry.url] = entry
        (self.main if entry.in_main else self.small).push(entry)
        entry.linked = True
        self.entries += 1
        if self.entries > self.ghosts.capacity:
            self.ghosts.resize(2 * self.ghosts.capacity)
        while self.used() > self.limit:
            self.evict()

    cdef bound_variants(self, bytes url):
        """Leave room for one more variant of a URL: the oldest stands last in the chain and goes."""
        cdef Entry entry = self.urls.get(url)
        cdef int number = 1
        while entry is not None and entry.sibling is not None:
            entry = entry.sibling
            number += 1
        if number >= VARIANTS_MAX:
            self.discard(entry)

    cpdef int64_t used(self) noexcept:
        """Octets of memory taken."""
        return self.small.size + self.main.size

    cdef discard(self, Entry entry):
        """Drop one entry; nothing happens when it is no longer stored."""
        if entry.linked:
            (self.main if entry.in_main else self.small).remove(entry)
            self.unlink(entry)

    cdef unlink(self, Entry entry):
        """Take `entry`, which is in no queue any more, out of its URL's chain."""
        cdef Entry at = self.urls[entry.url]
        if at is entry:
            del self.urls[entry.url]
            if entry.sibling is not None:
                self.urls[entry.sibling.url] = entry.sibling
        else:
            while at.sibling is not entry:
                at = at.sibling
            at.sibling = entry.sibling
        entry.sibling = None
        entry.linked = False
        self.entries -= 1

    cpdef int64_t discard_url(self, bytes url) except -1:
        """Drop all variants of a URL; how many there were."""
        cdef int64_t dropped = 0
        cdef Entry entry = self.urls.get(url)
        cdef Entry following
        while entry is not None:
            following = entry.sibling
            self.discard(entry)
            dropped += 1
            entry = following
        return dropped

    cpdef int64_t clear(self) except -1:
        """Drop everything; how many entries there were."""
        cdef int64_t dropped = self.entries
        while self.small.oldest is not None:
            self.discard(self.small.oldest)
        while self.main.oldest is not None:
            self.discard(self.main.oldest)
        return dropped

    cdef evict(self):
        """Make one entry go."""
        cdef bint gone = False
        while not gone:
            if self.main.oldest is None or self.small.size > self.limit // SMALL_SHARE:
                gone = self.evict_small()
            else:
                gone = self.evict_main()

    cdef bint evict_small(self) except -1:
        cdef Entry entry = self.small.oldest
        self.small.remove(entry)
        if entry.frequency >= WORTH_KEEPING:
            entry.frequency = 0
            entry.in_main = True
            self.main.push(entry)
            return False
        self.ghosts.remember(digest_of(entry))
        self.unlink(entry)
        self.evictions += 1
        return True

    cdef bint evict_main(self) except -1:
        cdef Entry entry = self.main.oldest
        self.main.remove(entry)
        if entry.frequency:
            entry.frequency -= 1
            self.main.push(entry)
            return False
        self.unlink(entry)
        self.evictions += 1
        return True


cdef uint64_t digest_of(Entry entry) except? 0:
    """A number for what the entry answers. Both hashes are kept in their bytes objects."""
    cdef uint64_t digest = <uint64_t><int64_t>hash(entry.url) ^ (<uint64_t><int64_t>hash(entry.variant.text) * 31)
    return digest * <uint64_t>0x9E3779B97F4A7C15
