"""`caching-proxy check` and `config`, as an operator runs them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .support.proxy import ProxyProcess, environment

RIGHT = """
port = 8080
admin_token = "a-secret-of-this-test"
[origins.api]
url = "https://api.example.com/v1"
[[routes]]
host = "api.example.com"
origin = "api"
query_drop = "utm_*"
"""


def run(*words: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*ProxyProcess.command("")[:-1], *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={**environment(), **variables},
    )


def test_a_right_file(tmp_path: Path) -> None:
    (tmp_path / "caching-proxy.toml").write_text(RIGHT)
    ended = run("check", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "caching-proxy.toml: no problem found\n")
    assert ended.stderr == ""


def test_what_is_there_in_vain_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(RIGHT + '[origins.unused]\nurl = "http://a"\n')
    ended = run("check", "f.toml", folder=tmp_path)
    assert ended.returncode == 0
    assert ended.stderr == "f.toml: warning: the origin unused is used by no route\n"


def test_a_user_that_this_machine_does_not_know_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(
        f'{RIGHT.partition("[")[0]}origin = "http://a"\nuser = "no-one"\n'
    )
    ended = run("check", "f.toml", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (
        0,
        "f.toml: warning: --user: there is no user 'no-one': name another\n",
    )


def test_a_switch_goes_both_ways(tmp_path: Path) -> None:
    """What a file turns on the command line turns off, and the other way round."""
    (tmp_path / "f.toml").write_text(
        'origin = "http://a"\nreload_on_change = true\nadmin = false\n'
    )
    ended = run("config", "--config", "f.toml", "--no-reload-on-change", "--admin", folder=tmp_path)
    assert "reload_on_change = false  # command line" in ended.stdout.splitlines()
    assert "admin = true  # command line" in ended.stdout.splitlines()


def test_values_that_are_likely_secrets_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(
        'origin = "http://a"\n[[routes]]\n[routes.request_headers]\n'
        'set = { Authorization = "Basic hidden", X-Odd = "env:OF_THIS_TEST", X-Seen = "shown" }\n'
    )
    ended = run("config", "--config", "f.toml", folder=tmp_path, OF_THIS_TEST="hidden")
    assert ended.returncode == 0 and "hidden" not in ended.stdout
    assert 'Authorization = "***", X-Odd = "***", X-Seen = "shown"' in ended.stdout


def test_secrets_of_an_origin_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "caching-proxy.toml").write_text(
        'sticky_secret = "hidden-for-all"\n'
        '[origins.default]\nurl = "http://a"\nsticky_secret = "hidden-for-one"\n'
    )
    ended = run("config", folder=tmp_path)
    assert (ended.returncode, ended.stdout.count('sticky_secret = "***"')) == (0, 2)
    assert "hidden" not in ended.stdout


def test_every_problem_has_its_line(tmp_path: Path) -> None:
    text = 'prot = 8080\norigin = "http://a"\n[[routes]]\norigin = "apy"\ncache_ttl = "x"\n'
    (tmp_path / "f.toml").write_text(text)
    ended = run("check", "f.toml", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    lines = ended.stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["f.toml:1", "prot"],
        ["f.toml:4", "routes[0].origin"],
        ["f.toml:5", "routes[0].cache_ttl"],
    ]
    assert "did you mean `port`?" in lines[0]


def test_no_file(tmp_path: Path) -> None:
    for words in (["check"], ["check", "no.toml"], ["start", "--config", "no.toml"]):
        ended = run(*words, folder=tmp_path)
        assert ended.returncode != 0
        assert "No such file" in ended.stderr and "Traceback" not in ended.stderr


def test_the_effective_configuration_tells_who_gave_what(tmp_path: Path) -> None:
    (tmp_path / "caching-proxy.toml").write_text(RIGHT)
    ended = run("config", "--memory", "1GB", folder=tmp_path, CACHE_TTL="5m")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    for line in (
        "port = 8080  # caching-proxy.toml:2",
        'memory = "1GB"  # command line',
        "cache_ttl = 300  # environment CACHE_TTL",
        "workers = 1  # default",
        'admin_token = "***"  # caching-proxy.toml:3',
        "[origins.api]",
        'url = "https://api.example.com/v1"  # caching-proxy.toml:5',
        'query_drop = ["utm_*"]  # caching-proxy.toml:9',
    ):
        assert line in lines, ended.stdout
    assert "a-secret-of-this-test" not in ended.stdout


def test_what_it_prints_is_a_configuration(tmp_path: Path) -> None:
    """The same one, but for the secret."""
    (tmp_path / "caching-proxy.toml").write_text(RIGHT)
    first = run("config", folder=tmp_path).stdout
    again = tmp_path / "again"
    again.mkdir()
    whole = first.replace('"***"', '"a-secret-of-this-test"')
    (again / "caching-proxy.toml").write_text(whole)
    second = run("config", folder=again)
    assert second.returncode == 0, second.stderr

    def bare(text: str) -> list[str]:
        return [line.partition("  # ")[0] for line in text.splitlines()]

    assert bare(second.stdout) == bare(first)


def test_a_wrong_file_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "caching-proxy.toml").write_text('origin = "http://a"\nport = "x"\n')
    ended = run("start", folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("caching-proxy: caching-proxy.toml:2: port: 'x' is not")
