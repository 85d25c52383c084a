"""Records of runs in bench/results/, and the README's table made from the newest complete one."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import report
from bench.lanes import LANES
from bench.processes import find
from bench.results import LaneResult

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
_VERSION_FLAGS = {"nginx": "-v", "haproxy": "-v", "varnishd": "-V", "wrk": "-v"}


@dataclass(frozen=True)
class Record:
    """A run: where, when and how, and what it showed."""

    facts: dict[str, Any]
    results: list[LaneResult]

    @property
    def name(self) -> str:
        """DATE-MACHINE, as a file name without its ending."""
        machine = self.facts["machine"]
        words = re.findall(r"[a-z0-9]+", f"{machine['cpu']} {machine['cores']} cores".lower())
        return "-".join([self.facts["date"][:10], *words])

    def as_json(self) -> dict[str, Any]:
        lanes = [result.as_json() for result in self.results]
        return {**self.facts, "summary": report.summary(self.results), "lanes": lanes}

    def as_markdown(self) -> str:
        sections = [report.markdown(result) for result in self.results]
        return "\n".join([f"# {self.name}\n", describe(self.facts), *sections])


def facts(rounds: int, seconds: int) -> dict[str, Any]:
    """Date, machine, versions and length of the run that begins now."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "load": round(os.getloadavg()[0], 2),
        },
        "versions": _versions(),
        "rounds": rounds,
        "seconds": seconds,
    }


def describe(facts: dict[str, Any]) -> str:
    """The facts of a run as a Markdown paragraph."""
    machine, versions = facts["machine"], facts["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{facts['date'][:10]}, {machine['cpu']}, {machine['cores']} cores, "
        f"kernel {machine['kernel']}, load average before {machine['load']}. {named}. "
        f"Medians of {facts['rounds']} rounds of {facts['seconds']} s, one worker on one core.\n"
    )


def write(record: Record, root: Path) -> None:
    """Write a run to bench/results/ below `root` and refresh the README's table there."""
    directory = root / "bench" / "results"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{record.name}.json"
    path.write_text(json.dumps(record.as_json(), indent=2) + "\n")
    path.with_suffix(".md").write_text(record.as_markdown())
    print(f"bench: written {path.relative_to(root)}", file=sys.stderr)
    newest = newest_complete(directory)
    readme = root / "README.md"
    if newest is not None and readme.exists():
        readme.write_text(with_section(readme.read_text(), section(newest)))


def newest_complete(directory: Path) -> dict[str, Any] | None:
    """The newest record that has every lane, as it was written."""
    records = [json.loads(path.read_text()) for path in directory.glob("*.json")]
    complete = [
        each
        for each in records
        if {lane["lane"] for lane in each.get("lanes", [])} == set(LANES)  # workers.py has none
    ]
    return max(complete, key=lambda each: str(each["date"]), default=None)


def section(record: dict[str, Any]) -> str:
    """What stands in the README between the two marks."""
    return (
        "CPU microseconds of the server per answered request; in brackets the peer's cost over "
        f"ours, measured in the same run.\n\n{record['summary']}\n{describe(record)}"
    )


def with_section(readme: str, text: str) -> str:
    """The README with `text` between the marks; unchanged where it has no marks."""
    begin, end = readme.find(BEGIN), readme.find(END)
    if begin < 0 or end < begin:
        return readme
    return f"{readme[: begin + len(BEGIN)]}\n{text}{readme[end:]}"


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _versions() -> dict[str, str]:
    commit = _output(["git", "describe", "--always", "--dirty", "--exclude=*"]).strip()
    versions = {"commit": commit} if re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", commit) else {}
    versions["python"] = platform.python_version()
    for package in ("uvloop", "httptools"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    for program, flag in _VERSION_FLAGS.items():
        path = find(program)
        number = re.search(r"\d+(\.\d+)+", _output([path, flag])) if path else None
        if number:
            versions[program.removesuffix("d")] = number[0]
    return versions


def _output(argv: list[str]) -> str:
    """Both outputs of a program; empty when it cannot run. Some print their version to stderr."""
    try:
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parent,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout
