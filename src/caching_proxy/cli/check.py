"""`caching-proxy check`: whether a configuration file is right, and what is wrong with it."""

from __future__ import annotations

import sys

import click

from caching_proxy.cli.options import load_sources
from caching_proxy.declared import SettingsError
from caching_proxy.proxy_server import privileges
from caching_proxy.proxy_server.privileges import PrivilegesError


def _check(file: str) -> None:
    try:
        configuration = load_sources({}, file).load()
    except SettingsError as error:
        for line in error.lines:
            click.echo(line, err=True)
        sys.exit(1)
    for line in [*configuration.warnings(), *_unknown_user(configuration.settings.user)]:
        click.echo(f"{file}: warning: {line}", err=True)
    click.echo(f"{file}: no problem found")


def _unknown_user(user: str | None) -> list[str]:
    """A line where this machine does not know the user: another one may."""
    try:
        privileges.known(user)
    except PrivilegesError as error:
        return [str(error)]
    return []


command = click.Command(
    "check",
    params=[click.Argument(["file"], required=False, default="caching-proxy.toml")],
    callback=_check,
    help="Check a configuration file (caching-proxy.toml, unless another is named): every problem"
    " is told with its line. The exit status is 1 if there is one.",
    short_help="Check a configuration file.",
)
