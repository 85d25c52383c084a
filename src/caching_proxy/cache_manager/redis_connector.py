"""What speaks to which kind of Redis."""

from __future__ import annotations

from caching_proxy.cache_manager.redis_address import RedisAddress
from caching_proxy.cache_manager.redis_cluster import RedisCluster
from caching_proxy.cache_manager.redis_link import Redis, RedisLink
from caching_proxy.cache_manager.redis_sentinel import RedisSentinel


def connector(address: RedisAddress, cluster: bool) -> type[Redis]:
    """The class for the Redis at an address, or for the `cluster` of which that is a node."""
    if address.service is not None:
        return RedisSentinel
    return RedisCluster if cluster else RedisLink
