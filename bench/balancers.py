"""Who balances: each strategy of ours, and what HAProxy and nginx have that is like it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results import OURS

HAPROXY, NGINX = "HAProxy", "nginx"
PROXIES = (OURS, HAPROXY, NGINX)

# Our strategy -> what is most like it in HAProxy and in nginx (without its subscription); None:
# nothing is. Neither goes by latency, so that least-latency stands beside least connections.
STRATEGIES: dict[str, tuple[str | None, str | None]] = {
    "round-robin": ("roundrobin", "round robin"),
    "weighted-round-robin": ("roundrobin", "round robin"),
    "random": ("random(1)", "random"),
    "weighted-random": ("random(1)", "random"),
    "least-connections": ("leastconn", "least_conn"),
    "power-of-two-choices": ("random(2)", "random two least_conn"),
    "least-latency": ("leastconn", "least_conn"),
    "consistent-hash": ("hash-type consistent", "hash consistent"),
    "sticky-cookie": ("cookie insert", None),
}
WITHOUT_WEIGHTS = ("round-robin", "random")

# Method -> what stands in the configuration.
HAPROXY_LINES = {
    "roundrobin": "balance roundrobin",
    "random(1)": "balance random(1)",
    "leastconn": "balance leastconn",
    "random(2)": "balance random(2)",
    "hash-type consistent": "balance uri\n    hash-type consistent\n    hash-balance-factor 125",
    "cookie insert": "balance roundrobin\n    cookie SERVER insert indirect nocache",
}
NGINX_LINES = {
    "round robin": "",
    "random": "random;",
    "least_conn": "least_conn;",
    "random two least_conn": "random two least_conn;",
    "hash consistent": "hash $request_uri consistent;",
}


@dataclass(frozen=True)
class Balancer:
    """One proxy with one method."""

    proxy: str
    method: str

    @property
    def name(self) -> str:
        return f"{self.proxy} {self.method}"


def balancers(weighted: bool) -> list[Balancer]:
    """All there are; `weighted`: those that heed weights."""
    ours = [name for name in STRATEGIES if not (weighted and name in WITHOUT_WEIGHTS)]
    return [
        *(Balancer(OURS, method) for method in ours),
        *(Balancer(HAPROXY, method) for method in HAPROXY_LINES),
        *(Balancer(NGINX, method) for method in NGINX_LINES),
    ]


def like(strategy: str) -> list[Balancer]:
    """Ours, and the peers that do the same."""
    methods = (strategy, *STRATEGIES[strategy])
    return [
        Balancer(proxy, method)
        for proxy, method in zip(PROXIES, methods, strict=True)
        if method is not None
    ]
