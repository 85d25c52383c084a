"""What a process knows of the Redis that it shares: whether it may be used, its generations, its logs of purges.

A generation is a number drawn at random, one for each URL, tag and group in use. A response carries those that held
before it was asked for and is worth nothing once one has changed. One that is gone invalidates as well, so that nothing
comes back to life when Redis evicts or loses keys.
"""

import functools
import logging
import secrets

import hiredis

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_key cimport whole_url

from caching_proxy.cache_manager.redis_link import RedisDown
from caching_proxy.cache_manager.standing import Standing

log = logging.getLogger("caching_proxy")

cdef enum:
    SOFT_BITS = 20            # of a generation: how often a soft purge has counted it up
    KNOWN_MAX = 65536         # generations that are held here; then the oldest go
    DIGITS_MAX = 19           # of a generation

cdef int64_t NUMBER_MAX = <int64_t>1 << 62
cdef double LEAST = 0.001     # seconds: with less left nothing is asked any more

cdef object CURRENT = Standing.CURRENT
cdef object STALE = Standing.STALE
cdef object GONE = Standing.GONE
cdef object TOO_LATE = RedisDown("there is no time left for it")
cdef bytes SLICES = b"slices\n"

# What PEXPIRE GT does from Redis 7.0 on: let a key live so many milliseconds at least; 0: it does, or is gone. As a
# script it is news for ourselves as well: NOLOOP does not hold for what scripts write.
cdef bytes EXTEND = b"""
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left >= tonumber(ARGV[1]) then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""

# A change of a key that nobody keeps.
cdef bytes ANNOUNCE = b"redis.call('SET', KEYS[1], 1) redis.call('DEL', KEYS[1])"


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


cdef class RedisState:
    """What is known, and how it is asked for."""

    cdef double now(self) except? -1:
        return self.link.loop.time()

    cpdef bint is_up(self) except -1:
        """Whether all is known that is to be known of every connection to it."""
        return self.live and self.connection == self.link.connections

    cdef bint is_usable(self) except -1:
        """Whether what is found there may be used: not while a purge has not been heard of, here or there."""
        return self.is_up() and self.link.state == "ready" and not self.pending and not self.behind

    cdef Stamp stamp(self, bytes url):
        """As of when a response is current that is asked for now."""
        if not self.is_usable():
            return Stamp()
        return Stamp(self.number_of(self.url_index(url)), self.log.last, self.tag_log.last)

    cdef object standing(self, Decoded decoded):
        """What purges have left of a response."""
        cdef Entry entry = decoded.entry
        cdef list found = [compared(decoded.stamp.number, self.number_of(self.url_index(entry.url))),
                           self.log.verdict(decoded.stamp.sequence, entry.url, entry.tags)]
        for tag, number in zip(entry.tags or (), decoded.generations or ()):
            if has_generation(tag):
                found.append(compared(number, self.number_of(self.tag_index(tag))))
        return GONE if GONE in found else STALE if STALE in found else CURRENT

    # -- names

    cdef bytes url_index(self, bytes url):
        return b"%burl:%b" % (self.prefix, whole_url(url))

    cdef bytes tag_index(self, bytes tag):
        """`tag` is one of those that CacheManager.tags_of gives."""
        return self.prefix + tag.replace(b"\n", b":", 1)

    # -- asking

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

    cdef list ask_tags(self, Fiber asker, tuple tags, int64_t lasts, double seconds):
        """Learn those generations of tags that are not known; as ask_number."""
        return [self.ask_number(asker, self.tag_index(tag), lasts, seconds) for tag in tags
                if has_generation(tag) and self.number_of(self.tag_index(tag)) == 0]

    cdef announce(self, bytes rest):
        """Have every process hear of a key under the prefix."""
        self.link.call((b"EVAL", ANNOUNCE, 1, self.prefix + rest))

    def written(self, Call call):
        """What was to be stored in Redis is there, or could not be."""
        if isinstance(call.error, hiredis.ReplyError) and self.refused != str(call.error):
            self.refused = str(call.error)
            log.warning("Redis at %s does not store: %s", self.link.address, call.error)

    # -- the log of purges by tag

    def take_tag_log(self, Call call):
        """Heed the purges by tag that are new: what is being fetched may turn out to have the tag; whether it could."""
        cdef Purge purge
        if not self.has_read(call, IN_TAG_LOG):
            return False
        fresh = self.tag_log.take(call.reply)
        if fresh is None:
            self.holder.void_all()
        for purge in fresh or ():
            if purge.tag is not None:
                self.holder.drop_tag(purge.tag, purge.soft)
        return True

    cdef bint has_read(self, Call call, int log) except -1:
        """Whether a log has been read; where it has not, this proxy is behind in it until it is."""
        if call.error is None and isinstance(call.reply, list):
            self.behind &= ~log
            return True
        self.behind |= log
        return False

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

    cdef bint is_doubted(self, Entry entry) except -1:
        """Whether a generation that a response needs is being asked for anew."""
        cdef Generation generation
        for index in [self.url_index(entry.url), *[self.tag_index(tag) for tag in entry.tags or ()]]:
            generation = self.known.get(index)
            if generation is not None and generation.doubted:
                return True
        return False

    cdef bint are_known(self, tuple tags) except -1:
        """Whether the generations of all these are known."""
        for tag in tags:
            if has_generation(tag) and self.number_of(self.tag_index(tag)) == 0:
                return False
        return True

    cdef extend(self, bytes index, int64_t life, int64_t slack):
        """Let a generation last for `life` milliseconds; what is known to be within `slack` of that may stay so."""
        cdef Generation generation = self.known.get(index)
        cdef double until = self.now() + life / 1000.0
        if generation is not None and generation.until < until - slack / 1000.0:
            generation.until = until
            words = (b"EVAL", EXTEND, 1, index, life) if self.is_old else (b"PEXPIRE", index, life, b"GT")
            self.link.call(words, functools.partial(self.extended, index, life))

    def extended(self, index, life, Call call):
        """The generation lasts longer, did so already, or is gone."""
        if isinstance(call.error, hiredis.ReplyError) and not self.is_old:
            self.is_old = True
            self.link.call((b"EVAL", EXTEND, 1, index, life), functools.partial(self.extended, index, life))
        elif call.error is not None or call.reply != 1:
            self.known.pop(index, None)

    cdef doubt(self, bytes index, bytes rest):
        """A generation may be another: ask, unless nothing is known of it here. `rest` is its key behind the prefix."""
        cdef Generation generation = self.known.get(index)
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


cdef bint has_generation(bytes tag) except -1:
    """Whether a tag has one of its own: that of a URL is that of its slices as well."""
    return not tag.startswith(SLICES)


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
