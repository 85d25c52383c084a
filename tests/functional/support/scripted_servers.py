"""Scripted origins as the servers of one, and a proxy that balances over them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .proxy import ProxyProcess
from .raw_client import RawClient
from .scripted_origin import Exchange, answer
from .stand import StartOrigin, StartProxy
from .waiting import wait_until

CALM = (
    *("--health-check", "off", "--eject-after", "0", "--eject-gap", "0", "--slow-start", "0"),
    *("--circuit-error-rate", "0"),
)
"""Nothing but the strategy and the retries decides where requests go."""
NO_STORE = {"Cache-Control": "no-store"}


class ScriptedServers:
    """A proxy and its servers; each server answers with its letter."""

    def __init__(
        self,
        start_proxy: StartProxy,
        start_origin: StartOrigin,
        *options: str,
        weights: tuple[int, ...] = (1, 1, 1),
        strategy: str = "round-robin",
        more: tuple[str, ...] = (),
        origin: str = "http://127.0.0.1:9",
    ) -> None:
        """`more` stands behind each server."""
        self.servers = [start_origin() for _ in weights]
        named = [
            part
            for server, weight in zip(self.servers, weights, strict=True)
            for part in ("--servers", " ".join((f"127.0.0.1:{server.port}:{weight}", *more)))
        ]
        self.proxy: ProxyProcess = start_proxy(
            *("--load-balance", *named, "--strategy", strategy, *(CALM + options)), origin=origin
        )
        self.on("/", *[named_answer(letter) for letter in self.letters])

    @property
    def letters(self) -> str:
        return "abcdefgh"[: len(self.servers)]

    def on(self, target: str, *scripts: bytes | Callable[[Exchange], None]) -> None:
        """What each server answers to the target."""
        for server, script in zip(self.servers, scripts, strict=True):
            server.on(target, script)

    def ask(self, number: int = 1, target: str = "/", **fields: str) -> str:
        """The letters of who has answered, in order."""
        with self.proxy.client() as client:
            named = {name.replace("_", "-"): value for name, value in fields.items()}
            responses = [client.get(target, named) for _ in range(number)]
        assert all(response.status == 200 for response in responses), responses
        return b"".join(response.body for response in responses).decode()

    def seen(self, target: str = "/") -> list[int]:
        """How many requests each server has had."""
        return [len(server.seen(target)) for server in self.servers]

    def origin(self) -> dict[str, Any]:
        return self.proxy.origins()[0]

    def states(self) -> list[str]:
        return [server["state"] for server in self.origin()["servers"]]

    def order(self, number: int, state: str) -> tuple[int, dict[str, Any]]:
        """Tell the control API what is wanted of a server."""
        asked = {"server": f"127.0.0.1:{self.servers[number].port}", "state": state}
        return post(self.proxy, asked)

    def check_idle(self) -> None:
        """Nothing is counted as under way."""
        wait_until(
            lambda: not any(s["in_flight"] for s in self.origin()["servers"])
            and not self.origin()["waiting"],
            "nothing to be in flight",
        )


def post(proxy: ProxyProcess, asked: Any) -> tuple[int, dict[str, Any]]:
    with RawClient(("127.0.0.1", proxy.admin_port)) as client:
        response = client.request("POST", "/servers", body=json.dumps(asked).encode())
    return response.status, json.loads(response.body)


def named_answer(letter: str) -> bytes:
    return answer("200 OK", NO_STORE, letter.encode())
