"""The tier that a fleet shares: stored responses in Redis, and what keeps every memory tier in step with it.

Under the prefix stand, each with a lifetime: responses, by the 64 hexadecimal digits of their keys, large bodies in
chunks beside them; a generation for each URL, tag and group in use; the log of purges. A generation is a number drawn
at random. A response carries those that held before it was asked for and is worth nothing once one has changed: a purge
changes one small value and finds all, whatever has been stored meanwhile by whom. One that is gone invalidates as well,
so that nothing comes back to life when Redis evicts or loses keys.

Redis tells of every change under the prefix (CLIENT TRACKING BCAST), over the connection that is also asked, so that a
reply and the news of a later change come in this order. After a connection is made anew nothing in memory is trusted.
"""

import functools
import logging
import re
import secrets

import hiredis

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport key_digest, stored_name, whole_url
from caching_proxy.cache_manager.codec cimport decode, encode, encode_names, vary_names

from caching_proxy.cache_manager.purge_log import purge_line
from caching_proxy.cache_manager.rfc9111.vary import selecting_values
from caching_proxy.cache_manager.standing import Standing

log = logging.getLogger("caching_proxy")

cdef enum:
    SOFT_BITS = 20            # of a generation: how often a soft purge has counted it up
    KNOWN_MAX = 65536         # generations that are held here; then the oldest go
    PENDING_MAX = 1024        # purges that wait for Redis; then one of everything takes their place
    CHUNK = 262144            # octets of a body that one key holds
    BACKLOG_MAX = 16777216    # octets that may wait to be written to Redis; then responses are not stored there
    FETCH_TIME = 120000       # milliseconds that a generation outlasts the fetch that needs it
    TAG_TIME = 604800000      # ... that one of a tag lasts when nothing is stored with it any more
    LIFE_MAX = 31536000       # seconds that a response stays at most
    LOG_LENGTH = 64           # purges in the log
    SILENCE_MAX = 5           # seconds after which a process that says nothing is not counted any more
    DIGITS_MAX = 19           # of a generation

cdef int64_t NUMBER_MAX = <int64_t>1 << 62
cdef double BEAT = 1.0        # seconds between two looks at the log, should news be lost

cdef object CURRENT = Standing.CURRENT
cdef object STALE = Standing.STALE
cdef object GONE = Standing.GONE
# Not under the prefix: what is counted is no news for memory tiers.
COUNTERS = b"caching-proxy:counters:"
PROCESSES = b"caching-proxy:processes:"
cdef object IS_NAME = re.compile(rb"[0-9a-f]{64}").fullmatch
cdef bytes SLICES = b"slices\n"

# The log, begun where it is not there; with a second argument that is put at its end.
cdef bytes WRITE_LOG = b"""
local last = redis.call('LINDEX', KEYS[1], -1)
local number = tonumber(last and string.match(last, '^%d+'))
if not number then
  number = tonumber(ARGV[1])
  redis.call('DEL', KEYS[1])
  redis.call('RPUSH', KEYS[1], string.format('%.0f start hard ', number))
end
if ARGV[2] ~= '' then
  redis.call('RPUSH', KEYS[1], string.format('%.0f ', number + 1) .. ARGV[2])
  redis.call('LTRIM', KEYS[1], -tonumber(ARGV[3]), -1)
end
return redis.call('LRANGE', KEYS[1], 0, -1)
"""
# Have a process (ARGV[1]) be among those that use this cache, as of now; how many they are.
cdef bytes ENROL = b"""
local now = redis.call('TIME')
local seconds = tonumber(now[1]) + tonumber(now[2]) / 1000000
redis.call('ZADD', KEYS[1], seconds, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', seconds - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * tonumber(ARGV[2])))
return redis.call('ZCARD', KEYS[1])
"""
# Count a generation up; where there is none, begin one.
cdef bytes SOFTEN = b"""
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('INCR', KEYS[1]) end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
"""


cdef class Holder:
    """What the tier keeps in step; none of this goes back to the tier."""

    cdef take_found(self, Entry entry, int64_t generation):
        """A response was found in Redis; `generation` is that of the workers' table before."""
        raise NotImplementedError

    cdef drop_named(self, bytes name):
        """The response of this name is another now, or none."""
        raise NotImplementedError

    cdef int64_t drop_url(self, bytes url, bint soft) except -1:
        """Drop all variants of a URL, or make them stale (`soft`); how many there were here."""
        raise NotImplementedError

    cdef int64_t drop_tag(self, bytes tag, bint soft) except -1:
        """The same for everything with a tag."""
        raise NotImplementedError

    cdef int64_t drop_prefix(self, bytes prefix, bytes suffix, bint soft) except -1:
        """The same for everything whose URL begins and ends like this."""
        raise NotImplementedError

    cdef int64_t drop_all(self) except -1:
        """Drop everything."""
        raise NotImplementedError


cdef class Generation:
    """What is known of a generation in Redis."""

    def __cinit__(self, int64_t number, double until):
        self.number = number
        self.until = until


cdef class Lookup(Fiber):
    """One search for a stored response, for all who ask for the same meanwhile."""

    def __cinit__(self, RedisTier tier, bytes url, Variant variant, Fields request, int64_t generation):
        self.tier = tier
        self.url = url
        self.variant = variant
        self.request = request
        self.generation = generation
        self.askers = []
        self.deadline = tier.now() + tier.link.timeout

    async def run(self):
        try:
            await self.read()
            if self.outdated:
                self.outdated = False
                self.entry = None
                await self.read()
            if self.outdated:
                self.entry = None
        finally:
            self.end()

    async def read(self):
        """Find the response, and what tells whether it is current, in one round trip where it is plain."""
        cdef RedisTier tier = self.tier
        cdef bytes index = tier.url_index(self.url)
        cdef bytes name = stored_name(self.url, self.variant, None)
        cdef Call made = None, current = None, call
        cdef Decoded decoded
        cdef bytes data
        if tier.number_of(index) == 0:
            made = self.ask((b"SET", index, new_number(), b"NX", b"PX", FETCH_TIME))
            current = self.ask((b"GET", index))
        call = self.ask((b"GET", tier.prefix + name))
        while not call.over or (current is not None and not current.over):
            await self.changed()
        if current is not None:
            tier.learn(index, made, current, FETCH_TIME)
        data = self.accept(call)
        if data is not None and vary_names(data) is not None:
            self.varies = True
            name = stored_name(self.url, self.variant, selecting_values(vary_names(data), self.request))
            call = self.ask((b"GET", tier.prefix + name))
            while not call.over:
                await self.changed()
            data = self.accept(call)
        if data is None:
            return
        decoded = decode(data, self.url, self.variant, key_digest(whole_url(self.url), self.variant))
        if decoded is None:
            tier.remove(name)
            return
        if decoded.entry.tags is not None:
            await self.learn_tags(decoded.entry.tags)
        standing = tier.standing(decoded)
        if standing is GONE:
            tier.remove(name)
            return
        if decoded.chunks and not await self.read_chunks(decoded, name):
            return
        if standing is STALE:
            decoded.entry.fresh_until = min(decoded.entry.fresh_until, time(NULL))
        self.entry = decoded.entry

    async def learn_tags(self, tuple tags):
        """See to it that the generations of these are known here."""
        cdef RedisTier tier = self.tier
        cdef Call call
        cdef list asked = []
        for tag in tags:
            if not tag.startswith(SLICES) and tier.number_of(tier.tag_index(tag)) == 0:
                asked.append((tier.tag_index(tag), self.ask((b"GET", tier.tag_index(tag)))))
        for index, call in asked:
            while not call.over:
                await self.changed()
            tier.learn(index, None, call, 0)

    async def read_chunks(self, Decoded decoded, bytes name):
        """Put the body together; whether it is all there."""
        cdef Entry entry = decoded.entry
        cdef RedisTier tier = self.tier
        cdef bytes nonce = nonce_octets(decoded.nonce)
        cdef bytes chunk
        cdef Call call
        cdef list body = []
        cdef int64_t size = 0
        cdef uint32_t number
        if decoded.chunks != (entry.length + CHUNK - 1) // CHUNK:
            tier.remove(name)
            return False
        self.deadline = tier.now() + tier.link.timeout
        calls = [self.ask((b"GET", b"%b%b/%d" % (tier.prefix, name, number))) for number in range(decoded.chunks)]
        for call in calls:
            while not call.over:
                await self.changed()
            chunk = self.accept(call)
            if chunk is None or not chunk.startswith(nonce):
                return False
            body.append(chunk[len(nonce):])
            size += PyBytes_GET_SIZE(chunk) - PyBytes_GET_SIZE(nonce)
        entry.body = b"".join(body)
        return size == entry.length

    cdef Call ask(self, tuple words):
        return self.tier.link.call_for(self, words, max(0.0, self.deadline - self.tier.now()))

    cdef bytes accept(self, Call call):
        """The octets that a GET found, or None."""
        return call.reply if call.error is None and isinstance(call.reply, bytes) else None

    cdef end(self):
        cdef Fiber asker
        self.over = True
        self.tier.ended(self)
        if self.entry is not None and not self.changed_meanwhile:
            self.tier.holder.take_found(self.entry, self.generation)
        for asker in self.askers:
            asker.wake()


cdef class Deposit(Fiber):
    """A response on its way into Redis that has tags: their generations go along."""

    def __cinit__(self, RedisTier tier, Entry entry, Stamp stamp):
        self.tier = tier
        self.entry = entry
        self.stamp = stamp

    async def run(self):
        cdef RedisTier tier = self.tier
        cdef list learned = []
        cdef Call made, call
        for tag in self.entry.tags:
            index = tier.tag_index(tag)
            if not tag.startswith(SLICES) and tier.number_of(index) == 0:
                made = tier.ask_for(self, (b"SET", index, new_number(), b"NX", b"PX", TAG_TIME))
                learned.append((index, made, tier.ask_for(self, (b"GET", index))))
        for index, made, call in learned:
            while not call.over:
                await self.changed()
            tier.learn(index, made, call, TAG_TIME)
        if learned:                                     # a purge may have come before their generations were read
            call = tier.ask_for(self, tier.log_words(b""))
            while not call.over:
                await self.changed()
            tier.take_log(call)
        tier.write(self.entry, self.stamp, self.entry.tags)


cdef class Errand(Fiber):
    """What is to be done in Redis whether or not somebody waits for it: purges, and finding back after an outage."""

    def __cinit__(self, RedisTier tier):
        self.tier = tier

    async def purge(self, tuple purge):
        """Carry out one purge; what Redis has not confirmed is done again when it is back."""
        cdef RedisTier tier = self.tier
        try:
            if not tier.live or not await self.carry_out(purge):
                tier.postpone(purge)
        finally:
            tier.done(self)

    async def carry_out(self, tuple purge):
        """Whether Redis has confirmed all of it."""
        cdef RedisTier tier = self.tier
        cdef Call call
        cdef bytes index
        kind, name, suffix, soft = purge
        if kind != "url":
            line = purge_line(soft, name if kind == "tag" else None, name, suffix)
            call = tier.ask_for(self, tier.log_words(line))
            while not call.over:
                await self.changed()
            if not tier.take_log(call):
                return False
        if kind == "prefix":
            return True
        index = tier.url_index(name) if kind == "url" else tier.tag_index(name)
        tier.known.pop(index, None)
        lasts = FETCH_TIME if kind == "url" else TAG_TIME
        if soft:
            call = tier.ask_for(self, (b"EVAL", SOFTEN, 1, index, new_number(), lasts))
        else:
            call = tier.ask_for(self, (b"SET", index, new_number(), b"PX", lasts))
        while not call.over:
            await self.changed()
        if is_full(call):                               # what is gone invalidates as well
            call = tier.ask_for(self, (b"UNLINK", index))
            while not call.over:
                await self.changed()
        tier.known.pop(index, None)
        return call.error is None

    async def recover(self):
        """Find back after a connection was made: first the purges that wait, then the log; then memory is anew."""
        cdef RedisTier tier = self.tier
        cdef Call call
        cdef int64_t connection = tier.link.connections
        try:
            while tier.pending:
                purge = tier.pending[0]
                if not await self.carry_out(purge):
                    return
                if tier.pending and tier.pending[0] is purge:
                    del tier.pending[0]
            call = tier.ask_for(self, tier.log_words(b""))
            while not call.over:
                await self.changed()
            if isinstance(call.error, hiredis.ReplyError):
                hint = " (a node of a cluster: say --use-cluster)" if str(call.error).startswith("MOVED") else ""
                tier.tell(f"{tier.link.address}: {call.error}{hint}")
            elif call.error is None and connection == tier.link.connections and tier.take_log(call):
                tier.begin(connection)
        finally:
            tier.recovering = False
            tier.done(self)


cdef class RedisTier:
    """Stored responses in Redis. It may be away at any time: then nothing is found and nothing stored there."""

    def __init__(self, Holder holder not None, connector, address, double timeout, prefix, double room, figures):
        """`connector` is RedisLink or RedisCluster, `address` a RedisAddress.

        `timeout` (seconds) bounds each use; stale responses stay for `room` seconds. `figures` gives the counters of
        this process, by name, that are gathered in Redis.
        """
        self.holder = holder
        self.figures = figures
        self.prefix = prefix.encode()
        self.room = room
        self.log = PurgeLog()
        self.known = {}
        self.lookups = {}
        self.pending = []
        self.errands = set()
        self.waiters = []
        self.name = secrets.token_hex(8).encode()
        self.told_figures = {}
        self.processes = 0
        tracking = ("CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP", "PREFIX", self.prefix)
        self.link = connector(address, timeout, self.heed, self.link_changed, (tracking,))

    def open(self):
        """Connect, and stay connected until `close`."""
        self.link.open()
        self.beat = self.link.loop.call_later(BEAT, self.look)

    def close(self):
        """Let go of Redis."""
        self.beat.cancel()
        self.live = False
        self.told = True
        self.link.close()

    cdef double now(self) except? -1:
        return self.link.loop.time()

    # -- names

    cdef bytes url_index(self, bytes url):
        return b"%burl:%b" % (self.prefix, whole_url(url))

    cdef bytes tag_index(self, bytes tag):
        """`tag` is one of those that CacheManager.tags_of gives."""
        return self.prefix + tag.replace(b"\n", b":", 1)

    cdef tuple log_words(self, bytes line):
        """What reads the log, having put `line` at its end."""
        return log_command(self.prefix, line)

    cdef Call ask_for(self, Fiber asker, tuple words):
        return self.link.call_for(asker, words, self.link.timeout)

    # -- being there

    def link_changed(self, link):
        """The state of the connection is another."""
        if link.state == "ready":
            self.set_out()
        elif link.state == "waiting" or link.state == "closed":
            if self.live or not self.told:
                self.tell(f"{link.address}: {link.why}")
            self.live = False

    cdef set_out(self):
        cdef Errand errand
        if self.recovering or (self.live and self.connection == self.link.connections and not self.pending):
            return
        self.recovering = True
        errand = Errand(self)
        self.errands.add(errand)
        errand.start(errand.recover())

    cdef bint is_usable(self) noexcept:
        """Whether what is found there may be used: not while it has not heard of a purge."""
        return self.live and self.link.state == "ready" and not self.pending

    cdef begin(self, int64_t connection):
        """All is known that is to be known of this connection's Redis."""
        if self.connection != connection or not self.live:
            self.known.clear()
            self.holder.drop_all()
            log.info("Redis at %s: in use", self.link.address)
        self.connection = connection
        self.live = True
        self.told = False

    cdef tell(self, str why):
        """Say once that Redis is away."""
        if not self.told:
            self.told = True
            log.warning("Redis at %s: responses are kept in memory alone until it answers", why)

    def look(self):
        """Read the log from time to time: it is in use, and news of it may be lost."""
        self.beat = self.link.loop.call_later(BEAT, self.look)
        if self.link.state != "ready":
            return
        self.set_out()
        if self.live:
            self.read_log()
            self.report()

    cdef report(self):
        """Tell Redis that this process is there, and what it has counted since it last did."""
        cdef dict figures = self.figures()
        place = PROCESSES + self.prefix
        self.link.call((b"EVAL", ENROL, 1, place, self.name, SILENCE_MAX), self.enrolled)
        for name, number in figures.items():
            more = number - self.told_figures.get(name, 0)
            if more:
                self.told_figures[name] = number
                words = (b"HINCRBY", COUNTERS + self.prefix, name.encode(), more)
                self.link.call(words, functools.partial(self.counted, name, more))

    def enrolled(self, Call call):
        """Redis has told how many processes there are."""
        if call.error is None and isinstance(call.reply, int):
            self.processes = call.reply

    def counted(self, name, more, Call call):
        """What could not be told is told next time."""
        if call.error is not None:
            self.told_figures[name] -= more

    cdef read_log(self):
        self.link.call((b"LRANGE", self.prefix + b"purges", 0, -1), self.take_log)

    def take_log(self, Call call):
        """Do what the log says that is new; whether it could be read."""
        cdef Purge purge
        if call.error is not None or not isinstance(call.reply, list):
            return False
        fresh = self.log.take(call.reply)
        if fresh is None:
            self.lose()
            if self.log.last == 0:                      # it is gone, and with it whatever else
                self.live = False
                self.set_out()
                return False
            return True
        for purge in fresh:
            self.outdate_all()
            if purge.tag is not None:
                self.holder.drop_tag(purge.tag, purge.soft)
            else:
                self.holder.drop_prefix(purge.prefix, purge.suffix, purge.soft)
        return True

    cdef lose(self):
        """Nothing that is known here can be trusted any more."""
        self.known.clear()
        self.outdate_all()
        self.holder.drop_all()

    # -- finding

    cdef Lookup look_up(self, Fiber asker, bytes url, Variant variant, Fields request, int64_t generation):
        """Search for what answers this request; `asker` is woken when that is over. None where Redis is away."""
        cdef Lookup lookup
        cdef bytes name
        if not self.is_usable():
            return None
        name = stored_name(url, variant, None)
        lookup = self.lookups.get(name)
        if lookup is None:
            lookup = Lookup(self, url, variant, request, generation)
            self.lookups[name] = lookup
            lookup.start(lookup.run())
        if not lookup.over:
            lookup.askers.append(asker)
        return lookup

    cdef ended(self, Lookup lookup):
        cdef bytes name = stored_name(lookup.url, lookup.variant, None)
        if self.lookups.get(name) is lookup:
            del self.lookups[name]
        if lookup.entry is not None:
            self.hits += 1
        else:
            self.misses += 1

    cdef object standing(self, Decoded decoded):
        """What purges have left of a response."""
        cdef Entry entry = decoded.entry
        cdef list found = [compared(decoded.stamp.number, self.number_of(self.url_index(entry.url))),
                           self.log.verdict(decoded.stamp.sequence, entry.url, entry.tags)]
        for tag, number in zip(entry.tags or (), decoded.generations or ()):
            if not tag.startswith(SLICES):
                found.append(compared(number, self.number_of(self.tag_index(tag))))
        return GONE if GONE in found else STALE if STALE in found else CURRENT

    # -- storing

    cdef Stamp stamp(self, bytes url):
        """As of when a response is current that is asked for now."""
        if not self.live:
            return Stamp(0, 0)
        return Stamp(self.number_of(self.url_index(url)), self.log.last)

    cdef deposit(self, Entry entry, Stamp stamp):
        """Store a response for all."""
        cdef Deposit deposit
        if not stamp.is_known() or not self.is_usable():
            return
        if self.link.backlog() > BACKLOG_MAX:
            self.skipped += 1
        elif entry.tags is None:
            self.write(entry, stamp, ())
        else:
            deposit = Deposit(self, entry, stamp)
            deposit.start(deposit.run())

    cdef write(self, Entry entry, Stamp stamp, tuple tags):
        cdef int64_t life = self.life_of(entry)
        cdef bytes name = stored_name(entry.url, entry.variant, entry.selecting)
        cdef bytes body = entry.body
        cdef bytes octets
        cdef uint32_t chunks = 0
        cdef int64_t nonce = 0
        cdef list numbers = []
        if life <= 0 or self.log.verdict(stamp.sequence, entry.url, entry.tags) is not CURRENT:
            return
        for tag in tags:
            if tag.startswith(SLICES):                  # the URL's generation is that of its slices
                numbers.append(0)
                continue
            numbers.append(self.number_of(self.tag_index(tag)))
            if numbers[len(numbers) - 1] == 0:
                return
            self.extend(self.tag_index(tag), max(TAG_TIME, life), TAG_TIME // 7)
        if body is not None and PyBytes_GET_SIZE(body) > CHUNK:
            chunks = (PyBytes_GET_SIZE(body) + CHUNK - 1) // CHUNK
            nonce = secrets.randbits(62)
            self.write_chunks(name, body, nonce, life)
        octets = encode(entry, stamp, tuple(numbers), None, chunks, nonce)
        if octets is None:
            return
        self.extend(self.url_index(entry.url), life + FETCH_TIME, 0)
        if entry.selecting is not None:
            self.set(stored_name(entry.url, entry.variant, None), encode_names(entry.selecting), life)
        self.set(name, octets, life)
        self.stored += 1

    cdef write_chunks(self, bytes name, bytes body, int64_t nonce, int64_t life):
        cdef bytes first = nonce_octets(nonce)
        cdef Py_ssize_t at
        for at in range(0, PyBytes_GET_SIZE(body), CHUNK):
            self.set(b"%b/%d" % (name, at // CHUNK), first + body[at:at + CHUNK], life)

    cdef set(self, bytes name, bytes octets, int64_t life):
        self.link.call((b"SET", self.prefix + name, octets, b"PX", life), self.written)

    def written(self, Call call):
        """What was to be stored in Redis is there, or could not be."""
        if isinstance(call.error, hiredis.ReplyError) and self.refused != str(call.error):
            self.refused = str(call.error)
            log.warning("Redis at %s does not store: %s", self.link.address, call.error)

    cdef int64_t life_of(self, Entry entry) except -1:
        """Milliseconds that a response stays: while it is fresh, and then for use while stale or for validation."""
        cdef int64_t fresh = max(entry.fresh_until - time(NULL), 0)
        cdef int64_t room = max(entry.stale_while_revalidate, entry.stale_if_error, <int64_t>self.room)
        return min(fresh + room, LIFE_MAX) * 1000

    cdef extend(self, bytes index, int64_t life, int64_t slack):
        """Let a generation last for `life` milliseconds; what is known to be within `slack` of that may stay so."""
        cdef Generation generation = self.known.get(index)
        cdef double until = self.now() + life / 1000.0
        if generation is not None and generation.until < until - slack / 1000.0:
            generation.until = until
            self.link.call((b"PEXPIRE", index, life), functools.partial(self.extended, index))

    def extended(self, index, Call call):
        """The generation lasts longer, or was gone already."""
        if call.error is not None or call.reply != 1:
            self.known.pop(index, None)

    cdef forget(self, Entry entry):
        """Remove a response that is not so any more."""
        self.remove(stored_name(entry.url, entry.variant, entry.selecting))

    cdef remove(self, bytes name):
        if self.live:
            self.link.call((b"UNLINK", self.prefix + name))

    # -- generations

    cdef int64_t number_of(self, bytes index) except -1:
        """A generation as it is known here; 0: it is not."""
        cdef Generation generation = self.known.get(index)
        return 0 if generation is None else generation.number

    cdef learn(self, bytes index, Call made, Call call, int64_t lasts):
        """Take over what Redis says a generation is; `made`: it was begun by us, to last for as many milliseconds."""
        cdef int64_t number = number_in(call)
        cdef double until = 0
        if made is not None:
            self.written(made)
        if number == 0:
            return
        if made is not None and made.reply is not None and made.error is None:
            until = self.now() + lasts / 1000.0
        if len(self.known) >= KNOWN_MAX:
            del self.known[next(iter(self.known))]
        self.known[index] = Generation(number, until)

    # -- what Redis tells

    def heed(self, list push):
        """Keys under the prefix have changed; None: all of them."""
        if push[0] != b"invalidate":
            return
        if push[1] is None:
            self.lose()
            self.read_log()
            return
        for key in push[1]:
            self.invalidated(key)

    cdef invalidated(self, bytes key):
        cdef bytes rest = key[PyBytes_GET_SIZE(self.prefix):]
        cdef Lookup lookup
        if IS_NAME(rest):
            lookup = self.lookups.get(rest)
            if lookup is not None:
                lookup.changed_meanwhile = True
            self.holder.drop_named(rest)
        elif rest == b"purges":
            self.read_log()
        elif rest.startswith((b"url:", b"tag:", b"group:")):
            self.doubt(key, rest)

    cdef doubt(self, bytes index, bytes rest):
        """A generation may be another: ask, unless nothing is known of it here."""
        cdef Generation generation = self.known.get(index)
        if rest.startswith(b"url:"):
            self.outdate(rest[4:])
        else:
            self.outdate_all()
        if generation is None:
            self.drop_of(rest, False)
        else:
            self.link.call((b"GET", index), functools.partial(self.settle, index, rest, generation))

    def settle(self, index, rest, Generation generation, Call call):
        """Drop what a generation that is another leaves behind."""
        cdef int64_t number = number_in(call)
        standing = compared(generation.number, number)
        if standing is not CURRENT:
            self.drop_of(rest, standing is STALE)
        if self.known.get(index) is generation:
            if standing is GONE:
                del self.known[index]
            else:
                generation.number = number

    cdef drop_of(self, bytes rest, bint soft):
        kind, _, name = rest.partition(b":")
        if kind == b"url":
            self.holder.drop_url(name, soft)
        else:
            self.holder.drop_tag(b"%b\n%b" % (kind, name), soft)

    cdef outdate(self, bytes url):
        """What is being searched for this URL may be outdated when it comes."""
        cdef Lookup lookup
        for lookup in self.lookups.values():
            if whole_url(lookup.url) == url:
                lookup.outdated = True

    cdef outdate_all(self):
        cdef Lookup lookup
        for lookup in self.lookups.values():
            lookup.outdated = True

    # -- purging

    cdef purge(self, str kind, bytes name, bytes suffix, bint soft):
        """Purge in the whole fleet: a "url", a "tag", or by "prefix" (and `suffix`)."""
        cdef Errand errand = Errand(self)
        if kind == "url":
            self.outdate(name)
        else:
            self.outdate_all()
        self.errands.add(errand)
        errand.start(errand.purge((kind, name, suffix, soft)))

    cdef postpone(self, tuple purge):
        """Keep a purge for when Redis is back."""
        self.pending.append(purge)
        if len(self.pending) > PENDING_MAX:
            self.pending[:] = [("prefix", b"", b"", False)]
        if self.link.state == "ready":
            self.set_out()

    cdef done(self, Errand errand):
        cdef Fiber waiter
        self.errands.discard(errand)
        if not self.errands:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                waiter.wake()

    cdef bint is_settled(self, Fiber waiter) except -1:
        """Whether all purges are done; `waiter` is woken when they are."""
        if not self.errands:
            return True
        self.waiters.append(waiter)
        return False


def log_command(bytes prefix, bytes line):
    """The command that reads the log of purges under a prefix, having put `line` at its end (empty: it does not)."""
    start = secrets.randbits(30) + 1 << SOFT_BITS
    return (b"EVAL", WRITE_LOG, 1, prefix + b"purges", start, line, LOG_LENGTH)


cdef int64_t new_number() except -1:
    """A generation that there has never been."""
    return <int64_t>(secrets.randbits(41) + 1) << SOFT_BITS


cdef bint is_full(Call call) except -1:
    """Whether Redis takes nothing because its memory is full."""
    return isinstance(call.error, hiredis.ReplyError) and str(call.error).startswith("OOM")


cdef int64_t number_in(Call call) except -1:
    """The number that a GET has found; 0: none."""
    reply = call.reply
    if call.error is not None or not isinstance(reply, bytes) or not reply.isdigit() or len(reply) > DIGITS_MAX:
        return 0
    return min(int(reply), NUMBER_MAX)


cdef object compared(int64_t had, int64_t now):
    """The Standing of what was asked for under generation `had`."""
    if now == had and now > 0:
        return CURRENT
    return STALE if 0 < had < now and had >> SOFT_BITS == now >> SOFT_BITS else GONE


cdef bytes nonce_octets(int64_t nonce):
    return nonce.to_bytes(8, "little")
