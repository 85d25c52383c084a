"""What all connections of one process share: settings as C values, the cache, the origin's pool, the counters."""

from libc.stdint cimport int64_t

from caching_proxy.cache_manager.cache_key cimport Variants
from caching_proxy.cache_manager.fill cimport Budget
from caching_proxy.cache_manager.memory_tier cimport MemoryTier
from caching_proxy.http.wire cimport Wire
from caching_proxy.proxy_server.upstream cimport Pool, Receiver

from caching_proxy.cache_manager.rfc9111.freshness import TimeToLive
from caching_proxy.cache_manager.rfc9111.storable import Rules
from caching_proxy.http.forwarding import TrustedNetworks


cdef class Service:
    """The state of one proxy process. Everything runs on one event loop; nothing here needs a lock."""

    def __init__(self, settings, origin, Pool pool not None, int max_connections):
        """`origin` is a proxy_server.origin.Origin; `max_connections` counts clients."""
        self.memory = MemoryTier(settings.memory)
        self.variants = Variants()
        self.bodies = Budget(settings.memory)
        self.rules = Rules(TimeToLive(int(settings.cache_ttl), int(settings.negative_ttl)))
        self.max_object = settings.max_object
        self.stale_if_error = int(settings.stale_if_error)
        self.pool = pool
        self.origin_url = origin.url
        self.base_path = origin.base_path
        self.prefix = self.origin_url + self.base_path
        self.origin_host = None if settings.host_header == "client" else origin.authority
        self.forwarded_host = settings.forwarded_host
        self.host_keyed = settings.forwarded_host or settings.host_header == "client"
        self.normalize = settings.normalize_path
        self.trusted = TrustedNetworks(settings.trusted_proxies)
        self.authorities = frozenset(name.encode() for name in settings.server_name) | {origin.authority}
        self.via = b" %b\r\n" % settings.name.encode()
        self.cache_status = b"Cache-Status: %b" % settings.name.encode()
        self.hit_status = b"\r\n%b; hit; ttl=" % self.cache_status
        self.set_limits(settings, max_connections)
        self.clients = set()
        self.fetches = set()
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
        upstream; and its scheme, which X-Forwarded-Proto tells, where it is not http.
        """
        if self.host_keyed:
            return b"%b%b\n%b\n%b" % (self.origin_url, target, (host or b"").lower(), scheme)
        if scheme != b"http":
            return b"%b%b\n%b" % (self.origin_url, target, scheme)
        return self.origin_url + target

    cdef int64_t invalidate(self, bytes url) except -1:
        """Drop all that is stored for a URL; what fetches under way bring for it is not stored either."""
        for fetch in self.fetches:
            if (<Receiver>fetch).url == url:
                (<Receiver>fetch).void = True
        return self.memory.discard_url(url)

    def set_access_log(self, log):
        """Log every request to `log` (proxy_server.access_log), or none."""
        self.access_log = log

    def stats(self):
        """All counters by name; sizes in bytes."""
        asked = self.hits + self.misses
        return {
            "entries": self.memory.entries,
            "memory_bytes": self.memory.used(),
            "memory_limit": self.memory.limit,
            "evictions": self.memory.evictions,
            "requests": self.requests,
            "hits": self.hits,
            "misses": self.misses,
            "hit_ratio": round(self.hits / asked, 4) if asked else 0.0,
            "refused": self.refused,
            "bytes_sent": self.octets_sent,
            "connections": len(self.clients),
            "connections_limit": self.max_connections,
            "connections_accepted": self.connections_accepted,
            "origin_requests": self.origin_requests,
            "origin_failures": self.origin_failures,
            "origin_connections": len(self.pool.connections),
            "origin_connections_opened": self.pool.opened,
        }

    def clear(self):
        """Drop every stored response; how many there were. What fetches under way bring is not stored either."""
        for fetch in self.fetches:
            (<Receiver>fetch).void = True
        return self.memory.clear()
