from caching_proxy.cache_manager.cache_key import Variant
from caching_proxy.cache_manager.entry import Entry
from caching_proxy.cache_manager.purge_log import Stamp

class Decoded:
    entry: Entry
    generations: tuple[int, ...] | None
    stamp: Stamp
    nonce: int
    chunks: int
    compressed: bool

def encode(
    entry: Entry,
    stamp: Stamp,
    generations: tuple[int, ...] | None = None,
    compressed: bytes | None = None,
    chunks: int = 0,
    nonce: int = 0,
) -> bytes | None: ...
def is_other_version(data: bytes) -> bool: ...
def decode(data: bytes, url: bytes, variant: Variant, key: bytes) -> Decoded | None: ...
def encode_names(selecting: tuple[tuple[bytes, bytes | None], ...]) -> bytes: ...
def vary_names(data: bytes) -> tuple[bytes, ...] | None: ...
