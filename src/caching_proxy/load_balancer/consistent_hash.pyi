from caching_proxy.load_balancer.balance_strategy import BalanceStrategy
from caching_proxy.load_balancer.randomness import Random

class ConsistentHash(BalanceStrategy):
    def __init__(self, random: Random | None = None, factor: float = 1.25) -> None: ...
