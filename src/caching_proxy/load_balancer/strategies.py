"""The strategies by the names that settings have."""

from __future__ import annotations

from caching_proxy.load_balancer.balance_strategy import BalanceStrategy
from caching_proxy.load_balancer.consistent_hash import ConsistentHash
from caching_proxy.load_balancer.least_connections import LeastConnections
from caching_proxy.load_balancer.random_choice import (
    LeastLatency,
    PowerOfTwoChoices,
    RandomChoice,
)
from caching_proxy.load_balancer.round_robin import RoundRobin, StickyCookie

STRATEGIES: dict[str, type[BalanceStrategy]] = {
    "round-robin": RoundRobin,
    "weighted-round-robin": RoundRobin,
    "random": RandomChoice,
    "weighted-random": RandomChoice,
    "least-connections": LeastConnections,
    "power-of-two-choices": PowerOfTwoChoices,
    "least-latency": LeastLatency,
    "consistent-hash": ConsistentHash,
    "sticky-cookie": StickyCookie,
}

# With these all servers have the same share, whatever their weights.
WITHOUT_WEIGHTS = frozenset({"round-robin", "random"})
