from collections.abc import Sequence

from caching_proxy.cache_manager.cache_manager import CacheManager
from caching_proxy.proxy_server.access_log import AccessLog
from caching_proxy.proxy_server.origin import Origin
from caching_proxy.proxy_server.upstream import Pool
from caching_proxy.settings import Settings

class Service:
    cache: CacheManager
    pool: Pool
    def __init__(
        self, settings: Settings, origin: Origin, pool: Pool, max_connections: int
    ) -> None: ...
    def set_access_log(self, log: AccessLog | None) -> None: ...
    def stats(self) -> dict[str, int | float]: ...
    def clear(self) -> int: ...
    def purge(
        self,
        *,
        url: str | None = None,
        prefix: str | None = None,
        tags: Sequence[str] = (),
        group: str | None = None,
        soft: bool = False,
    ) -> int: ...
