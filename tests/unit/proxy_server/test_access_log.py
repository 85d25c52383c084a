"""Lines of the access log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from caching_proxy.proxy_server.access_log import FLUSH_AT, AccessLog

LINE = re.compile(
    r'(\S+) - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(.*)" (\d+|-) (\d+) (\S+)'
)


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    log.hit("192.0.2.1", b"/a", False, 200, 12)
    log.exchange("", b"POST", b'/"\\\xff', 0, 0, "-")
    assert path.read_text() == ""
    log.close()
    found = [LINE.fullmatch(line) for line in path.read_text().splitlines()]
    assert [match.groups() for match in found if match] == [
        ("192.0.2.1", "GET /a HTTP/1.1", "200", "12", "HIT"),
        ("-", 'POST /\\"\\\\\xff HTTP/1.1', "-", "0", "-"),
    ]


def test_it_does_not_gather_without_bound(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    for _ in range(FLUSH_AT // 50):
        log.hit("192.0.2.1", b"/" + b"x" * 50, False, 200, 12)
    assert path.stat().st_size >= FLUSH_AT
    log.close()


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    log = AccessLog("-")
    log.hit("192.0.2.1", b"/a", True, 304, 0)
    log.close()
    assert '"HEAD /a HTTP/1.1" 304 0 HIT' in capsys.readouterr().out
