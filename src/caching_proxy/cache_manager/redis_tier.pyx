"""The tier that a fleet shares: stored responses in Redis, and what keeps every memory tier in step with it.

Under the prefix stand, each with a lifetime: responses, by the 64 hexadecimal digits of their keys, large bodies in
chunks beside them; a generation for each URL, tag and group in use (redis_state); the logs of purges. A purge changes
one small value and finds all, whatever has been stored meanwhile by whom.

Redis tells of every change under the prefix (CLIENT TRACKING BCAST), over the connection that is also asked, so that a
reply and the news of a later change come in this order. After a connection is made anew nothing in memory is trusted.

Searches are in redis_search, what is stored in redis_deposit, who fetches for all in redis_lease; here is the rest:
being there, what Redis tells, and purging.
"""

import asyncio
import functools
import logging
import re
import secrets

import hiredis

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from caching_proxy.cache_manager.redis_state cimport FETCH_TIME, IN_PREFIX_LOG, TAG_TIME, is_full, new_number

from caching_proxy.cache_manager.purge_log import PREFIX_LOG, TAG_LOG, log_command, purge_line

log = logging.getLogger("caching_proxy")

cdef enum:
    PENDING_MAX = 1024        # purges that wait for Redis; then one of everything takes their place
    SILENCE_MAX = 5           # seconds after which a process that says nothing is not counted any more

cdef double BEAT = 1.0        # seconds between two looks at the log, should news be lost

# Not under the prefix: what is counted is no news for memory tiers.
COUNTERS = b"caching-proxy:counters:"
PROCESSES = b"caching-proxy:processes:"
cdef bytes JOINED = b"joined"     # behind the prefix: one process more
cdef object IS_NAME = re.compile(rb"[0-9a-f]{64}").fullmatch

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
            error = tags.error if call.error is None else call.error
            if isinstance(error, hiredis.ReplyError):
                hint = " (a node of a cluster: say --use-cluster)" if str(error).startswith("MOVED") else ""
                tier.tell(f"{tier.link.address}: {error}{hint}")
            elif connection == tier.link.connections and tier.take_log(call) and tier.take_tag_log(tags):
                tier.begin(connection)
        finally:
            tier.recovering = False


cdef class RedisTier(RedisState):
    """Stored responses in Redis. It may be away at any time: then nothing is found and nothing stored there."""

    def __init__(self, Holder holder not None, connector, address, double timeout, prefix, double room, figures,
                 bint compresses):
        """`connector` is RedisLink or RedisCluster, `address` a RedisAddress.

        `timeout` (seconds) bounds each use; stale responses stay for `room` seconds. `figures` gives the counters of
        this process, by name, that are gathered in Redis. With `compresses` bodies are stored compressed.
        """
        self.holder = holder
        self.figures = figures
        self.prefix = prefix.encode()
        self.log = PurgeLog()
        self.tag_log = PurgeLog()
        self.known = {}
        self.pending = []
        self.errands = set()
        self.name = secrets.token_hex(8).encode()
        self.told_figures = {}
        self.processes = 0
        self.searches = Searches(self)
        self.deposits = Deposits(self, self.searches, room, compresses)
        self.leases = Leases(self, self.name)
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

    # -- being there

    def link_changed(self, link):
        """The state of the connection is another."""
        if self.losses != link.losses:                  # what one node has to tell is not heard
            self.losses = link.losses
            self.known.clear()
            self.searches.outdate_all()
        if link.state == "ready":
            self.set_out()
            if self.live and self.behind:
                self.read_log()
        elif link.state == "waiting" or link.state == "closed":
            if self.live or not self.told:
                self.tell(f"{link.address}: {link.why}")
            self.live = False
        self.leases.link_changed()

    cdef set_out(self):
        cdef Errand errand
        if self.recovering or (self.live and self.connection == self.link.connections and not self.pending):
            return
        self.recovering = True
        errand = Errand(self)
        errand.start(errand.recover())

    cdef begin(self, int64_t connection):
        """All is known that is to be known of this connection's Redis."""
        if self.connection != connection or not self.live:
            self.lose()
            log.info("Redis at %s: in use", self.link.address)
            self.enrol()
            self.announce(JOINED)
        self.connection = connection
        self.live = self.was_live = True
        self.behind = 0
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
            self.leases.keep()

    cdef report(self):
        """Tell Redis that this process is there, and what it has counted since it last did."""
        cdef dict figures = self.figures()
        self.enrol()
        for name, number in figures.items():
            more = number - self.told_figures.get(name, 0)
            if more:
                self.told_figures[name] = number
                words = (b"HINCRBY", COUNTERS + self.prefix, name.encode(), more)
                self.link.call(words, functools.partial(self.counted, name, more))

    cdef enrol(self):
        self.link.call((b"EVAL", ENROL, 1, PROCESSES + self.prefix, self.name, SILENCE_MAX), self.enrolled)

    def enrolled(self, Call call):
        """Redis has told how many processes there are."""
        if call.error is None and isinstance(call.reply, int):
            self.processes = call.reply

    def counted(self, name, more, Call call):
        """What could not be told is told next time."""
        if call.error is not None:
            self.told_figures[name] -= more

    cdef read_log(self):
        self.link.call((b"LRANGE", self.prefix + TAG_LOG, 0, -1), self.take_tag_log)
        self.link.call((b"LRANGE", self.prefix + PREFIX_LOG, 0, -1), self.take_log)

    def take_log(self, Call call):
        """Do what the log of purges by prefix says that is new; whether it could be read."""
        cdef Purge purge
        if not self.has_read(call, IN_PREFIX_LOG):
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
            self.searches.outdate_all()
            if purge.prefix is not None:
                self.holder.drop_prefix(purge.prefix, purge.suffix, purge.soft)
        return True

    cdef lose(self):
        """Nothing that is known here can be trusted any more."""
        self.known.clear()
        self.searches.outdate_all()
        self.leases.doubt_all()
        self.holder.drop_all()

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
            self.searches.flag(rest)
            self.leases.stir(rest)
            self.holder.drop_named(rest)
        elif rest == PREFIX_LOG or rest == TAG_LOG:
            self.read_log()
        elif rest.startswith(b"url:"):
            self.searches.outdate(rest[4:])
            self.doubt(key, rest)
        elif rest.startswith((b"tag:", b"group:")):
            self.doubt(key, rest)
        elif rest == JOINED:
            self.enrol()
        else:
            self.leases.hear(rest)

    # -- fetching for all

    async def give_turns_back(self):
        """Let other processes fetch what this one will not; wait until Redis knows, at most the deadline of a call."""
        self.leases.give_all_back()
        pings = [node.ask(b"PING") for node in self.link.nodes_now()]
        await asyncio.gather(*pings, return_exceptions=True)

    cdef Lease lease(self, Fiber asker, bytes name):
        """The turn of this process to fetch (as Leases.take); None where nobody shares this Redis, or it is away."""
        if self.processes == 1 or not self.is_usable():
            return None
        return self.leases.take(asker, name)

    # -- purging

    cdef purge(self, str kind, bytes name, bytes suffix, bint soft):
        """Purge in the whole fleet: a "url", a "tag", or by "prefix" (and `suffix`)."""
        cdef Errand errand = Errand(self)
        if kind == "url":
            self.searches.outdate(name)
        else:
            self.searches.outdate_all()
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
            self.searches.outdate(name)
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
