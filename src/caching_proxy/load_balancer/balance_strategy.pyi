from caching_proxy.load_balancer.randomness import Random

class BalanceStrategy:
    clock: float
    def __init__(self, random: Random | None = None) -> None: ...
