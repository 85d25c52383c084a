"""Every documented way to install, each in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

import pytest

from caching_proxy import __version__

from .support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 900.0  # seconds: far more than it takes, so that a hanging pip ends
LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv*",
    "build",
    "dist",
    "*.so",
    "__pycache__",
    "*.egg-info",
    ".*_cache",
    ".hypothesis",
)

pytestmark = pytest.mark.packaging


class Environment:
    """A virtual environment; nothing of ours is on its path unless installed there."""

    def __init__(self, folder: Path) -> None:
        run(sys.executable, "-m", "venv", str(folder), cwd=folder.parent)
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = str(self.bin / "python")

    def pip(self, *arguments: str, cwd: Path) -> None:
        run(self.python, "-m", "pip", "--disable-pip-version-check", *arguments, cwd=cwd)


@pytest.fixture(autouse=True)
def _quick_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast what is built here runs is of no interest, and to optimize it takes minutes."""
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O0\n')
    compiler.chmod(0o755)
    if os.name != "nt":
        monkeypatch.setenv("CC", str(compiler))


def run(*command: str, cwd: Path) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=inherited,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}"
    return done.stdout


def serves(*command: str, cwd: Path, more: tuple[str, ...] = ()) -> None:
    """Check that the command runs a proxy that caches: its demo, on free ports."""
    options = ("--host", "127.0.0.1", "--port", "0", "--admin-port", "0", *more)
    with subprocess.Popen(
        [*command, "demo", *options], cwd=cwd, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = re.search(r" on (http://[^\s;,]+)", process.stdout.readline())
            assert address is not None
            url = f"{address[1]}/products/1"
            assert fetch(url)[0] == "MISS"
            # What was stored before a store came into use is not kept.
            wait_until(lambda: fetch(url)[0] == "HIT", "a hit")
        finally:
            process.terminate()
    assert process.returncode == 0


def fetch(url: str) -> tuple[str, object]:
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.headers["X-Cache"], json.load(response)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh clone holds."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("clone") / "it", ignore=LEFT_OUT)


def test_the_documented_route_and_then_an_editable_install(clone: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.pip("install", "--quiet", "-r", "requirements.txt", cwd=clone)
    run(environment.python, "setup.py", "--quiet", "build_ext", "--inplace", cwd=clone)
    serves(environment.python, "app.py", cwd=clone)

    environment.pip("install", "--quiet", "--no-deps", "--editable", ".", cwd=clone)
    serves(str(environment.bin / "caching-proxy"), cwd=tmp_path)
    where = run(
        environment.python,
        "-c",
        "import caching_proxy; print(caching_proxy.__file__)",
        cwd=tmp_path,
    )
    assert Path(where.strip()).is_relative_to(clone)


def test_the_source_distribution_builds_and_installs(clone: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--sdist", "--outdir", str(tmp_path), ".", cwd=clone)
    archive = tmp_path / f"caching_proxy-{__version__}.tar.gz"
    with tarfile.open(archive) as opened:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in opened.getnames()}
    sources = {
        path.relative_to(clone).as_posix()
        for pattern in ("*.py", "*.pyx", "*.pxd", "*.pyi", "py.typed")
        for path in (clone / "src").rglob(pattern)
    }
    assert sources <= names
    assert not [name for name in names if name.endswith((".c", ".so"))]

    environment = Environment(tmp_path / "venv")
    environment.pip("install", "--quiet", f"{archive}[embedded]", cwd=tmp_path)
    command = str(environment.bin / "caching-proxy")
    assert run(command, "--version", cwd=tmp_path) == f"caching-proxy {__version__}\n"
    serves(command, cwd=tmp_path)
    store = tmp_path / "store"
    serves(command, cwd=tmp_path, more=("--store", "embedded", "--data-dir", str(store)))
    assert (store / "store.aof").is_dir()

    (package,) = (tmp_path / "venv").rglob("site-packages/caching_proxy")
    assert (package / "py.typed").is_file()
    assert not [path for path in package.rglob("*") if path.suffix in (".c", ".pyx")]


def test_the_build_requirements_are_the_same_in_both_places() -> None:
    required = re.search(r"^requires = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    assert required is not None
    build = set(re.findall(r'"([^"]+)"', required[1]))
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert {line for line in lines if line[:1] not in ("#", "-", "")} == build
