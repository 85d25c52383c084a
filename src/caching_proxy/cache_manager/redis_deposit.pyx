"""Responses on their way into Redis."""

import secrets

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport stored_name
from caching_proxy.cache_manager.codec cimport (
    BODY_MAX, CHUNK, chunk_count, chunk_name, chunk_octets, encode, encode_names,
)
from caching_proxy.cache_manager.redis_link cimport Call
from caching_proxy.cache_manager.redis_state cimport FETCH_TIME, TAG_TIME, has_generation

from caching_proxy.cache_manager.compression import compress, is_worth_trying
from caching_proxy.cache_manager.purge_log import TAG_LOG, log_command
from caching_proxy.cache_manager.standing import Standing

cdef enum:
    BACKLOG_MAX = 16777216    # octets that may wait to be written to Redis; then responses are not stored there
    LIFE_MAX = 31536000       # seconds that a response stays at most
    ATTEMPTS = 3              # at learning the generations of tags

cdef object CURRENT = Standing.CURRENT


cdef class Deposit(Fiber):
    """A response for which something is to be done first: asking for its tags, or for its lease, or compressing it."""

    def __cinit__(self, Deposits deposits, Entry entry, Stamp stamp, Lease lease):
        self.deposits = deposits
        self.entry = entry
        self.stamp = stamp
        self.lease = lease
        if lease is not None:
            lease.storing += 1

    async def run(self):
        try:
            await self.store()
        finally:
            if self.lease is not None:
                self.lease.end_storing()

    async def store(self):
        cdef RedisState state = self.deposits.state
        cdef Call call, kept = None
        cdef bytes packed
        if self.lease is not None:
            kept = self.lease.keep(self)
        packed = await self.pack()
        while kept is not None and not kept.over:
            await self.changed()
        if self.entry.tags is not None and not await self.learn_tags():
            return
        if kept is not None and self.lease.is_lost(kept):       # a rival's is the one to be had
            state.holder.drop_named(self.deposits.name_of(self.entry))
            return
        if kept is not None and kept.error is not None:
            return
        call = self.deposits.write(self.entry, self.stamp, packed)
        if call is not None and self.lease is not None:
            call.asker = self
            while not call.over:
                await self.changed()

    async def learn_tags(self):
        """See to it that the generations of its tags are known; whether it has not been purged by one meanwhile."""
        cdef RedisState state = self.deposits.state
        cdef Call call
        cdef int left = ATTEMPTS                        # there may be news of one while another is asked for
        while left and not state.are_known(self.entry.tags):
            left -= 1
            for call in state.ask_tags(self, self.entry.tags, TAG_TIME, state.link.timeout):
                while not call.over:
                    await self.changed()
            # A purge may have come before their generations were read.
            call = state.ask_for(self, log_command(state.prefix + TAG_LOG, b""))
            while not call.over:
                await self.changed()
            if not state.take_tag_log(call):
                return False
        return state.tag_log.verdict(self.stamp.tag_sequence, self.entry.url, self.entry.tags) is CURRENT

    async def pack(self):
        """The body compressed, a large one in a thread; None where it stays as it is."""
        if not self.deposits.is_to_compress(self.entry):
            return None
        if self.entry.length <= CHUNK:
            return compress(self.entry.body)
        task = self.deposits.state.link.loop.run_in_executor(None, compress, self.entry.body)
        task.add_done_callback(self.packed)
        while not task.done():
            await self.changed()
        return task.result()

    def packed(self, task):
        self.wake()


cdef class Deposits:
    """Stores responses for all, each for as long as it may be of use."""

    def __cinit__(self, RedisState state, Searches searches, double room, bint compresses):
        self.state = state
        self.searches = searches
        self.room = room
        self.compresses = compresses

    cdef put(self, Entry entry, Stamp stamp, Lease lease):
        """Store a response that is current as of `stamp`; `lease` (or None) is that under which it was fetched."""
        cdef Deposit deposit
        if stamp is None or not stamp.is_known() or not self.state.is_usable() or b"\0" in entry.url:
            return                                      # slices are looked for in memory alone
        if entry.length > BODY_MAX:
            return
        if self.state.link.backlog() > BACKLOG_MAX:
            self.skipped += 1
        elif entry.tags is None and lease is None and not self.is_to_compress(entry):
            self.write(entry, stamp, None)
        else:
            deposit = Deposit(self, entry, stamp, lease)
            deposit.start(deposit.run())

    cdef bytes name_of(self, Entry entry):
        return stored_name(entry.url, entry.variant, entry.selecting)

    cdef bint is_to_compress(self, Entry entry) except -1:
        return self.compresses and is_worth_trying(entry.head, entry.body)

    cdef Call write(self, Entry entry, Stamp stamp, bytes packed):
        """Store it, where all generations that it needs are known: the last command of that, or None.

        `packed` is its body compressed, or None.
        """
        cdef RedisState state = self.state
        cdef int64_t life = self.life_of(entry)
        cdef bytes name = self.name_of(entry)
        cdef bytes body = entry.body if packed is None else packed
        cdef bytes octets
        cdef uint32_t chunks = 0, number
        cdef int64_t nonce = 0
        cdef list numbers = []
        self.searches.flag(name)
        if life <= 0 or state.log.verdict(stamp.sequence, entry.url, entry.tags) is not CURRENT:
            return None
        for tag in entry.tags or ():
            numbers.append(state.number_of(state.tag_index(tag)) if has_generation(tag) else 0)
            if has_generation(tag):
                if numbers[len(numbers) - 1] == 0:
                    return None
                state.extend(state.tag_index(tag), max(TAG_TIME, life), TAG_TIME // 7)
        if body is not None:
            chunks = chunk_count(PyBytes_GET_SIZE(body))
        if chunks:
            nonce = secrets.randbits(62)
            for number in range(chunks):
                self.set(chunk_name(name, number), chunk_octets(body, number, nonce), life, state.written)
        octets = encode(entry, stamp, tuple(numbers), packed, chunks, nonce)
        if octets is None:
            return None
        state.extend(state.url_index(entry.url), life + FETCH_TIME, 0)
        if entry.selecting is not None:
            self.set(stored_name(entry.url, entry.variant, None), encode_names(entry.selecting), life,
                     state.written)
        return self.set(name, octets, life, self.confirmed)

    cdef Call set(self, bytes name, bytes octets, int64_t life, callback):
        return self.state.link.call((b"SET", self.state.prefix + name, octets, b"PX", life), callback)

    def confirmed(self, Call call):
        """A response stands in Redis, or could not be stored."""
        self.stored += call.error is None
        self.state.written(call)

    cdef int64_t life_of(self, Entry entry) except -1:
        """Milliseconds that a response stays: while it is fresh, and then for use while stale or for validation."""
        cdef int64_t fresh = max(entry.fresh_until - time(NULL), 0)
        cdef int64_t room = max(entry.stale_while_revalidate, entry.stale_if_error, <int64_t>self.room)
        return min(fresh + room, LIFE_MAX) * 1000
