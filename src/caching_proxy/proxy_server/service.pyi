from collections.abc import Iterable, Sequence
from typing import Any

from caching_proxy.cache_manager.cache_manager import CacheManager
from caching_proxy.cache_manager.redis_address import RedisAddress
from caching_proxy.load_balancer.load_balancer import LoadBalancer
from caching_proxy.proxy_server.access_log import AccessLog
from caching_proxy.proxy_server.origin import Origin
from caching_proxy.proxy_server.route import Route
from caching_proxy.proxy_server.routing import Router
from caching_proxy.proxy_server.upstream import Allowance, Pool
from caching_proxy.settings import Route as RouteSettings
from caching_proxy.settings import Settings

class Service:
    cache: CacheManager
    router: Router
    pools: set[Pool]
    balancers: set[LoadBalancer]
    relay: Any
    allowance: Allowance
    unheard: list[Any]
    def __init__(self, settings: Settings) -> None: ...
    def make_route(
        self, settings: RouteSettings, origin: Origin, balancer: LoadBalancer
    ) -> Route: ...
    def keep_pool(self, pool: Pool) -> None: ...
    def take_over(
        self,
        settings: Settings,
        router: Router,
        authorities: Iterable[bytes],
        max_connections: int,
        max_upstream: int,
    ) -> None: ...
    def share(self, address: RedisAddress | None, settings: Settings | None) -> None: ...
    def reach(self) -> dict[str, int]: ...
    async def settled(self) -> None: ...
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
        site: str | None = None,
        soft: bool = False,
    ) -> int: ...
