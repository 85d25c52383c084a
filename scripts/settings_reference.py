"""Write docs/reference/settings.md from the declarations in caching_proxy.settings."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "settings.md"
sys.path.insert(0, str(ROOT / "src"))

from caching_proxy.settings import Declaration, Settings  # noqa: E402

_INTRODUCTION = """# Settings

Generated from `src/caching_proxy/settings.py` by `make docs`; change it there.

The options of `caching-proxy start`. The command line wins over the environment, the environment
over the default. Sizes take KB, MB, GB or TB (powers of 1024), durations ms, s, m, h or d.
"""


def reference() -> str:
    """The page as Markdown."""
    sections = [_INTRODUCTION]
    for group, members in groupby(Settings.declarations(), lambda declared: declared.group):
        rows = "\n".join(_row(declared) for declared in members)
        head = (
            "| option | default | bounds | unit | environment | what |\n|---|---|---|---|---|---|"
        )
        sections.append(f"## {group}\n\n{head}\n{rows}\n")
    return "\n".join(sections)


def _row(declared: Declaration) -> str:
    flag = f"`{declared.flag} {declared.kind.metavar}`".replace(" `", "`")
    default = f"`{declared.default_text}`" if declared.default_text else ""
    if declared.required:
        default = "required"
    what = declared.help + (" Repeatable." if declared.repeatable else "")
    variable = f"`{declared.environment}`" if declared.environment else ""
    cells = [flag, default, declared.kind.bounds, declared.kind.unit, variable, what]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
