"""`caching-proxy config`: the effective configuration, and who gave each value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from caching_proxy.cli.options import (
    SettingsCommand,
    config_option,
    load_configuration,
    load_sources,
    setting_options,
)
from caching_proxy.configuration import DEFAULT, Configuration
from caching_proxy.declared import Declaration, Declared
from caching_proxy.references import Hidden
from caching_proxy.setting_kinds import SECRET, tells_secret
from caching_proxy.settings import Settings


def _config(config: str | None, **options: Any) -> None:
    configuration = load_configuration(load_sources(options, config))
    click.echo("\n".join(lines(configuration)))


def lines(configuration: Configuration) -> Iterator[str]:
    """The configuration as a TOML document; secrets are masked."""
    settings = configuration.settings
    group = ""
    for declared in Settings.declarations():
        value = getattr(settings, declared.name)
        if declared.group != group:
            group = declared.group
            yield f"\n# {group}" if group != next(Settings.declarations()).group else f"# {group}"
        source = configuration.sources.get(declared.name, "default")
        if value is None:
            yield f"# {declared.name} is not set"
        else:
            yield f"{declared.name} = {_shown(declared, value)}  # {source}"
    sources = configuration.sources
    for number, listener in enumerate(configuration.listeners):
        yield "\n[[listeners]]"
        yield from _own(listener, sources, f"listeners[{number}]")
    for name, origin in configuration.origins.items():
        if name != DEFAULT or "origin" not in configuration.sources:
            yield f"\n[origins.{name}]"
            yield from _own(origin, sources, f"origins.{name}")
    for number, route in enumerate(configuration.routes):
        if route.route != DEFAULT:
            yield "\n[[routes]]"
            yield from _own(route, sources, f"routes[{number}]")


def _own(table: Declared, sources: Mapping[str, str], path: str) -> Iterator[str]:
    """What differs from the defaults: its own values, and what is set for all."""
    for declared in table.declarations():
        value = getattr(table, declared.name)
        if value != declared.default:
            source = sources.get(f"{path}.{declared.name}") or sources.get(declared.name)
            yield f"{declared.name} = {_shown(declared, value)}  # {source or 'default'}"


def _shown(declared: Declaration, value: Any) -> str:
    if declared.kind is SECRET:
        return '"***"'
    if declared.table is not None:
        tables = value if isinstance(value, list) else [value]
        shown = [_inline(table) for table in tables]
        return f"[{', '.join(shown)}]" if isinstance(value, list) else shown[0]
    if isinstance(value, list):
        return f"[{', '.join(_scalar(declared, item) for item in value)}]"
    if isinstance(value, dict):
        pairs = (
            f"{_key(name)} = {_masked(name, item) or _scalar(declared, item)}"
            for name, item in value.items()
        )
        return f"{{ {', '.join(pairs)} }}"
    return _scalar(declared, value)


def _inline(table: Declared) -> str:
    pairs = [
        f"{declared.name} = {_shown(declared, getattr(table, declared.name))}"
        for declared in table.declarations()
        if getattr(table, declared.name) != declared.default
    ]
    return f"{{ {', '.join(pairs)} }}"


def _scalar(declared: Declaration, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    shown = declared.kind.show(value)
    return shown if re.fullmatch(r"[0-9]+(\.[0-9]+)?", shown) else json.dumps(shown)


def _masked(field: str, value: object) -> str:
    """What is shown in place of the value of a field, nothing where that may be seen."""
    return '"***"' if isinstance(value, Hidden) or tells_secret(field) else ""


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


command = SettingsCommand(
    "config",
    params=[config_option(), *setting_options(Settings)],
    callback=_config,
    help="Print the configuration that start would use with the same options, as TOML, with who"
    " gave each value; secrets are masked.",
    short_help="Print the effective configuration.",
)
