from caching_proxy.cache_manager.standing import Standing

class Stamp:
    number: int
    sequence: int
    tag_sequence: int
    def __init__(self, number: int = 0, sequence: int = 0, tag_sequence: int = 0) -> None: ...

class Purge:
    sequence: int
    soft: bool
    tag: bytes | None
    prefix: bytes
    suffix: bytes

class PurgeLog:
    purges: list[Purge]
    first: int
    last: int
    def take(self, lines: list[bytes]) -> list[Purge] | None: ...
    def verdict(self, sequence: int, url: bytes, tags: tuple[bytes, ...] | None) -> Standing: ...

def purge_line(soft: bool, tag: bytes | None, prefix: bytes, suffix: bytes) -> bytes: ...
def log_command(key: bytes, line: bytes) -> tuple[bytes | int, ...]: ...

PREFIX_LOG: bytes
TAG_LOG: bytes
