"""Where an embedded store is when nobody says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caching_proxy.cache_manager.store_folder import socket_in, store_folder


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A user who is not root, with a home folder."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return monkeypatch


def test_the_one_that_is_named(somebody: pytest.MonkeyPatch) -> None:
    assert store_folder("/srv/cache", "nobody") == Path("/srv/cache")


def test_of_a_user(somebody: pytest.MonkeyPatch) -> None:
    assert store_folder(None, None) == Path("/home/somebody/.cache/caching-proxy")


@pytest.mark.parametrize(
    "told, folder",
    [("/caches", "/caches"), ("caches", "/home/somebody/.cache"), ("", "/home/somebody/.cache")],
)
def test_xdg_counts_where_it_is_absolute(
    somebody: pytest.MonkeyPatch, told: str, folder: str
) -> None:
    somebody.setenv("XDG_CACHE_HOME", told)
    assert store_folder(None, None) == Path(folder) / "caching-proxy"


def test_of_a_service(somebody: pytest.MonkeyPatch) -> None:
    """The same before and after it has become its user."""
    assert store_folder(None, "nobody") == Path("/var/cache/caching-proxy")
    somebody.setattr(os, "geteuid", lambda: 0)
    assert store_folder(None, "nobody") == store_folder(None, None)


def test_its_socket_has_a_path_that_a_socket_can_have(somebody: pytest.MonkeyPatch) -> None:
    longest = "/" + "x" * 91
    assert len(str(socket_in(store_folder(longest, None)))) == 103
    with pytest.raises(ValueError, match="at most 92 bytes with --data-dir"):
        store_folder(longest + "x", None)
    somebody.setenv("XDG_CACHE_HOME", longest)
    with pytest.raises(ValueError, match="too long for the path of a unix socket"):
        store_folder(None, None)


def test_without_a_home(somebody: pytest.MonkeyPatch) -> None:
    somebody.setattr(Path, "home", _no_home)
    with pytest.raises(ValueError, match="name a folder with --data-dir"):
        store_folder(None, None)


def _no_home() -> Path:
    raise RuntimeError("no home")
