from caching_proxy.cache_manager.cache_key import Variant
from caching_proxy.cache_manager.rfc9111.storable import Storable
from caching_proxy.cache_manager.rfc9111.vary import Selecting

class Entry:
    url: bytes
    variant: Variant
    selecting: Selecting | None
    status: int
    head: bytes
    validation: int
    body: bytes | None
    parts: tuple[tuple[int, bytes], ...] | None
    length: int
    etag: bytes | None
    last_modified: bytes | None
    tags: tuple[bytes, ...] | None
    date: int
    born: int
    fresh_until: int
    stale_while_revalidate: int
    stale_if_error: int
    must_revalidate: bool
    no_cache: bool
    def __init__(
        self,
        url: bytes,
        variant: Variant,
        selecting: Selecting | None,
        status: int,
        head: bytes,
        validation: int,
        body: bytes | None,
        parts: tuple[tuple[int, bytes], ...] | None,
        length: int,
        etag: bytes | None,
        last_modified: bytes | None,
        storable: Storable,
        received_at: int,
        tags: tuple[bytes, ...] | None,
    ) -> None: ...
