from caching_proxy.cache_manager.cache_manager import CacheManager
from caching_proxy.load_balancer.load_balancer import LoadBalancer
from caching_proxy.proxy_server.origin import Origin
from caching_proxy.settings import Route as RouteSettings

class Route:
    name: str
    balancer: LoadBalancer
    def __init__(
        self, settings: RouteSettings, origin: Origin, balancer: LoadBalancer, cache: CacheManager
    ) -> None: ...
