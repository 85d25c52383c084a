from collections.abc import Coroutine
from typing import Any

from caching_proxy.proxy_server.exchange import Exchange

def answer_slices(x: Exchange) -> Coroutine[Any, Any, bool]: ...
