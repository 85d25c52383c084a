from collections.abc import Iterable

from caching_proxy.cache_manager.cache_key import Variants
from caching_proxy.cache_manager.coalescing import Coalescing
from caching_proxy.cache_manager.fill import Budget
from caching_proxy.cache_manager.memory_tier import MemoryTier
from caching_proxy.cache_manager.rfc9111.storable import Rules
from caching_proxy.settings import Settings

class CacheManager:
    memory: MemoryTier
    variants: Variants
    coalescing: Coalescing
    bodies: Budget
    rules: Rules
    max_object: int
    stale_if_error: int
    tag_fields: tuple[bytes, ...]
    def __init__(self, settings: Settings) -> None: ...
    def purge_url(self, url: bytes, soft: bool) -> int: ...
    def purge_prefix(self, prefix: bytes, suffix: bytes, soft: bool) -> int: ...
    def purge_tags(self, tags: Iterable[bytes], soft: bool) -> int: ...
    def purge_group(self, site: bytes, group: bytes, soft: bool) -> int: ...
    def purge_group_anywhere(self, group: bytes, soft: bool) -> int: ...
    def clear(self) -> int: ...
