"""What the guide shows is what the program takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from caching_proxy.cli.main import _VERBS
from caching_proxy.configuration import ConfigurationFile, configure
from caching_proxy.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOML = [
    (page.name, text)
    for page in PAGES
    for text in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize("name, text", TOML)
def test_configurations_are_right(name: str, text: str) -> None:
    configuration = configure({}, {}, ConfigurationFile(name, text))
    assert configuration.warnings() == []


def test_options_and_commands_are_there() -> None:
    """Words that begin with --, on pages of our own; those of other programs are few."""
    others = {"--version", "--help", "--json", "--clear-cache", "--config", "--record", "--unkeyed"}
    others |= {"--soft", "--all", "--tag", "--prefix", "--group", "--tool", "--inplace", "--url"}
    others |= {"--cluster", "--cluster-replicas", "--cluster-yes"}  # redis-cli's
    others |= {"--rm", "--profile", "--service-ports", "--from-literal"}  # of Docker, Kubernetes
    known = {declared.flag for declared in Settings.declarations()} | others
    for page in PAGES:
        text = page.read_text()
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z]", text):
            assert flag in known, f"{page.name}: {flag}"
        for verb in re.findall(r"^\$ caching-proxy ([a-z-]+)", text, re.MULTILINE):
            assert verb in _VERBS, f"{page.name}: {verb}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
