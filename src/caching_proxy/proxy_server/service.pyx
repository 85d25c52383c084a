"""What all connections of one process share: settings as C values, the cache, the origin's pool, the counters."""

import asyncio

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_manager cimport CacheManager
from caching_proxy.cache_manager.redis_tier cimport RedisTier, all_done
from caching_proxy.http.wire cimport Wire
from caching_proxy.load_balancer.load_balancer cimport LoadBalancer
from caching_proxy.proxy_server.route cimport Route
from caching_proxy.proxy_server.routing cimport Router
from caching_proxy.proxy_server.upstream cimport Pool

from caching_proxy.cache_manager.redis_connector import connector
from caching_proxy.http.forwarding import TrustedNetworks
from caching_proxy.http.target import split_absolute

cdef tuple SCHEMES = (b"http", b"https")


cdef class Service:
    """The state of one proxy process. Everything runs on one event loop; nothing here needs a lock."""

    def __init__(self, settings):
        self.cache = CacheManager(settings)
        self.clients = set()
        self.per_client = {}
        self.pools = set()
        self.allowance = Allowance(self.pools)
        self.balancers = set()
        self.unheard = []
        self.wire = Wire()
        self.hit_wire = Wire()
        self.router = Router(())

    def make_route(self, settings, origin, LoadBalancer balancer not None):
        """A route by settings.Route to a proxy_server.origin.Origin; it takes requests once it is taken over."""
        return Route(settings, origin, balancer, self.cache)

    def keep_pool(self, Pool pool not None):
        """Look after these connections until they are let go."""
        self.pools.add(pool)

    def take_over(self, settings, Router router not None, authorities, int max_connections, int max_upstream):
        """Go by these from now on; exchanges under way end by what they began with.

        `settings` are those of settings.Settings; `authorities` (bytes, lower case) are names of ours besides those of
        the routes; `max_connections` counts clients, `max_upstream` connections to servers.
        """
        self.allowance.limit = max_upstream
        self.set_limits(settings, max_connections)
        self.trusted = TrustedNetworks(settings.trusted_proxies)
        self.authorities = frozenset(authorities)
        self.via = b" %b\r\n" % settings.name.encode()
        self.cache_status = b"Cache-Status: %b" % settings.name.encode()
        self.hit_status = b"\r\n%b; hit; ttl=" % self.cache_status
        self.cache.resize(settings)
        self.router = router
        self.balancers |= {route.balancer for route in router.routes}
        self.cache.keep_variants({route.variants for route in router.routes})

    def share(self, address, settings):
        """Keep what is stored in the Redis at `address` (RedisAddress) as well; None: in memory alone."""
        cdef RedisTier tier = None
        if self.cache.tier is not None:
            self.cache.tier.close()
            self.unheard = self.cache.tier.pending
        if address is not None:
            connect = connector(address, settings.use_cluster, settings.redis_replica_reads)
            tier = RedisTier(self.cache, connect, address, settings.redis_timeout, settings.redis_prefix,
                             settings.stale_if_error, self.figures, settings.redis_compress == "zstd")
        self.cache.share(tier)
        if tier is not None:
            tier.pending.extend(self.unheard)           # what the last one could not tell Redis
            self.unheard = []
            tier.open()

    def set_limits(self, settings, int max_connections):
        """Take over the limits on clients."""
        self.max_head = settings.max_head
        self.max_target = settings.max_target
        self.max_fields = settings.max_fields
        self.max_body = -1 if settings.max_body is None else settings.max_body
        self.max_connections = max_connections
        self.max_per_client = settings.max_connections_per_client
        self.head_timeout = settings.head_timeout
        self.body_timeout = settings.body_timeout
        self.send_timeout = settings.send_timeout
        self.keepalive_timeout = settings.keepalive_timeout
        self.min_rate = settings.min_rate

    cdef bint is_ours(self, bytes authority) except -1:
        """Whether a target in absolute form with this authority is for us to answer."""
        cdef Route route
        if authority.lower() in self.authorities:
            return True
        for route in self.router.routes:
            if route.hosts is not None and route.takes_host(authority):
                return True
        return False

    cdef int64_t purge_target(self, bytes target, bytes host, bint soft) except -1:
        """Purge all that is stored for a target of clients; without a host, for every host."""
        cdef int64_t number = 0
        cdef Route route
        cdef set urls = set()
        for route in self.router.candidates(host, target):
            upstream = route.upstream_target(target)
            if route.host_keyed and host is None:
                number += self.cache.purge_prefix(b"%b%b\n" % (route.origin_url, upstream), b"", soft)
            else:
                for scheme in SCHEMES:
                    urls |= route.urls(upstream, host, scheme)
        for url in urls:
            number += self.cache.purge_url(url, soft)
        self.purged += number
        return number

    cdef int64_t purge_prefix(self, bytes prefix, bytes host, bint soft) except -1:
        """The same for every target that begins so."""
        cdef int64_t number = 0
        cdef Route route
        cdef set wanted = set()
        for route in self.router.routes:
            upstream = route.upstream_prefix(prefix) if route.takes_host(host) else None
            if upstream is None:
                continue
            if host is None or not route.host_keyed:
                wanted.add((route.origin_url + upstream, b""))
            else:
                wanted |= {(route.origin_url + upstream, b"\n%b\n%b" % (host.lower(), scheme)) for scheme in SCHEMES}
        for beginning, end in wanted:
            number += self.cache.purge_prefix(beginning, end, soft)
        self.purged += number
        return number

    cdef int64_t purge_tags(self, tags, bint soft) except -1:
        cdef int64_t number = self.cache.purge_tags(tags, soft)
        self.purged += number
        return number

    cdef int64_t purge_group(self, bytes site, bytes group, bint soft) except -1:
        """Purge what is in a group of this site (RFC 9875); without a site, of every site."""
        cdef int64_t number
        if site is None:
            number = self.cache.purge_group_anywhere(group, soft)
        else:
            number = self.cache.purge_group(site, group, soft)
        self.purged += number
        return number

    cdef sweep_upstreams(self, double now):
        """See to the deadlines of connections to servers, and of those that wait for a server."""
        cdef LoadBalancer balancer
        for balancer in list(self.balancers):           # before the pools: what these cut may be tried again by then
            balancer.sweep(now)
            if balancer in self.router.balancers:
                continue
            if balancer.is_idle():
                self.balancers.discard(balancer)
            else:                                       # what is under way may need them yet
                self.pools.update([server.pool for server in balancer.servers])
        for pool in self.pools:
            (<Pool>pool).sweep(now)
        self.forget_pools()

    cdef forget_pools(self):
        """Let go of pools that are done."""
        cdef Pool pool
        for pool in list(self.pools):
            if pool.is_done():
                self.origin_connections_opened += pool.opened
                pool.opened = 0
                self.pools.discard(pool)

    def set_access_log(self, log):
        """Log every request to `log` (proxy_server.access_log), or none."""
        self.access_log = log

    def stats(self):
        """All counters by name; sizes in bytes."""
        cdef Pool pool
        asked = self.hits + self.misses
        cdef RedisTier tier = self.cache.tier
        return {
            "entries": self.cache.memory.entries,
            "memory_bytes": self.cache.memory.used(),
            "memory_limit": self.cache.memory.limit,
            "memory_in_transit": self.cache.bodies.used,
            "evictions": self.cache.memory.evictions,
            "requests": self.requests,
            "hits": self.hits,
            "misses": self.misses,
            "hit_ratio": round(self.hits / asked, 4) if asked else 0.0,
            "refused": self.refused,
            "bytes_sent": self.octets_sent,
            "connections": len(self.clients),
            "connections_limit": self.max_connections,
            "connections_accepted": self.connections_accepted,
            "collapsed": self.collapsed,
            "revalidated": self.revalidated,
            "stale": self.stale,
            "purged": self.purged,
            "redis_connected": int(tier is not None and tier.is_up()),
            "redis_processes": 0 if tier is None else tier.processes,
            "redis_hits": 0 if tier is None else tier.searches.hits,
            "redis_misses": 0 if tier is None else tier.searches.misses,
            "redis_stored": 0 if tier is None else tier.deposits.stored,
            "redis_skipped": 0 if tier is None else tier.deposits.skipped,
            "redis_waits": 0 if tier is None else tier.leases.waits,
            "redis_spared": self.spared,
            "redis_timeouts": 0 if tier is None else tier.link.timeouts,
            "redis_purges_pending": 0 if tier is None else len(tier.pending),
            "origin_requests": self.origin_requests,
            "origin_failures": self.origin_failures,
            "origin_connections_limit": self.allowance.limit,
            "origin_connections": sum([len(pool.connections) for pool in self.pools]),
            "origin_connections_opened": self.origin_connections_opened + sum([pool.opened for pool in self.pools]),
        }

    def figures(self):
        """The counters that are gathered in Redis."""
        return {"requests": self.requests, "hits": self.hits, "misses": self.misses,
                "origin_requests": self.origin_requests}

    def reach(self):
        """Whom purges reach, as a Receipt has it."""
        cdef RedisTier tier = self.cache.tier
        if tier is None or not tier.was_live:
            return {}
        return {"pending": len(tier.pending)} if tier.pending else {"processes": tier.processes}

    async def settled(self):
        """Wait until Redis has heard of all purges so far, or cannot."""
        cdef Waiter waiter = Waiter()
        cdef list purges = self.cache.under_way(waiter)
        while not all_done(purges):
            waiter.future = asyncio.get_running_loop().create_future()
            await waiter.future

    def clear(self):
        """Drop every stored response; how many there were. What fetches under way bring is not stored either."""
        return self.cache.clear()

    def purge(self, *, url=None, prefix=None, tags=(), group=None, site=None, soft=False):
        """Drop, or make stale (`soft`), what one of these names; how many stored responses it was.

        `url` and `prefix` are a target as clients send it, or an absolute URL, whose authority counts where the
        client's is in the key; a `group` without a `site` is that of every site. What fetches under way bring of it is
        not stored.
        """
        if tags:
            return self.purge_tags([tag.encode("latin-1") for tag in tags], soft)
        if url is not None:
            host, target = located(url.encode("latin-1"))
            return self.purge_target(target, host, soft)
        if prefix is not None:
            host, target = located(prefix.encode("latin-1"))
            return self.purge_prefix(target, host, soft)
        of_site = None if site is None else site.encode("latin-1")
        return self.purge_group(of_site, group.encode("latin-1"), soft)


cdef class Waiter(Fiber):
    """Lets a task wait where otherwise fibers do."""

    cdef wake(self):
        if self.future is not None and not self.future.done():
            self.future.set_result(None)


cdef tuple located(bytes url):
    """Authority (None where it is not told) and target of a URL or target."""
    absolute = split_absolute(url)
    return (None, url) if absolute is None else absolute[1:]
