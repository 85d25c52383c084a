"""The only door to stored responses: what is held, what is being fetched, what is to go."""

import asyncio
from hashlib import sha256

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.time cimport time

from caching_proxy.cache_manager.cache_key cimport stored_name, whole_url
from caching_proxy.cache_manager.codec cimport BODY_MAX
from caching_proxy.cache_manager.redis_search cimport URL_MAX
from caching_proxy.http.fields cimport F_CACHE_GROUPS

from caching_proxy.cache_manager.no_vary_search import canonical_query, parse_no_vary_search
from caching_proxy.cache_manager.rfc9111.vary import selecting_values
from caching_proxy.cache_manager.tags import TOO_MANY_TAGS, cache_groups, response_tags

cdef enum:
    SEARCHES_MAX = 4096       # paths whose No-Vary-Search is remembered; then the oldest go
    BODIES_MIN = 67108864     # octets of bodies under way, where they are stored and not in memory

cdef double REAP_PAUSE = 0.005    # seconds between two bits of the many that were dropped

# One index holds tags, groups and whose slices there are; a name of one kind is never one of another.
cdef bytes TAG = b"tag\n"
cdef bytes GROUP = b"group\n"
cdef bytes SLICES = b"slices\n"
cdef bytes ANYWHERE = b""     # in place of a site: a group whatever site it is of


cdef class CacheManager(Holder):
    """All stored responses: those of this process, and those that it shares with others in Redis."""

    def __init__(self, settings):
        """`settings` are those of settings.Settings."""
        self.memory = MemoryTier(settings.memory, settings.max_variants)
        self.variants = {}
        self.coalescing = Coalescing(int(settings.uncacheable_ttl))
        self.bodies = Budget(settings.memory)
        self.searches = {}

    def share(self, RedisTier tier):
        """Keep what is stored in Redis as well (None: no longer)."""
        self.tier = tier
        self.memory.name_all(tier is not None)
        self.reap_soon()
        self.bodies.limit = max(self.memory.limit, BODIES_MIN if tier is not None else 0)

    def resize(self, settings):
        """Take over other bounds; what is beyond them goes."""
        self.memory.resize(settings.memory, settings.max_variants)
        self.bodies.limit = max(settings.memory, BODIES_MIN if self.tier is not None else 0)
        self.coalescing.pass_time = int(settings.uncacheable_ttl)

    cdef Variants variants_for(self, bytes told):
        """The variants of keys that `told` is part of; the same for the same."""
        if told not in self.variants:
            self.variants[told] = Variants(told)
        return self.variants[told]

    def keep_variants(self, used):
        """Forget the variants that are not among these."""
        self.variants = {told: variants for told, variants in self.variants.items() if variants in used}

    cdef bytes same_for(self, bytes path, bytes query):
        """The query in the form that all have for which the path's No-Vary-Search says the same."""
        rule = self.searches.get(path)
        return query if rule is None else canonical_query(query, rule)

    cdef learn_search(self, bytes path, bytes value):
        """What a response of this path says of its query (None: nothing)."""
        rule = None if value is None else parse_no_vary_search(value)
        self.searches.pop(path, None)
        if rule is not None:
            if len(self.searches) >= SEARCHES_MAX:
                del self.searches[next(iter(self.searches))]
            self.searches[path] = rule
            if self.generations is not None:
                self.generations.join_queries(path)

    cdef bytes sharing_key(self, bytes url, Variant variant, Fields request):
        """What requests must have in common to share a fetch, as far as that is known before its answer."""
        cdef Entry latest = self.memory.find(url, variant)
        cdef bytes key = url + b"\0" + variant.text
        if latest is None or latest.selecting is None:
            return key
        names = tuple([name for name, _ in latest.selecting])
        return b"%b\0%b" % (key, repr(selecting_values(names, request)).encode())

    cdef tuple tags_of(self, Fields response, tuple fields, bytes url, bytes site):
        """What purges find this response by: its tags, the groups it is in at `site` (RFC 9875), what it is a slice of.

        `fields` are the names of those that tell tags.

        None where there are none; TOO_MANY_TAGS where not all can be indexed.
        """
        cdef list found
        if not (is_tagged(response, fields) or b"\0" in url):
            return None
        tags = response_tags(response, fields)
        if tags is TOO_MANY_TAGS:
            return tags
        groups = cache_groups(response)
        if groups is TOO_MANY_TAGS:
            return groups
        found = [TAG + tag for tag in tags]
        for group in groups:
            found += [group_tag(site, group), group_tag(ANYWHERE, group)]
        if b"\0" in url:
            found.append(SLICES + whole_url(url))
        return tuple(found) if found else None

    # -- both tiers

    cdef bint stores(self) except -1:
        """Whether anything is stored anywhere."""
        return self.memory.limit > 0 or self.tier is not None

    cdef Stamp stamp(self, bytes url):
        """As of when a response is current that is asked for now; None without Redis."""
        return None if self.tier is None else self.tier.stamp(url)

    cdef store(self, Entry entry, Stamp stamp, Lease lease):
        """Store `entry`, which is current as of `stamp`; `lease` (or None) is that under which it was fetched."""
        self.memory.store(entry)
        if self.tier is not None:
            self.tier.deposits.put(entry, stamp, lease)

    cdef drop(self, Entry entry):
        """What is stored is not so any more."""
        self.memory.drop([entry])
        if self.tier is not None:
            self.tier.searches.remove(stored_name(entry.url, entry.variant, entry.selecting))

    cdef outdate(self, Entry entry, int64_t now, Stamp stamp):
        """What is stored is stale from now on."""
        self.memory.expire([entry], now)
        if self.tier is not None:
            self.tier.deposits.put(entry, stamp, None)

    cdef Lookup look_up(self, Fiber asker, bytes url, Variant variant, Fields request, bint shared):
        """Search in Redis for what answers this request, as Searches.begin; None without Redis."""
        if self.tier is None:
            return None
        return self.tier.searches.begin(asker, url, variant, request, self.generation_of(url), shared)

    cdef Lease lease(self, Fiber asker, bytes url, Variant variant, bytes sharing):
        """The turn to fetch what is stored for this URL and variant, among all who share it by `sharing`.

        None where there is nobody to share it with.
        """
        cdef bytes key = url + b"\0" + variant.text
        if self.tier is None or b"\0" in url or PyBytes_GET_SIZE(url) > URL_MAX:
            return None
        name = stored_name(url, variant, None)
        if sharing != key:
            name += b":" + sha256(sharing).hexdigest().encode()
        return self.tier.lease(asker, name)

    cdef bint may_share(self, Stamp stamp, int64_t length) except -1:
        """Whether a response of this length (-1: unknown) that is current as of `stamp` can be in Redis."""
        return stamp is not None and stamp.is_known() and length <= BODY_MAX

    cdef list under_way(self, Fiber asker):
        """The purges that Redis is being told of (redis_tier.Errand); `asker` is woken as each is done."""
        return [] if self.tier is None else self.tier.under_way(asker)

    cdef forget_named(self, bytes url, Variant variant):
        """What Redis has for this URL and variant is not so any more, whether or not memory has it."""
        if self.tier is not None:
            self.tier.searches.remove(stored_name(url, variant, None))

    # -- what others do (Holder)

    cdef take_found(self, Entry entry, int64_t generation):
        if generation != self.generation_of(entry.url):
            return
        entry.generation = generation
        if self.memory.named(stored_name(entry.url, entry.variant, entry.selecting)) is None:
            self.memory.store(entry)

    cdef drop_named(self, bytes name):
        cdef Entry entry = self.memory.named(name)
        if entry is not None:
            self.memory.drop([entry])

    cdef int64_t drop_url(self, bytes url, bint soft) except -1:
        self.coalescing.void_url(url)
        return self.remove(self.memory.of_url(url) + self.memory.of_tag(SLICES + url), soft)

    cdef int64_t drop_tag(self, bytes tag, bint soft) except -1:
        self.coalescing.void_tag(tag)
        return self.remove(self.memory.of_tag(tag), soft)

    cdef int64_t drop_prefix(self, bytes prefix, bytes suffix, bint soft) except -1:
        self.coalescing.void_prefix(prefix, suffix)
        return self.remove(self.memory.of_prefix(prefix, suffix), soft)

    cdef int64_t drop_all(self) except -1:
        cdef int64_t number
        self.void_all()
        number = self.memory.clear()
        self.reap_soon()
        return number

    cdef void_all(self):
        self.coalescing.void_prefix(b"", b"")

    # -- purging, for all; what fetches under way bring is outdated then as well

    cdef int64_t generation_of(self, bytes url) except? -1:
        """What an entry that is asked for now is to have."""
        return 0 if self.generations is None else self.generations.of(whole_url(url))

    cdef bint is_current(self, Entry entry, bytes url) except -1:
        """Whether no worker has invalidated `url` (of a slice: the whole's) since `entry` was asked for."""
        return self.generations is None or entry.generation == self.generations.of(url)

    cdef drop_outdated(self, bytes url):
        """Drop what other workers have invalidated."""
        cdef Entry entry
        if self.generations is not None:
            for entry in self.memory.of_url(url):
                if not self.is_current(entry, whole_url(url)):
                    self.memory.drop([entry])

    cdef int64_t invalidate(self, bytes url) except -1:
        """RFC 9111 4.4: drop all variants of a URL, in all workers; how many there were here."""
        if self.generations is not None:
            self.generations.bump(url)
        return self.purge_url(url, False)

    cpdef int64_t purge_url(self, bytes url, bint soft) except -1:
        """Drop all variants of a URL, or make them stale (`soft`); how many there were."""
        cdef int64_t number = self.drop_url(url, soft)
        if self.tier is not None:
            self.tier.purge("url", url, b"", soft)
        return number

    cpdef int64_t purge_prefix(self, bytes prefix, bytes suffix, bint soft) except -1:
        """The same for every URL that starts and ends like this. The time taken grows with all that is stored."""
        cdef int64_t number = self.drop_prefix(prefix, suffix, soft)
        if self.tier is not None:
            self.tier.purge("prefix", prefix, suffix, soft)
        return number

    cpdef int64_t purge_tags(self, tags, bint soft) except -1:
        """The same for everything that has one of these tags."""
        return self.purge_indexed([TAG + tag for tag in tags], soft)

    cpdef int64_t purge_group(self, bytes site, bytes group, bint soft) except -1:
        """The same for what is in a group of `site` (RFC 9875)."""
        return self.purge_indexed([group_tag(site, group)], soft)

    cpdef int64_t purge_group_anywhere(self, bytes group, bint soft) except -1:
        """The same for the groups of that name of every site."""
        return self.purge_indexed([group_tag(ANYWHERE, group)], soft)

    cpdef int64_t clear(self) except -1:
        """Drop everything; how many entries there were."""
        cdef int64_t number = self.drop_all()
        if self.tier is not None:
            self.tier.purge("prefix", b"", b"", False)
        return number

    cdef int64_t purge_indexed(self, list tags, bint soft) except -1:
        cdef list entries = []
        for tag in tags:
            self.coalescing.void_tag(tag)
            entries += self.memory.of_tag(tag)
            if self.tier is not None:
                self.tier.purge("tag", tag, b"", soft)
        return self.remove(entries if len(tags) == 1 else list(set(entries)), soft)

    cdef int64_t remove(self, list entries, bint soft) except -1:
        cdef int64_t number
        if soft:
            return self.memory.expire(entries, time(NULL))
        number = self.memory.drop(entries)
        self.reap_soon()
        return number

    cdef reap_soon(self):
        """Give back the memory of many that were dropped, bit by bit."""
        if self.memory.doomed and self.reaping is None:
            self.reaping = asyncio.get_running_loop().call_later(REAP_PAUSE, self.reap)

    def reap(self):
        """A bit of that."""
        self.reaping = None
        self.memory.reap()
        self.reap_soon()


cdef bytes group_tag(bytes site, bytes group):
    """Groups of one origin are not those of another (RFC 9875 2)."""
    return b"%b%b\n%b" % (GROUP, site, group)


cdef bint is_tagged(Fields response, tuple fields) except -1:
    cdef bytes name
    if response.has(F_CACHE_GROUPS):
        return True
    for name in fields:
        if response.contains(name):
            return True
    return False
