"""Values that stand in files and in the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caching_proxy.references import MAX_FILE, Hidden, look_up, looked_up_once, read_file


def test_a_text_is_itself() -> None:
    for text in ("plain", "files:x", "http://one.example", ""):
        assert look_up(text) == text and not isinstance(look_up(text), Hidden)


def test_what_is_named_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text(" in the file\n")
    monkeypatch.setenv("OF_THIS_TEST", " in the environment ")
    assert look_up(f"file:{tmp_path}/a") == "in the file"
    assert look_up("env:OF_THIS_TEST") == "in the environment"
    assert isinstance(look_up("env:OF_THIS_TEST"), Hidden)


def test_each_is_looked_up_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("first")
    reference = f"file:{tmp_path}/a"
    with looked_up_once({"env:KNOWN": "by heart"}) as found:
        assert (look_up(reference), look_up("env:KNOWN")) == ("first", "by heart")
        (tmp_path / "a").write_text("second")
        assert look_up(reference) == "first"
        assert isinstance(look_up(reference), Hidden)
    assert found == {"env:KNOWN": "by heart", reference: "first"}
    assert look_up(reference) == "second"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="no regular file"):
            read_file(path)
        with pytest.raises(ValueError, match="cannot be read"):
            look_up(f"file:{path}")
    with pytest.raises(OSError):
        read_file(tmp_path)


def test_no_more_is_read_than_there_may_be(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match=f"larger than {MAX_FILE} bytes"):
        read_file(tmp_path / "large")


@pytest.mark.parametrize("name", ["no/where", "a\0b", "x" * 300])
def test_what_cannot_be_had_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="read"):
        look_up(f"file:{name}")
