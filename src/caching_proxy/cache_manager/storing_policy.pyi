from caching_proxy.cache_manager.rfc9111.rules import Rules
from caching_proxy.cache_manager.rfc9111.storable import Storable
from caching_proxy.cache_manager.rfc9111.terms import NotStorable
from caching_proxy.http.fields import Fields

class StoringPolicy:
    rules: Rules
    def __init__(self, rules: Rules) -> None: ...
    def judge(
        self,
        method: bytes,
        request: Fields,
        status: int,
        response: Fields,
        requested_at: int,
        received_at: int,
    ) -> Storable | NotStorable: ...
