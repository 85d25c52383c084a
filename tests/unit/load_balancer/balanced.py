"""Load balancers for tests, with settings as users give them."""

from __future__ import annotations

from typing import Any

from caching_proxy.load_balancer.load_balancer import LoadBalancer
from caching_proxy.settings import Origin


def settings(**given: Any) -> Origin:
    return Origin(url="http://origin.example", **given)


def balancer(
    number: int = 3, strategy: str = "round-robin", backups: int = 0, limit: int = 0, **given: Any
) -> LoadBalancer:
    """Servers a, b, c ...; the last `backups` of them are that."""
    found = LoadBalancer("default", settings(**given), strategy, seed=1)
    found.set_servers(
        [
            found.server(chr(ord("a") + n), backup=n >= number - backups, limit=limit)
            for n in range(number)
        ]
    )
    return found


def states(found: LoadBalancer) -> dict[str, str]:
    return {server.name: server.state for server in found.servers}


def ask(found: LoadBalancer, status: int | None = 200) -> str | None:
    """One request; None stands for a server that gives no response. Tells who had it."""
    attempt = found.attempt()
    if attempt is None:
        return None
    attempt.fail() if status is None else attempt.hear(status)
    attempt.finish()
    return attempt.server.name


def who(found: LoadBalancer, number: int = 30) -> set[str | None]:
    """Who gets so many requests."""
    return {ask(found) for _ in range(number)}


def fail(found: LoadBalancer, name: str, times: int, status: int | None = None) -> None:
    """Have one server fail so often, all others answer."""
    while times:
        attempt = found.attempt()
        assert attempt is not None
        bad = attempt.server.name == name
        if not bad or status is not None:
            attempt.hear(status if bad and status is not None else 200)
        else:
            attempt.fail()
        attempt.finish()
        times -= bad


def tell(
    found: LoadBalancer, name: str, up: bool | None = None, why: str = "", order: str = ""
) -> None:
    """What health checks or operators say of one server; of the others nothing new."""
    states = {
        server.name: {"up": server.up, "why": "", "order": server.ordered}
        for server in found.servers
    }
    if name in states:
        state = states[name]
        states[name] = {
            "up": state["up"] if up is None else up,
            "why": why,
            "order": order or state["order"],
        }
    found.tell(states)
