"""Finding the verb; errors as single lines."""

from __future__ import annotations

import pytest

from caching_proxy import __version__
from caching_proxy.cli.main import main, with_verb


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], ["--help"]),
        (["--help"], ["--help"]),
        (["--version"], ["--version"]),
        (["stats", "--json"], ["stats", "--json"]),
        (["start", "--port", "1"], ["start", "--port", "1"]),
        (["--port", "3000", "--origin", "URL"], ["start", "--port", "3000", "--origin", "URL"]),
        (["--clear-cache"], ["clear-cache"]),
        (["--admin-port", "5", "--clear-cache"], ["clear-cache", "--admin-port", "5"]),
    ],
)
def test_the_verb_that_is_meant(given: list[str], meant: list[str]) -> None:
    assert with_verb(given) == meant


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    printed = capsys.readouterr()
    return int(end.value.code or 0), printed.out, printed.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"caching-proxy {__version__}\n", "")


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for verb in ("start", "stats", "purge", "clear-cache", "demo"):
        assert f"\n  {verb} " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stat"], ["'stat'", "did you mean", "stats"]),
        (["xyzzy"], ["'xyzzy'", "start", "clear-cache"]),
        (["start", "--orign", "http://a"], ["--orign", "--origin"]),
        (["--prot", "1"], ["--prot", "--port"]),
        (["start", "--port"], ["--port", "requires an argument"]),
        (["start", "--origin", "http://a", "b"], ["unexpected", "b"]),
        (["start", "--origin", "a"], ["--origin", "'a'", "http://"]),
        (["stats", "--admin-port", "many"], ["--admin-port", "'many'", "0 to 65535"]),
        (["demo", "--origin", "http://a"], ["--origin"]),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("caching-proxy: ")
    for word in words:
        assert word in err


def test_every_wrong_setting_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "--port", "x", "--memory", "y", "--origin", "z")
    assert status == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == ["--port", "--origin", "--memory"]
