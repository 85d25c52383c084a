from typing import Any

from caching_proxy.proxy_server.upstream import Receiver

class Continuation(Receiver): ...

async def resume(fetch: Any) -> bool: ...
