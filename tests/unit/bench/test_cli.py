"""The command line of the benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.support.programs import requires_program

RUN = Path(__file__).resolve().parents[3] / "bench" / "run.py"

# Answers everything with 200 and a short body.
WRONG = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"wrong")
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def run(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RUN), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path} if path is not None else None,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hat"], "no lane hat; there are hit, "),
        (["--rounds", "0"], "argument --rounds"),
        (["--seconds", "x"], "argument --seconds"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_missing_programs_are_named(tmp_path: Path) -> None:
    done = run("hit", path=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("bench: wrk")
    assert "apt-get install wrk" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("false {port}", "bench: caching-proxy did not start: "),
        ("no-such-proxy {port}", "no-such-proxy is not installed"),
        ("proxy {port} {nonsense}", "bench: --command is not usable"),
        ("proxy '{port}", "bench: --command is not usable"),
    ],
)
def test_proxy_that_does_not_start(command: str, message: str) -> None:
    requires_program("wrk")
    requires_program("nginx")
    done = run("hit", "--command", command)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_wrong_proxy_gets_no_figures_and_peers_do(tmp_path: Path) -> None:
    requires_program("wrk")
    requires_program("nginx")
    proxy = tmp_path / "wrong.py"
    proxy.write_text(WRONG)
    command = f"{sys.executable} {proxy} {{port}}"
    done = run("hit-one", "--rounds", "1", "--seconds", "1", "--json", "--command", command)
    assert done.returncode == 1, done.stderr
    (lane,) = json.loads(done.stdout)["lanes"]
    assert "a wrong body of 5 bytes instead of 1024" in lane["failed"]["caching-proxy"]
    assert lane["servers"]["nginx"]["cpu_us"] > 0
    assert "caching-proxy" not in lane["servers"]
