"""Command line options, generated from the declarations of settings."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from itertools import groupby
from typing import Any, TypeVar

import click

from caching_proxy.configuration import Configuration, Sources, find_file
from caching_proxy.declared import Declaration, SettingsError
from caching_proxy.settings import Settings, StoreSettings

Model = TypeVar("Model", bound=StoreSettings)


class SettingOption(click.Option):
    """The option of one setting; what is given is read and checked by the model alone."""

    def __init__(self, declared: Declaration) -> None:
        self.group = declared.group
        self._flag = declared.flag
        if declared.is_switch:
            flag = declared.name.replace("_", "-")
            names = [f"--{flag}/--no-{flag}", declared.name]
            kind: dict[str, Any] = {"default": None}
        else:
            names = [declared.flag, declared.name]
            kind = {"metavar": declared.kind.metavar, "multiple": declared.repeatable}
        super().__init__(names, help=_help(declared), **kind)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As click has it, but for switches: first the flag that changes the default."""
        record = super().get_help_record(ctx)
        if record is None or not self.secondary_opts:
            return record
        flags = sorted([*self.opts, *self.secondary_opts], key=lambda flag: flag != self._flag)
        return " / ".join(flags), record[1]


class SettingsCommand(click.Command):
    """A command whose `--help` lists its settings under their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        for group, members in groupby(options, lambda option: getattr(option, "group", "Other")):
            records = [option.get_help_record(ctx) for option in members]
            with formatter.section(group):
                formatter.write_dl([record for record in records if record is not None])


def setting_options(
    model: type[StoreSettings], *, without: Collection[str] = ()
) -> list[click.Parameter]:
    """One option for every setting of the model."""
    return [
        SettingOption(declared) for declared in model.declarations() if declared.name not in without
    ]


def given_options(model: type[StoreSettings], options: Mapping[str, Any]) -> dict[str, Any]:
    """What was given of what click read."""
    given: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None and value != ():
            given[name] = list(value) if model.declaration(name).repeatable else value
    return given


def load_settings(model: type[Model], options: Mapping[str, Any]) -> Model:
    """The model from what click read and the environment; UsageError names all that is wrong."""
    try:
        return model.load(given_options(model, options), os.environ)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def config_option() -> click.Option:
    """The option that names the configuration file."""
    return click.Option(
        ["--config"],
        metavar="FILE",
        help="TOML file with settings, listeners, origins and routes."
        "  [default: caching-proxy.toml, where there is one]",
    )


def load_sources(options: Mapping[str, Any], config: str | None, use_file: bool = True) -> Sources:
    """Where the configuration of a proxy comes from."""
    environment = {
        declared.environment: os.environ[declared.environment]
        for declared in Settings.declarations()
        if declared.environment in os.environ
    }
    path = find_file(config) if use_file else None
    return Sources(given_options(Settings, options), environment, path)


def load_configuration(sources: Sources) -> Configuration:
    """The configuration; UsageError names all that is wrong."""
    try:
        return sources.load()
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def _help(declared: Declaration) -> str:
    notes = [
        f"default: {declared.default_text}" if declared.default_text else "",
        declared.kind.bounds,
        f"environment: {declared.environment}" if declared.environment else "",
        "repeatable" if declared.repeatable else "",
        "required" if declared.required else "",
    ]
    shown = "; ".join(note for note in notes if note)
    return f"{declared.help}  [{shown}]" if shown else declared.help
