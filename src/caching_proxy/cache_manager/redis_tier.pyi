from collections.abc import Callable
from typing import Any

from caching_proxy.cache_manager.redis_address import RedisAddress
from caching_proxy.cache_manager.redis_link import Redis
from caching_proxy.cache_manager.redis_state import Holder, RedisState

class RedisTier(RedisState):
    def __init__(
        self,
        holder: Holder,
        connector: type[Redis],
        address: RedisAddress,
        timeout: float,
        prefix: str,
        room: float,
        figures: Callable[[], dict[str, int]],
        compresses: bool,
    ) -> None: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    async def give_turns_back(self) -> None: ...
    def heed(self, push: list[Any]) -> None: ...

COUNTERS: bytes
PROCESSES: bytes
