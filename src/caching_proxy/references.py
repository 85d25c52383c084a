"""Values that stand elsewhere, in files and in the environment."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from caching_proxy.inputs import shown

MAX_FILE = 1 << 20  # bytes

_FOUND: ContextVar[dict[str, str] | None] = ContextVar("found", default=None)


class Hidden(str):
    """A text that stood in a file or in the environment: nobody shows it."""


@contextmanager
def looked_up_once(known: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Meanwhile each reference is looked up once, and those that are known not at all.

    What has been found is given, by reference: so that all processes of a proxy have the same, and
    those that may not read a file have it too.
    """
    found = dict(known)
    token = _FOUND.set(found)
    try:
        yield found
    finally:
        _FOUND.reset(token)


def look_up(text: str) -> str:
    """A text, or what stands in the `file:PATH` or `env:NAME` that it names.

    Raises ValueError("cause: cure").
    """
    kind, _, where = text.partition(":")
    if kind not in ("file", "env"):
        return text
    found = _FOUND.get()
    if found is not None and text in found:
        return Hidden(found[text])
    value = _of_file(where) if kind == "file" else _of_environment(where)
    if found is not None:
        found[text] = value
    return Hidden(value)


def _of_file(path: str) -> str:
    try:
        return read_file(Path(path)).decode(errors="replace").strip()
    except FileNotFoundError:
        raise ValueError(f"there is no file {shown(path)}: name one that can be read") from None
    except (OSError, ValueError):
        raise ValueError(
            f"the file {shown(path)} cannot be read: name one that can, of at most {MAX_FILE} bytes"
        ) from None


def _of_environment(name: str) -> str:
    try:
        return os.environ[name].strip()
    except (KeyError, ValueError):
        raise ValueError(f"the environment has no {shown(name)}: set it") from None


def read_file(path: Path) -> bytes:
    """What is in a file. Raises OSError; ValueError where it is no file, or too large.

    Neither waits for a pipe that nobody writes to nor reads without end.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file: name one")
        octets = file.read(MAX_FILE + 1)
    if len(octets) > MAX_FILE:
        raise ValueError(f"it is larger than {MAX_FILE} bytes: shorten it")
    return octets
