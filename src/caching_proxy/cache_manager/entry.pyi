from caching_proxy.cache_manager.cache_key import Variant

class Entry:
    url: bytes
    variant: Variant
    status: int
    head: bytes
    validation: int
    body: bytes
    etag: bytes | None
    last_modified: bytes | None
    must_revalidate: bool
    date: int
    born: int
    fresh_until: int
    def __init__(
        self,
        url: bytes,
        variant: Variant,
        status: int,
        head: bytes,
        validation: int,
        body: bytes,
        etag: bytes | None,
        last_modified: bytes | None,
        must_revalidate: bool,
        date: int,
        born: int,
        fresh_until: int,
    ) -> None: ...
