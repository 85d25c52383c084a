"""Searches for stored responses in Redis."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport key_digest, stored_name, whole_url
from caching_proxy.cache_manager.codec cimport (
    BODY_MAX, CHUNK, chunk_count, chunk_name, decode, is_other_version, nonce_octets, vary_names,
)
from caching_proxy.cache_manager.redis_link cimport Call
from caching_proxy.cache_manager.redis_state cimport FETCH_TIME

from caching_proxy.cache_manager.compression import decompress, is_available
from caching_proxy.cache_manager.rfc9111.vary import selecting_values
from caching_proxy.cache_manager.standing import Standing

cdef enum:
    ATTEMPTS = 3              # at reading while there is news of it

cdef object STALE = Standing.STALE
cdef object GONE = Standing.GONE


cdef class Lookup(Fiber):
    """One search for a stored response, for all who ask for the same meanwhile."""

    def __cinit__(self, Searches searches, bytes url, Variant variant, Fields request, int64_t generation):
        self.searches = searches
        self.state = searches.state
        self.url = url
        self.variant = variant
        self.request = request
        self.generation = generation
        self.name = stored_name(url, variant, None)
        self.askers = []
        self.deadline = self.state.now() + self.state.link.timeout

    async def run(self):
        try:
            for _ in range(ATTEMPTS):
                self.outdated = self.again = False
                await self.read()
                if not (self.outdated or self.again):
                    break
        finally:
            self.end()

    async def read(self):
        """Find the response, and what tells whether it is current, in one round trip where it is plain."""
        cdef RedisState state = self.state
        cdef bytes index = state.url_index(self.url)
        cdef bytes name = self.name
        cdef Call current = None, call
        cdef Decoded decoded
        cdef bytes data
        self.decoded = None
        if state.number_of(index) == 0:
            current = state.ask_number(self, index, FETCH_TIME, self.left())
        call = self.ask((b"GET", state.prefix + name))
        while not call.over or (current is not None and not current.over):
            await self.changed()
        data = self.accept(call)
        if data is not None and vary_names(data) is not None:
            self.varies = True
            name = stored_name(self.url, self.variant, selecting_values(vary_names(data), self.request))
            self.searches.select(self, name)
            call = self.ask((b"GET", state.prefix + name))
            while not call.over:
                await self.changed()
            data = self.accept(call)
        if data is None:
            return
        decoded = decode(data, self.url, self.variant, key_digest(whole_url(self.url), self.variant))
        if decoded is None or decoded.entry.length > BODY_MAX:
            if not is_other_version(data):
                self.searches.remove(name)
            return
        if decoded.compressed and not is_available():
            return
        if decoded.entry.tags is not None:
            for call in state.ask_tags(self, decoded.entry.tags, 0, self.left()):
                while not call.over:
                    await self.changed()
        if state.standing(decoded) is GONE:
            self.reject(decoded.entry, name)
            return
        if decoded.chunks and not await self.read_chunks(decoded, name):
            return
        if decoded.compressed and not await self.unpack(decoded.entry):
            self.searches.remove(name)
            return
        self.again = state.is_doubted(decoded.entry)    # there is news of it since
        self.decoded = decoded

    cdef reject(self, Entry entry, bytes name):
        """Remove what is void, unless it only seems so: then it is read again."""
        if self.state.is_doubted(entry):
            self.again = True
        elif self.state.link.replica_reads and not self.insists:
            self.again = self.insists = True            # a replica may be behind: the primary may have a newer one
        else:
            self.searches.remove(name)

    async def read_chunks(self, Decoded decoded, bytes name):
        """Put the body together; whether it is all there."""
        cdef Entry entry = decoded.entry
        cdef bytes nonce = nonce_octets(decoded.nonce)
        cdef bytes chunk
        cdef Call call
        cdef list body = []
        cdef int64_t size = 0
        cdef uint32_t number
        if decoded.chunks > chunk_count(entry.length) or (
                decoded.chunks < chunk_count(entry.length) and not decoded.compressed):
            self.searches.remove(name)
            return False
        self.deadline = self.state.now() + self.state.link.timeout
        calls = [self.ask((b"GET", self.state.prefix + chunk_name(name, number))) for number in range(decoded.chunks)]
        for call in calls:
            while not call.over:
                await self.changed()
            chunk = self.accept(call)
            if chunk is None or not chunk.startswith(nonce):
                return False
            body.append(chunk[len(nonce):])
            size += PyBytes_GET_SIZE(chunk) - PyBytes_GET_SIZE(nonce)
        entry.body = b"".join(body)
        return decoded.compressed or size == entry.length

    async def unpack(self, Entry entry):
        """Decompress the body, a large one in a thread; whether it is what it was said to be."""
        if entry.length <= CHUNK:
            entry.body = decompress(entry.body, entry.length)
        else:
            task = self.state.link.loop.run_in_executor(None, decompress, entry.body, entry.length)
            task.add_done_callback(self.unpacked)
            while not task.done():
                await self.changed()
            entry.body = task.result()
        return entry.body is not None

    def unpacked(self, task):
        self.wake()

    cdef double left(self) except? -1:
        """Seconds that there are left."""
        return self.deadline - self.state.now()

    cdef Call ask(self, tuple words):
        return self.state.ask_within(self, words, self.left(), self.insists)

    cdef bytes accept(self, Call call):
        """The octets that a GET found, or None."""
        return call.reply if call.error is None and isinstance(call.reply, bytes) else None

    cdef end(self):
        """Give what was found, if it still is what it was, to memory and to all who wait."""
        cdef Fiber asker
        self.over = True
        if self.decoded is not None and not self.outdated and self.state.is_usable():
            standing = self.state.standing(self.decoded)
            if standing is not GONE:
                self.entry = self.decoded.entry
            if standing is STALE:
                self.entry.fresh_until = min(self.entry.fresh_until, time(NULL))
        self.decoded = None
        self.searches.ended(self)
        for asker in self.askers:
            asker.wake()


cdef class Searches:
    """The searches under way, by what can put an end to them."""

    def __cinit__(self, RedisState state):
        self.state = state
        self.shared = {}
        self.of_name = {}
        self.of_url = {}

    cdef Lookup begin(self, Fiber asker, bytes url, Variant variant, Fields request, int64_t generation, bint shared):
        """Search for what answers this request; `asker` is woken when that is over. None where Redis is away.

        A search that is `shared` is that of all who ask for the same meanwhile.
        """
        cdef Lookup lookup = None
        if not self.state.is_usable() or PyBytes_GET_SIZE(url) > URL_MAX:
            return None
        if shared:
            lookup = self.shared.get(stored_name(url, variant, None))
        if lookup is None:
            lookup = Lookup(self, url, variant, request, generation)
            self.of_name.setdefault(lookup.name, set()).add(lookup)
            self.of_url.setdefault(whole_url(url), set()).add(lookup)
            if shared:
                self.shared[lookup.name] = lookup
            lookup.start(lookup.run())
        if not lookup.over:
            lookup.askers.append(asker)
        return lookup

    cdef select(self, Lookup lookup, bytes name):
        """Vary leads a search to another name."""
        leave(self.of_name, lookup.selected, lookup)
        lookup.selected = name
        self.of_name.setdefault(name, set()).add(lookup)

    cdef ended(self, Lookup lookup):
        leave(self.of_name, lookup.name, lookup)
        leave(self.of_name, lookup.selected, lookup)
        leave(self.of_url, whole_url(lookup.url), lookup)
        if self.shared.get(lookup.name) is lookup:
            del self.shared[lookup.name]
        if lookup.entry is None:
            self.misses += 1
            return
        self.hits += 1
        if not lookup.changed_meanwhile:
            self.state.holder.take_found(lookup.entry, lookup.generation)

    # -- what changes meanwhile

    cdef remove(self, bytes name):
        """Remove a response that is not so any more."""
        self.flag(name)
        if self.state.live:
            self.state.link.call((b"UNLINK", self.state.prefix + name))

    cdef flag(self, bytes name):
        """A response is another now, or gone: who is reading it does not put it into memory."""
        cdef Lookup lookup
        for lookup in self.of_name.get(name, ()):
            lookup.changed_meanwhile = True

    cdef outdate(self, bytes url):
        """What is being searched for this URL may be outdated when it comes."""
        cdef Lookup lookup
        for lookup in self.of_url.get(url, ()):
            lookup.outdated = True

    cdef outdate_all(self):
        """... whatever it is."""
        cdef Lookup lookup
        for lookups in self.of_url.values():
            for lookup in lookups:
                lookup.outdated = True


cdef leave(dict index, bytes key, Lookup lookup):
    cdef set lookups = index.get(key)
    if lookups is not None:
        lookups.discard(lookup)
        if not lookups:
            del index[key]
