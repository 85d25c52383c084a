from typing import Any

class CircuitRules:
    def __init__(self, settings: Any, alone: bool = False) -> None: ...

class CircuitBreaker:
    def __init__(self, rules: CircuitRules) -> None: ...
    opened: int
    @property
    def name(self) -> str: ...
