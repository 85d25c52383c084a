from caching_proxy.cache_manager.cache_key import Variant
from caching_proxy.cache_manager.entry import Entry

class Decoded:
    entry: Entry
    generations: tuple[int, ...] | None
    chunks: int
    compressed: bool

def encode(
    entry: Entry,
    generations: tuple[int, ...] | None = None,
    compressed: bytes | None = None,
    chunks: int = 0,
) -> bytes | None: ...
def decode(data: bytes, url: bytes, variant: Variant, key: bytes) -> Decoded | None: ...
