"""A proxy with a configuration file that the test rewrites."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from .proxy import ProxyProcess
from .raw_client import RawClient
from .stand import StartProxy
from .waiting import wait_until

TAKEN_OVER = "the configuration is taken over"
NOT_TAKEN_OVER = "the configuration is not taken over"


class Configured:
    """The file, and the proxy that goes by it."""

    def __init__(self, start: StartProxy, folder: Path, text: str, *options: str) -> None:
        self.file = folder / "caching-proxy.toml"
        self.write(text)
        self.proxy: ProxyProcess = start("--config", str(self.file), *options, origin="")

    def write(self, text: str) -> None:
        """Replace the file at once, as editors do."""
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.replace(self.file)

    def reload(self, text: str | None = None) -> None:
        """Rewrite the file, send SIGHUP and wait until it is taken over."""
        if text is not None:
            self.write(text)
        self.signal(TAKEN_OVER)

    def signal(self, expected: str) -> None:
        """Send SIGHUP and wait until the log says so once more."""
        before = self.said(expected)
        self.proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.said(expected) > before, f"{expected!r} in the log")

    def said(self, text: str) -> int:
        return sum(text in line for line in self.proxy.errors().splitlines())

    def post(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and answer of the control API."""
        with RawClient(("127.0.0.1", self.proxy.admin_port)) as client:
            response = client.request("POST", path)
        return response.status, json.loads(response.body)
