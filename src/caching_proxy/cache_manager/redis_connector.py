"""What speaks to which kind of Redis."""

from __future__ import annotations

import functools
from collections.abc import Callable

from caching_proxy.cache_manager.redis_address import RedisAddress
from caching_proxy.cache_manager.redis_cluster import RedisCluster
from caching_proxy.cache_manager.redis_link import Redis, RedisLink
from caching_proxy.cache_manager.redis_sentinel import RedisSentinel


def connector(
    address: RedisAddress, cluster: bool, replica_reads: bool = False
) -> Callable[..., Redis]:
    """What makes a Redis of an address, or of the `cluster` of which that is a node."""
    found: type[Redis] = RedisCluster if cluster else RedisLink
    if address.service is not None:
        found = RedisSentinel
    return functools.partial(found, replica_reads=replica_reads)
