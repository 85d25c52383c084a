"""The package in order: imports point one way, extension modules have contracts and types."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "caching_proxy"
SOURCES = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyx", ".pxd"))
IMPORT = re.compile(r"^\s*(?:from|import)\s+(caching_proxy(?:\.\w+)*)", re.MULTILINE)

# What each part may import, besides itself.
ALLOWED = {
    "http": set(),
    "fiber": set(),
    "inputs": set(),
    "cache_manager": {"http", "fiber", "inputs"},
    "load_balancer": {"http", "fiber", "inputs"},
    "proxy_server": {"cache_manager", "load_balancer", "http", "fiber", "inputs"},
}
# What makes a proxy of its parts may read the configuration.
WIRING = {
    "proxy_server.py",
    "fleet.py",
    "worker.py",
    "workers.py",
    "upstreams.py",
    "server_states.py",
}
CONFIGURATION = {"settings", "configuration", "declared"}


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].partition(".")[0]


def imports(path: Path) -> set[str]:
    return {name for name in IMPORT.findall(path.read_text()) if name != "caching_proxy"}


@pytest.mark.parametrize("name", ALLOWED)
def test_imports_point_one_way(name: str) -> None:
    sources = [path for path in SOURCES if part(path) == name]
    assert sources
    for path in sources:
        parts = {imported.split(".")[1] for imported in imports(path)} - {name}
        extra = parts - ALLOWED[name] - (CONFIGURATION if path.name in WIRING else set())
        assert not extra, f"{path.relative_to(PACKAGE)} imports {extra}"


def test_every_extension_module_has_its_contract_and_types() -> None:
    for path in PACKAGE.rglob("*.pyx"):
        assert path.with_suffix(".pxd").exists(), path.name
        assert path.with_suffix(".pyi").exists(), path.name


def test_nothing_is_included_textually() -> None:
    for path in SOURCES:
        assert not re.search(r"^\s*include\s", path.read_text(), re.MULTILINE), path.name


def test_c_functions_state_how_they_fail() -> None:
    """A cdef function with a C return type says `except` or `noexcept`."""
    returns_c = re.compile(
        r"^\s*c(?:p?def)\s+(?:inline\s+)?"
        r"(?:void|bint|int|u?int\d+_t|Py_ssize_t|double|FieldId|Framing)"
        r"\s+\w+\((?:[^()]|\([^()]*\))*\)(?P<rest>[^\n]*)",
        re.MULTILINE,
    )
    for path in SOURCES:
        for found in returns_c.finditer(path.read_text()):
            assert "except" in found["rest"], f"{path.name}: {found[0].strip()}"
