"""`caching-proxy clear-cache`: remove every stored response of a running proxy."""

from __future__ import annotations

from typing import Any

import click

from caching_proxy.cli.control_client import ask, warn_about_redis
from caching_proxy.cli.options import SettingsCommand, load_settings, setting_options
from caching_proxy.settings import StoreSettings


def _clear_cache(**options: Any) -> None:
    settings = load_settings(StoreSettings, options)
    warn_about_redis(settings)
    removed = ask(settings, "POST", "/clear").get("removed")
    click.echo(f"Removed {removed} cached response{'' if removed == 1 else 's'}.")


command = SettingsCommand(
    "clear-cache",
    params=setting_options(StoreSettings),
    callback=_clear_cache,
    help="Remove every cached response of a running proxy, and say how many there were.",
)
