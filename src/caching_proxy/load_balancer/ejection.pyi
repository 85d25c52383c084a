from typing import Any

from caching_proxy.load_balancer.server import Server

class Ejection:
    def __init__(self, settings: Any) -> None: ...

def share_of_errors(server: Server) -> float: ...
