"""`caching-proxy reload`: have a running proxy take over its configuration anew."""

from __future__ import annotations

from typing import Any

import click

from caching_proxy.cli.control_client import ask
from caching_proxy.cli.options import SettingsCommand, load_settings, setting_options
from caching_proxy.settings import StoreSettings


def _reload(**options: Any) -> None:
    answer = ask(load_settings(StoreSettings, options), "POST", "/reload")
    for line in answer.get("warnings", []):
        click.echo(f"caching-proxy: WARNING: {line}", err=True)
    click.echo("The configuration is taken over.")


command = SettingsCommand(
    "reload",
    params=setting_options(StoreSettings),
    callback=_reload,
    help="Have a running proxy read its configuration again, as SIGHUP does, without dropping a"
    " connection. One that is wrong changes nothing; what is wrong is told.",
    short_help="Have a running proxy take over its configuration anew.",
)
