"""The command `caching-proxy`: finds the verb, runs it, turns every error into one line."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

import click

from caching_proxy import __version__
from caching_proxy.inputs import shown

_VERBS = (
    *("start", "stats", "explain", "purge", "clear-cache"),
    *("check", "config", "reload", "demo"),
)


class _Commands(click.Group):
    """Verbs that are imported when they are called: `--version` should not load a server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = importlib.import_module(f"caching_proxy.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _VERBS:
            near = difflib.get_close_matches(args[0], _VERBS)
            cure = f"did you mean {' or '.join(near)}?" if near else f"use {', '.join(_VERBS)}"
            ctx.fail(f"there is no command {shown(args[0])}: {cure}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, options_metavar="", subcommand_metavar="COMMAND [OPTIONS]")
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """An HTTP caching reverse proxy.

    Without a command, options start the proxy: caching-proxy --port 3000 --origin URL. The option
    --clear-cache alone is the command clear-cache.
    """


def with_verb(arguments: Sequence[str]) -> list[str]:
    """The arguments with the verb that is meant when none is given."""
    words = list(arguments)
    if not words:
        return ["--help"]
    if not words[0].startswith("-") or words[0] in ("--help", "--version"):
        return words
    if "--clear-cache" in words:
        return ["clear-cache", *(word for word in words if word != "--clear-cache")]
    return ["start", *words]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: status 0, 1 (it failed) or 2 (wrong usage)."""
    words = with_verb(sys.argv[1:] if arguments is None else arguments)
    try:
        status = cli.main(words, prog_name="caching-proxy", standalone_mode=False)
    except click.ClickException as error:
        for line in error.format_message().splitlines():
            click.echo(f"caching-proxy: {line}", err=True)
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        status = 130
    sys.exit(status)
