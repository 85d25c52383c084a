"""Options generated from the declarations."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from caching_proxy.cli import start, stats
from caching_proxy.cli.options import load_settings, setting_options
from caching_proxy.settings import GROUPS, Settings


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for declared in Settings.declarations():
        if declared.environment:
            monkeypatch.delenv(declared.environment, raising=False)


def read(*arguments: str) -> Settings:
    command = click.Command("start", params=setting_options(Settings))
    with command.make_context("start", list(arguments)) as context:
        return load_settings(Settings, context.params)


def test_every_setting_has_its_option() -> None:
    flags = [{*option.opts, *option.secondary_opts} for option in setting_options(Settings)]
    declared = list(Settings.declarations())
    assert len(flags) == len(declared)
    assert all(each.flag in names for each, names in zip(declared, flags, strict=True))
    switches = [names for each, names in zip(declared, flags, strict=True) if each.is_switch]
    assert {len(names) for names in switches} == {2}, "both ways"


def test_options_may_be_left_out() -> None:
    names = {option.name for option in setting_options(Settings, without=["origin"])}
    assert names == set(Settings.model_fields) - {"origin"}


def test_what_is_given_arrives_in_the_settings() -> None:
    settings = read(
        *("--origin", "http://a", "--port", "0", "--memory", "1MB", "--cache-ttl", "5m"),
        *("--host", "127.0.0.1", "--host", "::1", "--no-admin", "--use-cluster"),
        *("--load-balance", "--servers", "a:1", "--servers", "b:80:2", "--strategy", "random"),
    )
    assert settings.model_fields_set == {
        *("origin", "port", "memory", "cache_ttl", "host", "admin", "use_cluster"),
        *("load_balance", "servers", "strategy"),
    }
    assert (settings.port, settings.memory, settings.cache_ttl) == (0, 1 << 20, 300)
    assert settings.host == ["127.0.0.1", "::1"]
    assert (settings.admin, settings.use_cluster) == (False, True)
    assert [server.host for server in settings.servers] == ["a", "b"]


def test_a_variable_is_read_and_an_option_wins_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_PORT", "4000")
    monkeypatch.setenv("CACHE_TTL", "60")
    settings = read("--origin", "http://a", "--port", "5000")
    assert (settings.port, settings.cache_ttl) == (5000, 60)


def test_help_shows_every_option_under_its_group() -> None:
    shown = CliRunner().invoke(start.command, ["--help"]).output
    positions = [shown.index(f"\n{group}:\n") for group in GROUPS]
    assert positions == sorted(positions)
    for declared in Settings.declarations():
        assert f"\n  {declared.flag}" in shown


def test_help_shows_default_bounds_and_variable() -> None:
    shown = " ".join(CliRunner().invoke(start.command, ["--help"]).output.split())
    assert "[default: 3000; 0 to 65535; environment: PROXY_PORT]" in shown
    assert "[default: 256MB; 0 to 16TB]" in shown
    assert "Required, unless a configuration file names origins." in shown


def test_stats_takes_the_options_of_the_store_alone() -> None:
    shown = CliRunner().invoke(stats.command, ["--help"]).output
    for flag in ("--admin-port", "--redis-host", "--redis-port", "--use-cluster", "--json"):
        assert flag in shown
    assert "--origin" not in shown
