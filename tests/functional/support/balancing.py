"""Backends with a proxy that balances between them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .backend_process import Behaviour
from .backends import Backend, backends
from .proxy import ProxyProcess
from .raw_client import RawClient
from .waiting import wait_until

NAMED = "http://origin.example"
DELAY = 0.01  # seconds that a backend in order takes
WELL = Behaviour(DELAY)
OUT = ("down", "ejected", "circuit open", "drain", "disabled")
QUICK = (
    *("--health-interval", "200ms", "--health-fast-interval", "100ms", "--health-timeout", "500ms"),
    *("--eject-time", "500ms", "--circuit-open-time", "300ms", "--slow-start", "0s"),
    *("--retry-floor", "1000"),  # what one test retries must not be wanting in the next
    *("--connect-timeout", "1s", "--origin-head-timeout", "1s", "--origin-body-timeout", "1s"),
)


class Balanced:
    """The proxy and who is behind it."""

    def __init__(self, proxy: ProxyProcess, servers: Sequence[Backend]) -> None:
        self.proxy = proxy
        self.servers = list(servers)

    def origin(self) -> dict[str, Any]:
        """What the control API tells of the origin."""
        with RawClient(("127.0.0.1", self.proxy.admin_port)) as client:
            response = client.get("/servers")
        assert response.status == 200, response
        (origin,) = json.loads(response.body)["origins"]
        assert isinstance(origin, dict)
        return origin

    def server(self, backend: Backend) -> dict[str, Any]:
        """... and of a server."""
        servers = {server["server"]: server for server in self.origin()["servers"]}
        found: dict[str, Any] = servers[backend.name]
        return found

    def wait_state(self, backend: Backend, *states: str) -> None:
        wait_until(
            lambda: self.server(backend)["state"] in states,
            f"{backend.name} to be {' or '.join(states)}",
        )

    def order(self, backend: Backend, state: str) -> None:
        """What an operator does."""
        body = json.dumps({"server": backend.name, "state": state}).encode()
        with RawClient(("127.0.0.1", self.proxy.admin_port)) as client:
            response = client.request("POST", "/servers", {}, body)
        assert response.status == 200, response

    def wait_idle(self) -> None:
        """Nothing is counted that is over."""

        def idle() -> bool:
            origin = self.origin()
            counted = [origin["waiting"], *(each["in_flight"] for each in origin["servers"])]
            return not any(counted)

        wait_until(idle, "no request to be in flight")


@contextmanager
def balanced(
    *options: str, number: int = 3, each: str = "1", quick: bool = True
) -> Iterator[Balanced]:
    """So many backends; when it ends nothing may be in flight. Not `quick`: by the defaults."""
    with backends(["127.0.0.1"] * number) as servers:
        for server in servers:
            server.behave(WELL)
        named = [f"--servers={server.name}:{each}" for server in servers]
        times = QUICK if quick else ()
        proxy = ProxyProcess(NAMED, "--load-balance", *named, *times, *options)
        try:
            stand = Balanced(proxy, servers)
            yield stand
            stand.wait_idle()
        finally:
            proxy.stop()
