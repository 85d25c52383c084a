class Source: ...

class Budget:
    limit: int
    used: int
    def __init__(self, limit: int) -> None: ...

class Fill:
    size: int
    complete: bool
    error: Exception | None
