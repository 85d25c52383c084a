from caching_proxy.cache_manager.redis_link import Redis

class Holder: ...

class RedisState:
    link: Redis
    prefix: bytes
    live: bool
    def is_up(self) -> bool: ...
