from collections.abc import Sequence

from caching_proxy.proxy_server.route import Route

class Router:
    routes: list[Route]
    def __init__(self, routes: Sequence[Route]) -> None: ...
