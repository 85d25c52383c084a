"""What all connections of one process share: settings as C values, the cache, the origin's pool, the counters."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_manager cimport CacheManager
from caching_proxy.http.wire cimport Wire
from caching_proxy.proxy_server.upstream cimport Pool

from caching_proxy.http.forwarding import TrustedNetworks
from caching_proxy.http.target import normalise_target, split_absolute

cdef tuple SCHEMES = (b"http", b"https")


cdef class Service:
    """The state of one proxy process. Everything runs on one event loop; nothing here needs a lock."""

    def __init__(self, settings, origin, Pool pool not None, int max_connections):
        """`origin` is a proxy_server.origin.Origin; `max_connections` counts clients."""
        self.cache = CacheManager(settings)
        self.cached_methods = self.cache.rules.methods
        self.obeys_clients = settings.client_cache_control == "honour"
        self.max_ranges = settings.max_ranges
        self.slice_size = settings.slice
        self.stripped = frozenset(self.cache.tag_fields) if settings.strip_tags else frozenset()
        self.purgers = TrustedNetworks(settings.purge_from)
        self.pool = pool
        self.origin_url = origin.url
        self.base_path = origin.base_path
        self.prefix = self.origin_url + self.base_path
        self.origin_host = None if settings.host_header == "client" else origin.authority
        self.forwarded_host = settings.forwarded_host
        self.host_keyed = settings.forwarded_host or settings.host_header == "client"
        self.normalize = settings.normalize_path
        self.plain_keys = not (self.host_keyed or self.normalize or self.cache.key_rules.enabled)
        self.keyed_names = frozenset(
            [name.lower().encode() for name in settings.key_header] + [b"cookie"] * bool(settings.key_cookie)
            + [b"user-agent", b"sec-ch-ua-mobile"] * settings.key_device + [b"host"] * self.host_keyed)
        self.sent_names = frozenset(
            [name.lower().encode() for name in settings.key_header + settings.forward_header])
        self.max_keyed_body = settings.max_keyed_body
        self.trusted = TrustedNetworks(settings.trusted_proxies)
        self.authorities = frozenset(name.encode() for name in settings.server_name) | {origin.authority}
        self.via = b" %b\r\n" % settings.name.encode()
        self.cache_status = b"Cache-Status: %b" % settings.name.encode()
        self.hit_status = b"\r\n%b; hit; ttl=" % self.cache_status
        self.set_limits(settings, max_connections)
        self.clients = set()
        self.per_client = {}
        self.wire = Wire()

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

    cdef bytes url(self, bytes target, bytes host, bytes scheme):
        """What the key says of the URL.

        The target as it goes upstream (base path included) at the origin; the client's authority where that goes
        upstream; and its scheme, which X-Forwarded-Proto tells, where it is not http. A query is in the form that the
        path's No-Vary-Search gives it.
        """
        if self.cache.searches and b"?" in target:
            path, _, query = target.partition(b"?")
            query = self.cache.same_for(self.located_url(path, host, scheme), query)
            target = b"%b?%b" % (path, query) if query else path
        return self.located_url(target, host, scheme)

    cdef set urls(self, bytes target, bytes host, bytes scheme):
        """Every form in which the URL may stand in keys: what came before its path had a No-Vary-Search too."""
        return {self.url(target, host, scheme), self.located_url(target, host, scheme)}

    cdef bytes located_url(self, bytes target, bytes host, bytes scheme):
        if self.host_keyed:
            return b"%b%b\n%b\n%b" % (self.origin_url, target, (host or b"").lower(), scheme)
        if scheme != b"http":
            return b"%b%b\n%b" % (self.origin_url, target, scheme)
        return self.origin_url + target

    cdef bytes site(self, bytes host, bytes scheme):
        """The origin that a URL is of, as its key says it."""
        return self.located_url(b"", host, scheme)

    cdef bytes learn_search(self, bytes target, bytes host, bytes scheme, bytes value):
        """Remember the No-Vary-Search (or None) of a response to `target`; what its URL is in keys now."""
        if value is not None or self.cache.searches:
            self.cache.learn_search(self.located_url(target.partition(b"?")[0], host, scheme), value)
        return self.url(target, host, scheme)

    cdef int64_t purge_target(self, bytes target, bytes host, bint soft) except -1:
        """Purge all that is stored for a target, base path included; without a host, for every host."""
        cdef int64_t number = 0
        if self.host_keyed and host is None:
            number = self.cache.purge_prefix(b"%b%b\n" % (self.origin_url, target), b"", soft)
        else:
            for scheme in SCHEMES:
                for url in self.urls(target, host, scheme):
                    number += self.cache.purge_url(url, soft)
        self.purged += number
        return number

    cdef int64_t purge_tags(self, tags, bint soft) except -1:
        cdef int64_t number = self.cache.purge_tags(tags, soft)
        self.purged += number
        return number

    def set_access_log(self, log):
        """Log every request to `log` (proxy_server.access_log), or none."""
        self.access_log = log

    def stats(self):
        """All counters by name; sizes in bytes."""
        asked = self.hits + self.misses
        return {
            "entries": self.cache.memory.entries,
            "memory_bytes": self.cache.memory.used(),
            "memory_limit": self.cache.memory.limit,
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
            "origin_requests": self.origin_requests,
            "origin_failures": self.origin_failures,
            "origin_connections": len(self.pool.connections),
            "origin_connections_opened": self.pool.opened,
        }

    def clear(self):
        """Drop every stored response; how many there were. What fetches under way bring is not stored either."""
        return self.cache.clear()

    def purge(self, *, url=None, prefix=None, tags=(), group=None, soft=False):
        """Drop, or make stale (`soft`), what one of these names; how many stored responses it was.

        `url` and `prefix` are a target as clients send it, or an absolute URL, whose authority counts where the
        client's is in the key. What fetches under way bring of it is not stored.
        """
        cdef int64_t number = 0
        if tags:
            return self.purge_tags([tag.encode() for tag in tags], soft)
        if url is not None:
            host, target = self.located(url.encode())
            return self.purge_target(target, host, soft)
        if group is not None:
            number = self.cache.purge_group_anywhere(group.encode(), soft)
        else:
            host, target = self.located(prefix.encode())
            if host is None or not self.host_keyed:
                number = self.cache.purge_prefix(self.origin_url + target, b"", soft)
            else:
                for scheme in SCHEMES:
                    number += self.cache.purge_prefix(
                        self.origin_url + target, b"\n%b\n%b" % (host.lower(), scheme), soft)
        self.purged += number
        return number

    cdef tuple located(self, bytes url):
        """Authority (None where it is not told) and target upstream of a URL or target."""
        absolute = split_absolute(url)
        host, target = (None, url) if absolute is None else absolute[1:]
        return host, self.base_path + self.canonical(target)

    cdef bytes canonical(self, bytes target):
        """A target of a client in the form in which it is keyed and goes upstream, but for the base path."""
        if self.normalize:
            target = normalise_target(target)
        return self.cache.key_rules.target(target)
