"""`caching-proxy clear-cache`: remove every stored response, from Redis and running proxies."""

from __future__ import annotations

import sys
from typing import Any

import click

from caching_proxy.cli.control_client import ask, asks_redis, warn_of_pending
from caching_proxy.cli.options import SettingsCommand, load_settings, setting_options
from caching_proxy.settings import StoreSettings


def _clear_cache(**options: Any) -> None:
    settings = load_settings(StoreSettings, options)
    if asks_redis(settings):
        removed = _clear_redis(settings)
    else:
        receipt = ask(settings, "POST", "/clear")
        removed = receipt["removed"]
        warn_of_pending(receipt)
    click.echo(f"Removed {removed} cached response{'' if removed == 1 else 's'}.")


def _clear_redis(settings: StoreSettings) -> int:
    from caching_proxy.cli import redis_store  # late: only this needs the extension modules

    if not sys.stderr.isatty():
        return redis_store.clear(settings, lambda done, total: None)
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("Looking through Redis", total=None)
        return redis_store.clear(
            settings, lambda done, total: shown.update(task, completed=done, total=total)
        )


command = SettingsCommand(
    "clear-cache",
    params=setting_options(StoreSettings),
    callback=_clear_cache,
    help="Remove every cached response, and say how many there were: of the running proxy, where"
    " one answers at the admin port; else, and with --redis-host and its like, those in Redis and"
    " in the memory of every proxy that uses it. Other keys of that Redis stay.",
    short_help="Remove every cached response, and say how many there were.",
)
