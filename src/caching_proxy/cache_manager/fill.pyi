from caching_proxy.fiber import Fiber

class Source: ...

class Budget:
    limit: int
    used: int
    def __init__(self, limit: int) -> None: ...

class Reader(Fiber): ...

class Fill:
    size: int
    complete: bool
    error: Exception | None
