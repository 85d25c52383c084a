"""`caching-proxy purge`: remove some stored responses of a running proxy, or mark them stale."""

from __future__ import annotations

import json
from typing import Any

import click

from caching_proxy.cli.control_client import ask, warn_of_pending
from caching_proxy.cli.options import SettingsCommand, load_settings, setting_options
from caching_proxy.settings import StoreSettings

_FLAGS = {"url": "URL", "prefix": "--prefix", "tag": "--tag", "group": "--group", "all": "--all"}


def _purge(soft: bool, as_json: bool, **options: Any) -> None:
    given = {name: options.pop(name) for name in _FLAGS}
    settings = load_settings(StoreSettings, options)
    selection = _selection(given)
    receipt = ask(settings, "POST", "/purge", {**selection, "soft": soft})
    if as_json:
        click.echo(json.dumps(receipt))
        return
    number = receipt.get("purged")
    kind = " (soft)" if soft else ""
    click.echo(f"Purged {number} cached response{'' if number == 1 else 's'}{kind}.")
    warn_of_pending(receipt)


def _selection(given: dict[str, Any]) -> dict[str, Any]:
    """The one selector that was given; UsageError when it is none or several."""
    selection = {name: value for name, value in given.items() if value not in (None, False, ())}
    if len(selection) != 1:
        named = " and ".join(_FLAGS[name] for name in selection)
        cause = f"{named} are given" if named else "nothing is selected"
        raise click.UsageError(f"{cause}: give a URL, --prefix, --tag, --group or --all")
    return selection


command = SettingsCommand(
    "purge",
    params=[
        *setting_options(StoreSettings),
        click.Argument(["url"], required=False),
        click.Option(["--prefix"], metavar="PATH", help="Every URL that starts like this."),
        click.Option(
            ["--tag"], multiple=True, metavar="TAG", help="What has this tag.  [repeatable]"
        ),
        click.Option(["--group"], metavar="NAME", help="What is in this group (RFC 9875)."),
        click.Option(["--all"], is_flag=True, help="Everything."),
        click.Option(["--soft"], is_flag=True, help="Mark it stale instead of removing it."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object."),
    ],
    callback=_purge,
    help="Remove cached responses of a running proxy, and say how many there were: those of a URL"
    " (a path with its query, or absolute), of a prefix, with a tag, in a group, or all.",
)
