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
from caching_proxy.cache_manager.codec cimport decode, encode, encode_names, is_other_version, vary_names

from caching_proxy.cache_manager.purge_log import purge_line
from caching_proxy.cache_manager.redis_link import RedisDown
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
    LOG_LENGTH = 256          # purges in a log
    BODY_MAX = 16777216       # octets of a body that is stored: more would hold up everybody else
    URL_MAX = 1024            # octets of a URL whose responses are stored
    SILENCE_MAX = 5           # seconds after which a process that says nothing is not counted any more
    DIGITS_MAX = 19           # of a generation

cdef int64_t NUMBER_MAX = <int64_t>1 << 62
cdef double LEAST = 0.001     # seconds: with less left nothing is asked any more
cdef double BEAT = 1.0        # seconds between two looks at the log, should news be lost

cdef object CURRENT = Standing.CURRENT
cdef object STALE = Standing.STALE
cdef object GONE = Standing.GONE
cdef object TOO_LATE = RedisDown("there is no time left for it")
PREFIX_LOG = b"purges"
TAG_LOG = b"purged-tags"
# Not under the prefix: what is counted is no news for memory tiers.
COUNTERS = b"caching-proxy:counters:"
PROCESSES = b"caching-proxy:processes:"
cdef object IS_NAME = re.compile(rb"[0-9a-f]{64}").fullmatch
cdef bytes SLICES = b"slices\n"

# The log, begun where it is not there; with a second argument that is put at its end.
cdef bytes WRITE_LOG = b"""
local last = redis.pcall('LINDEX', KEYS[1], -1)
local number = type(last) == 'string' and tonumber(string.match(last, '^%d+'))
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
if redis.call('EXISTS', KEYS[1]) == 1 then
  local counted = redis.pcall('INCR', KEYS[1])
  if type(counted) == 'number' then return counted end
end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
"""
# Let a key live so many milliseconds at least; 0: it is gone.
cdef bytes EXTEND = b"""
local left = redis.call('PTTL', KEYS[1])
if left == -2 then return 0 end
if left >= 0 and left < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
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

    cdef void_all(self):
        """What is being fetched is not to be stored."""
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
        self.name = stored_name(url, variant, None)
        self.askers = []
        self.deadline = tier.now() + tier.link.timeout

    async def run(self):
        try:
            await self.read()
            if self.outdated:
                self.outdated = False
                await self.read()
        finally:
            self.end()

    async def read(self):
        """Find the response, and what tells whether it is current, in one round trip where it is plain."""
        cdef RedisTier tier = self.tier
        cdef bytes index = tier.url_index(self.url)
        cdef bytes name = self.name
        cdef Call current = None, call
        cdef Decoded decoded
        cdef bytes data
        self.decoded = None
        if tier.number_of(index) == 0:
            current = tier.ask_number(self, index, FETCH_TIME, self.left())
        call = self.ask((b"GET", tier.prefix + name))
        while not call.over or (current is not None and not current.over):
            await self.changed()
        data = self.accept(call)
        if data is not None and vary_names(data) is not None:
            self.varies = True
            name = stored_name(self.url, self.variant, selecting_values(vary_names(data), self.request))
            self.selected = name
            call = self.ask((b"GET", tier.prefix + name))
            while not call.over:
                await self.changed()
            data = self.accept(call)
        if data is None:
            return
        decoded = decode(data, self.url, self.variant, key_digest(whole_url(self.url), self.variant))
        if decoded is None or decoded.compressed or decoded.entry.length > BODY_MAX:
            if not is_other_version(data):
                tier.remove(name)
            return
        if decoded.entry.tags is not None:
            await self.learn_tags(decoded.entry.tags)
        if tier.standing(decoded) is GONE:
            if tier.link.replica_reads and not self.insists:
                self.insists = True                     # a replica may be behind: the primary may have a newer one
                await self.read()
            else:
                tier.remove(name)
            return
        if decoded.chunks and not await self.read_chunks(decoded, name):
            return
        self.decoded = decoded

    async def learn_tags(self, tuple tags):
        """See to it that the generations of these are known here."""
        cdef RedisTier tier = self.tier
        cdef Call call
        calls = [tier.ask_number(self, tier.tag_index(tag), 0, self.left()) for tag in tags
                 if not tag.startswith(SLICES) and tier.number_of(tier.tag_index(tag)) == 0]
        for call in calls:
            while not call.over:
                await self.changed()

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

    cdef double left(self) except? -1:
        """Seconds that there are left."""
        return self.deadline - self.tier.now()

    cdef Call ask(self, tuple words):
        return self.tier.ask_within(self, words, self.left(), self.insists)

    cdef bytes accept(self, Call call):
        """The octets that a GET found, or None."""
        return call.reply if call.error is None and isinstance(call.reply, bytes) else None

    cdef end(self):
        """Give what was found, if it still is what it was, to memory and to all who wait."""
        cdef Fiber asker
        self.over = True
        self.tier.ended(self)
        if self.decoded is not None and not self.outdated and self.tier.is_usable():
            standing = self.tier.standing(self.decoded)
            if standing is not GONE:
                self.entry = self.decoded.entry
            if standing is STALE:
                self.entry.fresh_until = min(self.entry.fresh_until, time(NULL))
        if self.entry is None:
            self.tier.misses += 1
        else:
            self.tier.hits += 1
            if not self.changed_meanwhile:
                self.tier.holder.take_found(self.entry, self.generation)
        self.decoded = None
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
        cdef Call call
        calls = [tier.ask_number(self, tier.tag_index(tag), TAG_TIME, tier.link.timeout) for tag in self.entry.tags
                 if not tag.startswith(SLICES) and tier.number_of(tier.tag_index(tag)) == 0]
        for call in calls:
            while not call.over:
                await self.changed()
        if calls:                                       # a purge may have come before their generations were read
            call = tier.ask_for(self, log_command(tier.prefix + TAG_LOG, b""))
            while not call.over:
                await self.changed()
            if not tier.take_tag_log(call):
                return
        if tier.tag_log.verdict(self.stamp.tag_sequence, self.entry.url, self.entry.tags) is CURRENT:
            tier.write(self.entry, self.stamp, self.entry.tags)


cdef class Errand(Fiber):
    """What is to be done in Redis whether or not somebody waits for it: purges, and finding back after an outage."""

    def __cinit__(self, RedisTier tier):
        self.tier = tier
        self.askers = []

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
        if kind == "prefix":
            return await self.write_log(PREFIX_LOG, purge_line(soft, None, name, suffix))
        if kind == "tag" and not await self.write_log(TAG_LOG, purge_line(soft, name, b"", b"")):
            return False
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
        if call.error is None and len(tier.link.nodes_now()) > 1:
            tier.drop_again(purge)
        return call.error is None

    async def write_log(self, bytes log, bytes line):
        """Whether a purge stands in one of the logs, or that is gone."""
        cdef RedisTier tier = self.tier
        cdef Call call = tier.ask_for(self, log_command(tier.prefix + log, line))
        while not call.over:
            await self.changed()
        if is_full(call):
            call = tier.ask_for(self, (b"UNLINK", tier.prefix + log))
            while not call.over:
                await self.changed()
            return call.error is None
        return tier.take_tag_log(call) if log is TAG_LOG else tier.take_log(call)

    async def recover(self):
        """Find back after a connection was made: first the purges that wait, then the log; then memory is anew."""
        cdef RedisTier tier = self.tier
        cdef Call call, tags
        cdef int64_t connection = tier.link.connections
        try:
            while tier.pending:
                purge = tier.pending[0]
                if not await self.carry_out(purge):
                    return
                if tier.pending and tier.pending[0] is purge:
                    del tier.pending[0]
            tags = tier.ask_for(self, log_command(tier.prefix + TAG_LOG, b""))
            call = tier.ask_for(self, log_command(tier.prefix + PREFIX_LOG, b""))
            while not (call.over and tags.over):
                await self.changed()
            if isinstance(call.error, hiredis.ReplyError):
                hint = " (a node of a cluster: say --use-cluster)" if str(call.error).startswith("MOVED") else ""
                tier.tell(f"{tier.link.address}: {call.error}{hint}")
            elif connection == tier.link.connections and tier.take_log(call) and tier.take_tag_log(tags):
                tier.begin(connection)
        finally:
            tier.recovering = False


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
        self.tag_log = PurgeLog()
        self.known = {}
        self.lookups = {}
        self.searches = set()
        self.pending = []
        self.errands = set()
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

    cdef Call ask_for(self, Fiber asker, tuple words):
        return self.link.call_for(asker, words, self.link.timeout)

    cdef Call ask_within(self, Fiber asker, tuple words, double seconds, bint at_primary):
        """Ask for a value, where there is time left."""
        cdef Call call
        if seconds > LEAST and at_primary:
            return self.link.call_for(asker, words, seconds)
        if seconds > LEAST:
            return self.link.read_for(asker, words, seconds)
        call = Call.__new__(Call)
        call.end(None, TOO_LATE)
        return call

    cdef Call ask_number(self, Fiber asker, bytes index, int64_t lasts, double seconds):
        """Learn a generation; where there is none, and `lasts` (milliseconds) says how long, begin one."""
        cdef Call made = None
        cdef Call call = Call.__new__(Call)
        if seconds <= LEAST:
            call.end(None, TOO_LATE)
            return call
        if lasts:
            made = self.link.call((b"SET", index, new_number(), b"NX", b"PX", lasts), self.written)
        # In the order of what Redis says, so that later news is not taken for older.
        call.callback = functools.partial(self.learn, index, made, lasts)
        self.link.put(call, (b"GET", index), seconds)
        call.asker = None if call.over else asker
        return call

    # -- being there

    def link_changed(self, link):
        """The state of the connection is another."""
        if self.losses != link.losses:                  # what one node has to tell is not heard
            self.losses = link.losses
            self.known.clear()
            self.outdate_all()
        if link.state == "ready":
            self.set_out()
            if self.live and self.behind:
                self.read_log()
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
        errand.start(errand.recover())

    cdef bint is_usable(self) except -1:
        """Whether what is found there may be used: not while a purge has not been heard of, here or there."""
        return (self.live and self.link.state == "ready" and not self.pending and not self.behind
                and self.connection == self.link.connections)

    cdef begin(self, int64_t connection):
        """All is known that is to be known of this connection's Redis."""
        if self.connection != connection or not self.live:
            self.lose()
            log.info("Redis at %s: in use", self.link.address)
        self.connection = connection
        self.live = True
        self.behind = False
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
        self.behind = False                             # unless one of the two fails
        self.link.call((b"LRANGE", self.prefix + TAG_LOG, 0, -1), self.take_tag_log)
        self.link.call((b"LRANGE", self.prefix + PREFIX_LOG, 0, -1), self.take_log)

    def take_tag_log(self, Call call):
        """Heed the purges by tag that are new: what is being fetched may turn out to have the tag. As `take_log`."""
        cdef Purge purge
        if not self.has_read(call):
            return False
        fresh = self.tag_log.take(call.reply)
        if fresh is None:
            self.holder.void_all()
        for purge in fresh or ():
            if purge.tag is not None:
                self.holder.drop_tag(purge.tag, purge.soft)
        return True

    cdef bint has_read(self, Call call) except -1:
        """Whether a log has been read; where it has not, this proxy is behind until both are."""
        if call.error is None and isinstance(call.reply, list):
            return True
        self.behind = True
        return False

    def take_log(self, Call call):
        """Do what the log of purges by prefix says that is new; whether it could be read."""
        cdef Purge purge
        if not self.has_read(call):
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
            if purge.prefix is not None:
                self.holder.drop_prefix(purge.prefix, purge.suffix, purge.soft)
        return True

    cdef lose(self):
        """Nothing that is known here can be trusted any more."""
        self.known.clear()
        self.outdate_all()
        self.holder.drop_all()

    # -- finding

    cdef Lookup look_up(self, Fiber asker, bytes url, Variant variant, Fields request, int64_t generation,
                        bint shared):
        """Search for what answers this request; `asker` is woken when that is over. None where Redis is away.

        A search that is `shared` is that of all who ask for the same meanwhile.
        """
        cdef Lookup lookup = None
        if not self.is_usable() or PyBytes_GET_SIZE(url) > URL_MAX:
            return None
        if shared:
            lookup = self.lookups.get(stored_name(url, variant, None))
        if lookup is None:
            lookup = Lookup(self, url, variant, request, generation)
            self.searches.add(lookup)
            if shared:
                self.lookups[lookup.name] = lookup
            lookup.start(lookup.run())
        if not lookup.over:
            lookup.askers.append(asker)
        return lookup

    cdef ended(self, Lookup lookup):
        self.searches.discard(lookup)
        if self.lookups.get(lookup.name) is lookup:
            del self.lookups[lookup.name]

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
        if not self.is_usable():
            return Stamp()
        return Stamp(self.number_of(self.url_index(url)), self.log.last, self.tag_log.last)

    cdef deposit(self, Entry entry, Stamp stamp):
        """Store a response for all."""
        cdef Deposit deposit
        if stamp is None or not stamp.is_known() or not self.is_usable() or b"\0" in entry.url:
            return                                      # slices are looked for in memory alone
        if entry.length > BODY_MAX:
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
        self.flag(name)
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
            self.link.call((b"EVAL", EXTEND, 1, index, life), functools.partial(self.extended, index))

    def extended(self, index, Call call):
        """The generation lasts longer, or was gone already."""
        if call.error is not None or call.reply != 1:
            self.known.pop(index, None)

    cdef forget(self, Entry entry):
        """Remove a response that is not so any more."""
        self.remove(stored_name(entry.url, entry.variant, entry.selecting))

    cdef remove(self, bytes name):
        self.flag(name)
        if self.live:
            self.link.call((b"UNLINK", self.prefix + name))

    cdef flag(self, bytes name):
        """A response is another now, or gone: who is reading it does not put it into memory."""
        cdef Lookup lookup
        for lookup in self.searches:
            if lookup.name == name or lookup.selected == name:
                lookup.changed_meanwhile = True

    # -- generations

    cdef int64_t number_of(self, bytes index) except -1:
        """A generation as it is known here; 0: it is not."""
        cdef Generation generation = self.known.get(index)
        return 0 if generation is None or generation.doubted else generation.number

    def learn(self, index, Call made, lasts, Call call):
        """Take over what Redis says a generation is; `made`: it was begun by us, to last for as many milliseconds."""
        cdef int64_t number = number_in(call)
        cdef double until = 0
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
        if len(push) != 2 or push[0] != b"invalidate":
            return
        if push[1] is None:
            self.lose()
            self.read_log()
        elif isinstance(push[1], list):
            for key in push[1]:
                if isinstance(key, bytes) and key.startswith(self.prefix):
                    self.invalidated(key)

    cdef invalidated(self, bytes key):
        cdef bytes rest = key[PyBytes_GET_SIZE(self.prefix):]
        if IS_NAME(rest):
            self.flag(rest)
            self.holder.drop_named(rest)
        elif rest == PREFIX_LOG or rest == TAG_LOG:
            self.read_log()
        elif rest.startswith((b"url:", b"tag:", b"group:")):
            self.doubt(key, rest)

    cdef doubt(self, bytes index, bytes rest):
        """A generation may be another: ask, unless nothing is known of it here."""
        cdef Generation generation = self.known.get(index)
        if rest.startswith(b"url:"):
            self.outdate(rest[4:])
        if generation is None:
            self.drop_of(rest, False)
        else:
            generation.doubted = True
            self.link.call((b"GET", index), functools.partial(self.settle, index, rest, generation))

    def settle(self, index, rest, Generation generation, Call call):
        """Drop what a generation that is another leaves behind."""
        cdef int64_t number = number_in(call)
        standing = compared(generation.number, number)
        if standing is not CURRENT:
            self.drop_of(rest, standing is STALE)
        generation.doubted = False
        generation.number = number
        if standing is GONE and self.known.get(index) is generation:
            del self.known[index]

    cdef drop_of(self, bytes rest, bint soft):
        kind, _, name = rest.partition(b":")
        if kind == b"url":
            self.holder.drop_url(name, soft)
        else:
            self.holder.drop_tag(b"%b\n%b" % (kind, name), soft)

    cdef outdate(self, bytes url):
        """What is being searched for this URL may be outdated when it comes."""
        cdef Lookup lookup
        for lookup in self.searches:
            if whole_url(lookup.url) == url:
                lookup.outdated = True

    cdef outdate_all(self):
        cdef Lookup lookup
        for lookup in self.searches:
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
        if purge not in self.pending:
            self.pending.append(purge)
        if len(self.pending) > PENDING_MAX:
            self.pending[:] = [("prefix", b"", b"", False)]
        if self.link.state == "ready":
            self.set_out()

    cdef drop_again(self, tuple purge):
        """What was found at one node while another had not heard yet."""
        kind, name, _, soft = purge
        if kind == "url":
            self.outdate(name)
            self.holder.drop_url(name, soft)
        else:
            self.holder.drop_tag(name, soft)

    cdef done(self, Errand errand):
        cdef Fiber asker
        errand.over = True
        self.errands.discard(errand)
        for asker in errand.askers:
            asker.wake()

    cdef list under_way(self, Fiber asker):
        """The purges that Redis is being told of; `asker` is woken as each is done."""
        cdef Errand errand
        for errand in self.errands:
            errand.askers.append(asker)
        return list(self.errands)


cdef bint all_done(list errands) except -1:
    """Whether these are over."""
    cdef Errand errand
    for errand in errands:
        if not errand.over:
            return False
    return True


def log_command(bytes key, bytes line):
    """The command that reads a log of purges, having put `line` at its end (empty: it does not)."""
    start = secrets.randbits(30) + 1 << SOFT_BITS
    return (b"EVAL", WRITE_LOG, 1, key, start, line, LOG_LENGTH)


cdef int64_t new_number() except -1:
    """A generation that there has never been."""
    return <int64_t>(secrets.randbits(41) + 1) << SOFT_BITS


cdef bint is_full(Call call) except -1:
    """Whether Redis takes nothing because its memory is full."""
    return isinstance(call.error, hiredis.ReplyError) and "OOM" in str(call.error)


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
