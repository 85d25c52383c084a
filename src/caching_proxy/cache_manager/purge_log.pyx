"""The latest purges of the whole fleet, and what a response is current as of.

Purges by prefix stand in one short list in Redis, those by tag in another, each with a number. A response carries the
number of the last that was known when it was asked for: whether a later one means it can be told by everybody, without
a message and whatever came first. What is older than the list reaches is taken for purged.
"""

import secrets

cimport cython

from caching_proxy.cache_manager.standing import Standing

cdef enum:
    LENGTH = 256              # purges in a log

PREFIX_LOG = b"purges"        # behind the prefix: the log of purges by prefix
TAG_LOG = b"purged-tags"      # ... and by tag

# The log, begun where it is not there; with a second argument that is put at its end.
cdef bytes WRITE = b"""
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

cdef bytes BY_TAG = b"tag"
cdef bytes BY_PREFIX = b"prefix"
cdef frozenset KINDS = frozenset((BY_TAG, BY_PREFIX, b"start"))

cdef object CURRENT = Standing.CURRENT
cdef object STALE = Standing.STALE
cdef object GONE = Standing.GONE


@cython.final
cdef class Stamp:
    """As of when a response is current."""

    def __cinit__(self, int64_t number=0, int64_t sequence=0, int64_t tag_sequence=0):
        self.number = number
        self.sequence = sequence
        self.tag_sequence = tag_sequence

    cdef bint is_known(self) noexcept:
        """Whether others can tell by it that a purge has come since."""
        return self.number > 0 and self.sequence > 0


@cython.final
cdef class Purge:
    """One purge: by tag, or by how URLs begin and end."""

    cdef bint means(self, bytes url, tuple tags) except -1:
        """Whether it is meant for a response of this URL with these tags."""
        if self.tag is not None:
            return tags is not None and self.tag in tags
        return self.prefix is not None and url.startswith(self.prefix) and (
            url.partition(b"\0")[0].endswith(self.suffix))


@cython.final
cdef class PurgeLog:
    """The list as it was last read; empty until then."""

    def __cinit__(self):
        self.purges = []

    cpdef list take(self, list lines):
        """Take over the list as it is now: what is new in it; None where something may have been missed."""
        cdef Purge purge
        cdef int64_t last = self.last
        cdef list purges = [parsed(line) for line in lines]
        if not purges or None in purges:
            self.purges = []
            self.first = self.last = 0
            return None
        self.purges = purges
        self.first = (<Purge>purges[0]).sequence
        self.last = (<Purge>purges[len(purges) - 1]).sequence
        if not self.first - 1 <= last <= self.last:
            return None
        return [purge for purge in purges if purge.sequence > last]

    cpdef object verdict(self, int64_t sequence, bytes url, tuple tags):
        """The Standing of a response that was asked for when `sequence` was the last."""
        cdef Purge purge
        cdef object found = CURRENT
        if sequence == self.last and sequence > 0:
            return CURRENT
        if not 0 < self.first - 1 <= sequence <= self.last:
            return GONE
        for purge in self.purges:
            if purge.sequence > sequence and purge.means(url, tags):
                if not purge.soft:
                    return GONE
                found = STALE
        return found


cdef Purge parsed(object line):
    """A line of the list: number, kind, "hard" or "soft", then the tag, or prefix, NUL, suffix. None: it is none."""
    cdef Purge purge = Purge.__new__(Purge)
    cdef list words = line.split(b" ", 3) if isinstance(line, bytes) else []
    if len(words) != 4 or words[1] not in KINDS or not (words[0].isdigit() and len(words[0]) <= 16):
        return None
    purge.sequence = int(words[0])
    purge.soft = words[2] == b"soft"
    if words[1] == BY_TAG:
        purge.tag = words[3]
    elif words[1] == BY_PREFIX:
        purge.prefix, _, purge.suffix = words[3].partition(b"\0")
    return purge


def purge_line(bint soft, tag, bytes prefix, bytes suffix):
    """What a line of the list says behind its number."""
    how = b"soft" if soft else b"hard"
    if tag is not None:
        return b"%b %b %b" % (BY_TAG, how, tag)
    return b"%b %b %b\0%b" % (BY_PREFIX, how, prefix, suffix)


def log_command(bytes key, bytes line):
    """The command that reads a log of purges, having put `line` at its end (empty: it does not)."""
    start = secrets.randbits(30) + 1 << 20
    return (b"EVAL", WRITE, 1, key, start, line, LENGTH)
