from caching_proxy.cache_manager.fill import Reader

class Flight(Reader): ...

class Coalescing:
    pass_time: int
    def __init__(self, pass_time: int) -> None: ...
