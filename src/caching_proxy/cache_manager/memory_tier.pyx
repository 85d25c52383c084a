"""The memory tier: entries by URL and variant, bounded in bytes, evicted by S3-FIFO.

S3-FIFO (Yang et al., SOSP 2023): new entries go through a small queue; those asked for again meanwhile move to the main
queue, the others leave a ghost behind, and whoever comes back while its ghost is there enters the main queue at once. A
scan over many objects so passes through a tenth of the memory. A hit only counts, it moves nothing.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from caching_proxy.cache_manager.cache_key cimport Variant, stored_name, whole_url
from caching_proxy.cache_manager.entry cimport FREQUENCY_MAX, Entry
from caching_proxy.http.fields cimport Fields

from caching_proxy.cache_manager.rfc9111.vary import normalise_selecting

cdef enum:
    SMALL_SHARE = 10          # the small queue may hold a tenth of the memory
    GHOSTS_MIN = 1024
    AT_ONCE = 512             # entries that are dropped in one turn of the event loop
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

    def __init__(self, int64_t limit, int variants=64):
        """At most `limit` octets, and of one URL at most that many variants."""
        self.urls = {}
        self.tags = {}
        self.small = Queue()
        self.main = Queue()
        self.ghosts = Ghosts()
        self.doomed = []
        self.at_once = AT_ONCE
        self.limit = limit
        self.variants = variants

    def resize(self, int64_t limit, int variants):
        """Take over other bounds; what is beyond `limit` goes now."""
        self.limit = limit
        self.variants = variants
        while self.used() > self.limit and self.evict():
            pass

    cpdef Entry find(self, bytes url, Variant variant):
        """The latest entry stored for this URL and variant, fresh or not, or None."""
        return next_alike(self.urls.get(url), variant)

    cpdef Entry select(self, bytes url, Variant variant, Fields request):
        """The latest one that `request` selects by the stored Vary as well (RFC 9111 4.1), or None.

        One without Vary is not selected once a later one has shown that the resource varies.
        """
        cdef Entry entry = next_alike(self.urls.get(url), variant)
        cdef dict known = {}
        cdef bint varies = False
        while entry is not None:
            if entry.selecting is None:
                return None if varies else entry
            if selected(entry.selecting, request, known):
                return entry
            varies = True
            entry = next_alike(entry.sibling, variant)
        return None

    cdef bint holds(self, bytes url) except -1:
        """Whether there is any variant of a URL."""
        cdef Entry entry = self.urls.get(url)
        while entry is not None and entry.gone:
            entry = entry.sibling
        return entry is not None

    cdef list of_url(self, bytes url):
        """All variants of a URL, the latest first."""
        cdef Entry entry = self.urls.get(url)
        cdef list found = []
        while entry is not None:
            if not entry.gone:
                found.append(entry)
            entry = entry.sibling
        return found

    cdef list of_prefix(self, bytes prefix, bytes suffix):
        """Everything whose URL starts and ends like this; every URL is looked at."""
        cdef bytes url
        cdef list found = []
        for url in self.urls:
            if url.startswith(prefix) and whole_url(url).endswith(suffix):
                found += self.of_url(url)
        return found

    cdef list of_tag(self, bytes tag):
        """Everything that has this tag."""
        cdef Entry entry
        return [entry for entry in self.tags.get(tag, ()) if not entry.gone]

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
        while present is not None and present.selecting != entry.selecting:
            present = next_alike(present.sibling, entry.variant)
        if present is not None:
            entry.frequency = present.frequency
            entry.in_main = present.in_main
            self.discard(present)
        else:
            entry.in_main = self.ghosts.recall(digest_of(entry))
        self.bound_variants(entry.url)
        self.link(entry)
        if self.names is not None:
            entry.name = short_name(stored_name(entry.url, entry.variant, entry.selecting))
            self.names[entry.name] = entry
        (self.main if entry.in_main else self.small).push(entry)
        entry.linked = True
        if entry.tags is not None:
            for tag in entry.tags:
                self.tags.setdefault(tag, set()).add(entry)
        self.entries += 1
        if self.entries > self.ghosts.capacity:
            self.ghosts.resize(2 * self.ghosts.capacity)
        while self.used() > self.limit:
            if not self.evict():
                self.discard(entry)
                return

    cdef link(self, Entry entry):
        """Put `entry` into its URL's chain, where the most recent by Date comes first (RFC 9111 4)."""
        cdef Entry at = self.urls.get(entry.url)
        if at is None or at.date <= entry.date:
            entry.sibling = at
            # An equal key that is there keeps its own object: the chain's must be that of the first entry.
            self.urls.pop(entry.url, None)
            self.urls[entry.url] = entry
            return
        while at.sibling is not None and at.sibling.date > entry.date:
            at = at.sibling
        entry.sibling = at.sibling
        at.sibling = entry

    cdef bound_variants(self, bytes url):
        """Leave room for one more variant of a URL: the oldest stands last in the chain and goes."""
        cdef Entry entry = self.urls.get(url)
        cdef int number = 1
        while entry is not None and entry.sibling is not None:
            entry = entry.sibling
            number += 1
        if number >= self.variants:
            self.discard(entry)

    cpdef int64_t used(self) noexcept:
        """Octets of memory taken."""
        return self.small.size + self.main.size + self.orphans

    cdef discard(self, Entry entry):
        """Drop one entry; nothing happens when it is no longer stored. While it is in use it counts all the same."""
        if entry.linked:
            (self.main if entry.in_main else self.small).remove(entry)
            self.unlink(entry)
            if entry.users:
                self.orphans += entry.cost()

    cdef pin(self, Entry entry):
        """Its octets are on their way to a client: stored or not, they count."""
        if not entry.users and not entry.linked:
            self.orphans += entry.cost()
        entry.users += 1

    cdef unpin(self, Entry entry):
        """They have left, or never will."""
        entry.users -= 1
        if not entry.users and not entry.linked:
            self.orphans -= entry.cost()

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
        self.entries -= not entry.gone
        if entry.tags is not None:
            self.unlink_tags(entry)
        if self.names is not None:
            self.unlink_name(entry)

    cdef unlink_name(self, Entry entry):
        if self.names.get(entry.name) is entry:
            del self.names[entry.name]

    cdef name_all(self, bint wanted):
        """Have entries found by their names in Redis as well, from now on, or no longer."""
        if not wanted:
            self.names = None
        elif self.names is None:
            self.clear()
            self.names = {}

    cdef Entry named(self, bytes name):
        """The entry of this name in Redis, or None."""
        cdef Entry entry = self.names.get(short_name(name)) if self.names is not None else None
        return None if entry is None or entry.gone else entry

    cdef unlink_tags(self, Entry entry):
        cdef set tagged
        for tag in entry.tags:
            tagged = self.tags[tag]
            tagged.remove(entry)
            if not tagged:
                del self.tags[tag]

    cpdef int64_t discard_url(self, bytes url) except -1:
        """Drop all variants of a URL; how many there were."""
        return self.drop(self.of_url(url))

    cdef int64_t drop(self, list entries) except -1:
        """Drop these; how many they are.

        Many are only marked: nobody finds them any more, and `reap` takes them out of their places bit by bit, so
        that a purge of a hundred thousand holds up nobody.
        """
        cdef Entry entry
        if len(entries) <= self.at_once:
            for entry in entries:
                self.discard(entry)
            return len(entries)
        for entry in entries:
            entry.gone = True
        self.entries -= len(entries)
        self.doomed += entries
        return len(entries)

    cpdef bint reap(self) except -1:
        """Take some of those that are marked out of their places; whether there are more."""
        cdef Entry entry
        for _ in range(min(self.at_once, len(self.doomed))):
            entry = self.doomed.pop()
            self.discard(entry)
        return len(self.doomed) > 0

    cdef int64_t expire(self, list entries, int64_t now) except -1:
        """Make these stale from now on; how many they are."""
        cdef Entry entry
        for entry in entries:
            entry.fresh_until = min(entry.fresh_until, now)
        return len(entries)

    cpdef int64_t clear(self) except -1:
        """Drop everything; how many entries there were."""
        cdef Queue queue
        cdef Entry entry
        cdef list entries = []
        for queue in (self.small, self.main):
            entry = queue.oldest
            while entry is not None:
                if not entry.gone:
                    entries.append(entry)
                entry = entry.newer
        return self.drop(entries)

    cdef bint evict(self) except -1:
        """Make one entry go; False where all are in use."""
        cdef bint gone = False
        cdef int64_t looks = (FREQUENCY_MAX + 2) * (self.entries + 1)
        if self.doomed:
            self.reap()
            return True
        while not gone:
            looks -= 1
            if looks < 0 or (self.small.oldest is None and self.main.oldest is None):
                return False
            if self.small.oldest is not None and (
                    self.main.oldest is None or self.small.size > self.limit // SMALL_SHARE):
                gone = self.evict_small()
            else:
                gone = self.evict_main()
        return True

    cdef bint evict_small(self) except -1:
        cdef Entry entry = self.small.oldest
        self.small.remove(entry)
        if entry.frequency >= WORTH_KEEPING or entry.users:
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
        if entry.frequency or entry.users:
            entry.frequency -= entry.frequency > 0
            self.main.push(entry)
            return False
        self.unlink(entry)
        self.evictions += 1
        return True


cdef uint64_t short_name(bytes name) except? 0:
    """A number that a name in Redis begins with: enough to tell it from all others, in less memory."""
    return int(name[:16], 16)


cdef uint64_t digest_of(Entry entry) except? 0:
    """A number for what the entry answers. Both hashes are kept in their bytes objects."""
    cdef uint64_t digest = <uint64_t><int64_t>hash(entry.url) ^ (<uint64_t><int64_t>hash(entry.variant.text) * 31)
    return digest * <uint64_t>0x9E3779B97F4A7C15


cdef Entry next_alike(Entry entry, Variant variant):
    """The first of a chain from `entry` on that has this variant, or None."""
    while entry is not None:
        if (entry.variant is variant or entry.variant.text == variant.text) and not entry.gone:
            return entry
        entry = entry.sibling
    return None


cdef bint selected(tuple selecting, Fields request, dict known) except -1:
    """Whether the request has these values; `known` holds those already looked up."""
    for name, value in selecting:
        if name not in known:
            values = request.values(name)
            known[name] = normalise_selecting(name, values) if values else None
        if known[name] != value:
            return False
    return True
