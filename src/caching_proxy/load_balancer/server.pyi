from typing import Any

from caching_proxy.load_balancer.circuit_breaker import CircuitBreaker, CircuitRules
from caching_proxy.load_balancer.measures import Latency, Window

class Server:
    def __init__(
        self,
        name: str,
        weight: int = 1,
        backup: bool = False,
        limit: int = 0,
        rules: CircuitRules | None = None,
        session_key: bytes = b"",
    ) -> None: ...
    name: str
    weight: int
    backup: bool
    limit: int
    id: int
    session_id: int
    pool: Any
    authority: bytes
    circuit: CircuitBreaker
    in_flight: int
    requests: int
    errors: int
    window: Window
    latency: Latency
    @property
    def state(self) -> str: ...
    @property
    def up(self) -> bool: ...
    @property
    def ordered(self) -> str: ...
    def report(self, now: float) -> dict[str, Any]: ...
