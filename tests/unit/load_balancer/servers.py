"""Servers for strategies to choose from."""

from __future__ import annotations

from caching_proxy.load_balancer.server import Server


def make_servers(*weights: int) -> list[Server]:
    return [Server(f"10.0.0.{n}:80", weight) for n, weight in enumerate(weights)]
