"""The extension modules: every `.pyx` of the package. Everything else is in pyproject.toml."""

from __future__ import annotations

import multiprocessing
import os
import sys
import zlib
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Extension, setup

DIRECTIVES = {
    "language_level": 3,
    "embedsignature": False,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "nonecheck": True,
}
# cythonize sees that a source has changed, but not that the directives or Cython have.
VARIANT = zlib.crc32(f"{Cython.__version__} {DIRECTIVES}".encode())
JOBS = os.cpu_count() or 1
FORKS = sys.platform == "linux" and multiprocessing.get_start_method() == "fork"


def extension(source: Path) -> Extension:
    module = ".".join(source.relative_to("src").with_suffix("").parts)
    own = sys.platform != "win32" and "CFLAGS" not in os.environ
    flags = ["-O3", "-fno-semantic-interposition"] if own else []
    return Extension(module, [source.as_posix()], extra_compile_args=flags)


os.chdir(Path(__file__).resolve().parent)
setup(
    ext_modules=cythonize(
        [extension(source) for source in sorted(Path("src/caching_proxy").rglob("*.pyx"))],
        build_dir=f"build/cython-{VARIANT:08x}",
        compiler_directives=DIRECTIVES,
        nthreads=JOBS if FORKS else 0,
        quiet=True,
    ),
    options={"build_ext": {"parallel": JOBS}},
)
