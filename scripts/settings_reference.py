"""Write the reference of settings and the JSON Schema of the file from caching_proxy.settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "settings.md"
SCHEMA = ROOT / "docs" / "reference" / "caching-proxy.schema.json"
sys.path.insert(0, str(ROOT / "src"))

from caching_proxy.declared import Declaration, Declared  # noqa: E402
from caching_proxy.settings import (  # noqa: E402
    Bypass,
    HeaderChanges,
    Listener,
    Origin,
    OriginSettings,
    Route,
    RouteSettings,
    Settings,
    TtlRule,
)

_INTRODUCTION = """# Settings

Generated from `src/caching_proxy/settings.py` by `make docs`; change it there.

The options of `caching-proxy start`. The command line wins over the environment, that over the
[configuration file](../guide/configuration.md), and that over the default. In the file an option is
named without dashes before it: `cache_ttl`. Sizes take KB, MB, GB or TB (powers of 1024), durations
ms, s, m, h or d. Editors read [caching-proxy.schema.json](caching-proxy.schema.json).
"""
_TABLES = (
    (
        "[[listeners]]",
        "Addresses to listen on, in place of `host`, `port` and `unix_socket`.",
        Listener,
        None,
    ),
    (
        "[origins.NAME]",
        "A named origin. It takes the settings of the groups Origin, Load balancing, Health checks"
        " and Failing servers as well, without `origin_` before them (`head_timeout`); what it"
        " leaves out is as for all.",
        Origin,
        OriginSettings,
    ),
    (
        "[[routes]]",
        "Requests, by what they match, and what becomes of them. The first route that fits holds."
        " It takes the settings of the groups Cache and Forwarding as well, but `memory`,"
        " `uncacheable_ttl`, `max_variants`, `trusted_proxies` and `name`; what it leaves out is"
        " as for all.",
        Route,
        RouteSettings,
    ),
    ("ttl = [{ ... }] of a route", "Lifetimes by status and type.", TtlRule, None),
    ("bypass = [{ ... }] of a route", "Requests that go past the cache.", Bypass, None),
    (
        "request_headers, response_headers = { ... } of a route",
        "Changes of fields.",
        HeaderChanges,
        None,
    ),
)
_HEAD = "| option | default | bounds | unit | environment | what |\n|---|---|---|---|---|---|"
_TABLE_HEAD = "| name | default | bounds | unit | what |\n|---|---|---|---|---|"


def reference() -> str:
    """The page as Markdown."""
    sections = [_INTRODUCTION]
    for group, members in groupby(Settings.declarations(), lambda declared: declared.group):
        sections.append(f"## {group}\n\n{_HEAD}\n{_rows(members)}\n")
    sections.append("# Tables of the configuration file\n")
    for title, text, model, common in _TABLES:
        own = [declared for declared in model.declarations() if not _is_of(common, declared)]
        rows = "\n".join(map(_table_row, own))
        sections.append(f"## `{title}`\n\n{text}\n\n{_TABLE_HEAD}\n{rows}\n")
    return "\n".join(sections)


def schema() -> str:
    """The JSON Schema of the configuration file."""
    properties = _properties(Settings)
    properties["listeners"] = {"type": "array", "items": _object(Listener)}
    origin = _object(Origin)
    short = {
        name.removeprefix("origin_"): value
        for name, value in origin["properties"].items()
        if name.startswith("origin_")
    }
    origin["properties"].update(short)
    properties["origins"] = {"type": "object", "additionalProperties": origin}
    properties["routes"] = {"type": "array", "items": _object(Route)}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "caching-proxy.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    return json.dumps(whole, indent=1) + "\n"


def _object(model: type[Declared]) -> dict[str, Any]:
    required = [declared.name for declared in model.declarations() if declared.required]
    found: dict[str, Any] = {"type": "object", "additionalProperties": False}
    if required:
        found["required"] = required
    return {**found, "properties": _properties(model)}


def _properties(model: type[Declared]) -> dict[str, Any]:
    return {declared.name: _property(declared) for declared in model.declarations()}


def _property(declared: Declaration) -> dict[str, Any]:
    value = dict(declared.kind.schema) if declared.table is None else _object(declared.table)
    if declared.repeatable:
        several = {"type": "array", "items": value}
        value = several if declared.table is not None else {"anyOf": [value, several]}
    return {"description": declared.help, **value}


def _is_of(common: type[Declared] | None, declared: Declaration) -> bool:
    return common is not None and declared.name in common.model_fields


def _rows(members: Iterable[Declaration]) -> str:
    return "\n".join(map(_row, members))


def _row(declared: Declaration) -> str:
    flag = f"`{declared.flag} {declared.kind.metavar}`".replace(" `", "`")
    default = f"`{declared.default_text}`" if declared.default_text else ""
    what = declared.help + (" Repeatable." if declared.repeatable else "")
    variable = f"`{declared.environment}`" if declared.environment else ""
    cells = [flag, default, declared.kind.bounds, declared.kind.unit, variable, what]
    return f"| {' | '.join(cells)} |"


def _table_row(declared: Declaration) -> str:
    default = "required" if declared.required else ""
    if declared.default_text:
        default = f"`{declared.default_text}`"
    what = declared.help + (" Or a list." if declared.repeatable else "")
    cells = [f"`{declared.name}`", default, declared.kind.bounds, declared.kind.unit, what]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(reference(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)} and {SCHEMA.relative_to(ROOT)}")
