from caching_proxy.cache_manager.cache_manager import CacheManager
from caching_proxy.proxy_server.origin import Origin
from caching_proxy.proxy_server.upstream import Pool
from caching_proxy.settings import Route as RouteSettings

class Route:
    name: str
    pool: Pool
    def __init__(
        self, settings: RouteSettings, origin: Origin, pool: Pool, cache: CacheManager
    ) -> None: ...
