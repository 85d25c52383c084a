from collections.abc import Callable, Iterable
from typing import Any

from caching_proxy.cache_manager.redis_address import RedisAddress
from caching_proxy.cache_manager.redis_link import Redis, Word

class RedisCluster(Redis):
    def __init__(
        self,
        address: RedisAddress,
        timeout: float,
        pushed: Callable[[list[Any]], None] | None = None,
        changed: Callable[[Redis], None] | None = None,
        greeting: Iterable[tuple[Word, ...]] = (),
    ) -> None: ...
    def open(self) -> None: ...
    def close(self) -> None: ...

def slot_of(key: bytes) -> int: ...
