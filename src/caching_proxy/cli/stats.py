"""`caching-proxy stats`: the counters of a running proxy, or of all that share a Redis."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from caching_proxy.cli.control_client import ask, asks_redis
from caching_proxy.cli.options import SettingsCommand, load_settings, setting_options
from caching_proxy.settings import StoreSettings

_Told = tuple[dict[str, Any], list[dict[str, Any]]]
"""Counters by name, and the origins with their servers."""


def _stats(as_json: bool, **options: Any) -> None:
    settings = load_settings(StoreSettings, options)
    counters, origins = _of_redis(settings) if asks_redis(settings) else _of_proxy(settings)
    if as_json:
        click.echo(json.dumps({**counters, **({"origins": origins} if origins else {})}, indent=2))
        return
    if sys.stdout.isatty():
        _print_table(counters)
        _print_servers(origins)
        return
    for name, value in counters.items():
        click.echo(f"{name} {value}")
    for origin in origins:
        for server in origin["servers"]:
            click.echo(" ".join(["server", *_line(origin["origin"], server)]))


def _of_proxy(settings: StoreSettings) -> _Told:
    return ask(settings, "GET", "/stats"), ask(settings, "GET", "/servers")["origins"]


def _of_redis(settings: StoreSettings) -> _Told:
    from caching_proxy.cli import redis_store  # late: only this needs the extension modules

    return redis_store.stats(settings), []


def _print_table(counters: dict[str, Any]) -> None:
    from rich.console import Console  # late: only a terminal needs it
    from rich.table import Table

    table = Table("what", "value", title="caching-proxy")
    table.columns[1].justify = "right"
    for name, value in counters.items():
        table.add_row(name.replace("_", " "), _text(name, value))
    Console().print(table)


def _line(origin: str, server: dict[str, Any]) -> list[str]:
    """A server's figures as name=value."""
    names = ("state", "weight", "in_flight", "requests", "errors", "circuit")
    told = [f"{name}={str(server[name]).replace(' ', '-')}" for name in names]
    quantiles = server["latency"] or {}
    return [server["server"], f"origin={origin}", *told] + [
        f"{name}={seconds:.6f}" for name, seconds in quantiles.items()
    ]


def _print_servers(origins: list[dict[str, Any]]) -> None:
    from rich import box  # late: only a terminal needs it
    from rich.console import Console
    from rich.table import Table

    for origin in origins:
        title = f"origin {origin['origin']}: {origin['strategy']}"
        rows = [_cells(server) for server in origin["servers"]]
        numbers = ("weight", "busy", "asked", "errors", "p50\nms", "p95\nms")
        table = Table("server", "state", *numbers, title=title, box=box.SIMPLE_HEAD)
        for number, column in enumerate(table.columns):
            column.no_wrap = True
            column.justify = "right" if number > 1 else "left"
        if any(row[-1] for row in rows):
            table.add_column("why")
        for row in rows:
            table.add_row(*row[: len(table.columns)])
        Console().print(table)


def _cells(server: dict[str, Any]) -> list[str]:
    quantiles = server["latency"] or {}
    check = server["check"] or {}
    return [
        *(server["server"], server["state"], str(server["weight"])),
        *(f"{server[name]:,}" for name in ("in_flight", "requests", "errors")),
        *(f"{1000 * quantiles[name]:.3g}" if quantiles else "" for name in ("p50", "p95")),
        server["why"] or check.get("why", ""),
    ]


def _text(name: str, value: object) -> str:
    if name.endswith("_ratio") and isinstance(value, (int, float)):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else str(value)


command = SettingsCommand(
    "stats",
    params=[
        *setting_options(StoreSettings),
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object."),
    ],
    callback=_stats,
    help="Show entries, memory, hits, misses and other counters: of the running proxy, where one"
    " answers at the admin port; else, and with --redis-host and its like, of all proxies that"
    " share that Redis.",
    short_help="Show entries, memory, hits, misses and other counters.",
)
