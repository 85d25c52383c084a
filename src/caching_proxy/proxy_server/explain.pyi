from typing import Any

from caching_proxy.proxy_server.service import Service

def explain(service: Service, head: bytes, content: bytes) -> dict[str, Any]: ...
