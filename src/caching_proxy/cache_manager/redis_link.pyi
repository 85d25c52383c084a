from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from caching_proxy.cache_manager.redis_address import RedisAddress

Word = bytes | str | int

class RedisDown(Exception): ...

class Call:
    reply: Any
    error: Exception | None
    over: bool

class Redis:
    address: RedisAddress
    state: str
    why: str
    calls: int
    timeouts: int
    connections: int
    def __init__(
        self,
        address: RedisAddress,
        timeout: float,
        pushed: Callable[[list[Any]], None] | None = None,
        changed: Callable[[Redis], None] | None = None,
        greeting: Iterable[tuple[Word, ...]] = (),
        *,
        replica_reads: bool = False,
    ) -> None: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def call(
        self, words: tuple[Word, ...], callback: Callable[[Call], None] | None = None
    ) -> Call: ...
    def nodes_now(self) -> list[Redis]: ...
    def is_whole(self) -> bool: ...
    def ask(self, *words: Word) -> Awaitable[Any]: ...

class RedisLink(Redis): ...
