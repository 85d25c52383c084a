"""What a data plane answers that goes by no configuration yet: a worker that is being started."""

from __future__ import annotations

from typing import Any

import pytest

from caching_proxy.configuration import configure
from caching_proxy.proxy_server.proxy_server import ProxyServer

SELECTIONS: list[dict[str, Any]] = [
    {"url": "/any"},
    {"url": "http://any.example/any", "soft": True},
    {"prefix": "/any"},
    {"tags": ["any"]},
    {"group": "any", "site": "any.example"},
]


def prepared() -> ProxyServer:
    server = ProxyServer()
    given = {"origin": "http://127.0.0.1:9", "port": 0, "store": "memory"}
    server.discard(server.prepare(configure(given, {})))
    return server


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
async def test_a_purge_finds_nothing(selection: dict[str, Any]) -> None:
    assert (await prepared().purge(**selection)).number == 0


async def test_nothing_is_there_to_be_cleared_or_told() -> None:
    server = prepared()
    assert (await server.clear()).number == 0
    assert server.stats()["entries"] == 0
    assert server.origins() == []
