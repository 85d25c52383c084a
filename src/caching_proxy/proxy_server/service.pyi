from caching_proxy.cache_manager.memory_tier import MemoryTier
from caching_proxy.proxy_server.access_log import AccessLog
from caching_proxy.proxy_server.origin import Origin
from caching_proxy.proxy_server.upstream import Pool
from caching_proxy.settings import Settings

class Service:
    memory: MemoryTier
    pool: Pool
    def __init__(
        self, settings: Settings, origin: Origin, pool: Pool, max_connections: int
    ) -> None: ...
    def set_access_log(self, log: AccessLog | None) -> None: ...
    def stats(self) -> dict[str, int | float]: ...
    def clear(self) -> int: ...
