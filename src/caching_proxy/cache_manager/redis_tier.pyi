from collections.abc import Callable
from typing import Any

from caching_proxy.cache_manager.redis_address import RedisAddress
from caching_proxy.cache_manager.redis_link import Redis

class Holder: ...

class RedisTier:
    link: Redis
    live: bool
    hits: int
    misses: int
    stored: int
    skipped: int
    def __init__(
        self,
        holder: Holder,
        connector: type[Redis],
        address: RedisAddress,
        timeout: float,
        prefix: str,
        room: float,
        figures: Callable[[], dict[str, int]],
    ) -> None: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def heed(self, push: list[Any]) -> None: ...

PREFIX_LOG: bytes
TAG_LOG: bytes
COUNTERS: bytes
PROCESSES: bytes

def log_command(key: bytes, line: bytes) -> tuple[bytes | int, ...]: ...
