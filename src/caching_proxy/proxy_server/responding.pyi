from collections.abc import Coroutine
from typing import Any

from caching_proxy.cache_manager.entry import Entry
from caching_proxy.proxy_server.exchange import Exchange

def send_pieces(x: Exchange) -> Coroutine[Any, Any, None]: ...
def send_octets(x: Exchange, entry: Entry, at: int, end: int) -> Coroutine[Any, Any, None]: ...
