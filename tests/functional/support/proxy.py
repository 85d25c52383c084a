"""A real proxy process."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .clock import Clock
from .messages import Response
from .raw_client import NO_FIELDS, RawClient
from .waiting import DEADLINE, wait_until

_URL = re.compile(r"https?://(?:\[[^\]\s]+\]|[\w.\-]+):(\d+)")
_ADMIN = re.compile(r"admin\W+http://127\.0\.0\.1:(\d+)")
_COMPLAINTS = ("Traceback", "Exception ignored", "was never awaited", "never retrieved")
_OWN_VARIABLES = ("PROXY_PORT", "CACHE_TTL", "REDIS_HOST", "REDIS_PORT", "CACHE_DIRECTORY")


class ProxyProcess:
    """`caching-proxy start` on a free port, with its admin API on another."""

    def __init__(
        self,
        origin: str,
        *options: str,
        host: str = "127.0.0.1",
        descriptors: int | None = None,
        clock: Clock | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Listens on `host`, or on every interface where that is "".

        `descriptors` is a limit, `more` are variables of the environment.
        """
        self.origin = origin
        self.output: list[str] = []
        """Lines on standard output so far; the first is the banner."""
        self._killed = False
        grace = [] if "--grace" in options else ["--grace", "2"]
        command = self.command(origin)
        if "--no-host" in options:  # the configuration file tells where to listen
            options = tuple(option for option in options if option != "--no-host")
        else:
            command += [*(["--host", host] if host else []), "--port", "0"]
        told = any("redis" in option or option == "--store" for option in options)
        store = [] if told else ["--store", "memory"]
        command += ["--admin-port", "0", *grace, *store, *options]
        if descriptors is not None:
            command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        variables = {**environment(), **(clock.environment if clock else {}), **(more or {})}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=variables
        )
        self._reader = threading.Thread(target=self._read_output, name="proxy output")
        self._reader.start()
        try:
            self.port, self.admin_port = self._addresses()
        except BaseException:
            self.kill()
            raise
        self.address = (host or "127.0.0.1", self.port)
        shown = f"[{host}]" if ":" in host else self.address[0]
        self.authority = f"{shown}:{self.port}"
        self.url = f"http://{self.authority}"

    @staticmethod
    def command(origin: str) -> list[str]:
        """The command line, without further options."""
        named = ["--origin", origin] if origin else []
        return [sys.executable, "-m", "caching_proxy", "start", *named]

    def client(self, **options: Any) -> RawClient:
        """A new connection to the proxy."""
        return RawClient(self.address, **options)

    def get(self, target: str, fields: Mapping[str, str] = NO_FIELDS) -> Response:
        """GET on a connection of its own."""
        return self.request("GET", target, fields)

    def request(
        self, method: str, target: str, fields: Mapping[str, str] = NO_FIELDS, body: bytes = b""
    ) -> Response:
        """One exchange on a connection of its own."""
        with self.client() as client:
            return client.request(method, target, fields, body)

    def barrier(self) -> None:
        """Return when the proxy has read all that was sent to it before.

        A round trip on a new connection: what waited in other sockets when it was accepted is
        read in the same turn of the event loop.
        """
        with self.client() as client:
            client.send(b"BARRIER\r\n\r\n")
            client.refusal()

    def stats(self) -> dict[str, Any]:
        """The counters of the control API's /stats."""
        return self._told("/stats")

    def origins(self) -> list[dict[str, Any]]:
        """What the control API tells of origins and their servers."""
        origins: list[dict[str, Any]] = self._told("/servers")["origins"]
        return origins

    def _told(self, target: str) -> dict[str, Any]:
        with RawClient(("127.0.0.1", self.admin_port)) as client:
            response = client.get(target)
        assert response.status == 200, response
        told: dict[str, Any] = json.loads(response.body)
        return told

    def clear(self) -> Response:
        """Drop every stored response through the control API."""
        with RawClient(("127.0.0.1", self.admin_port)) as client:
            return client.request("POST", "/clear")

    def memory(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match is not None, status
        return int(match[1]) * 1024

    def terminate(self) -> None:
        """Send SIGTERM and return at once."""
        self.process.send_signal(signal.SIGTERM)

    def errors(self) -> str:
        """What it has written to standard error so far."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode()  # the offset is the proxy's too

    def wait(self) -> int:
        """The exit status, once the process has ended."""
        wait_until(lambda: self.process.poll() is not None, "the proxy process to end")
        return self.process.wait()

    def stop(self) -> None:
        """End it by SIGTERM; fail on a traceback or an exit status other than 0.

        Does nothing after `kill`.
        """
        if self._killed:
            return
        try:
            if self.process.poll() is None:
                self.terminate()
            status = self.wait()
        finally:
            output = self.kill()
        assert status == 0, f"exit status {status}\n{output}"
        assert not any(complaint in output for complaint in _COMPLAINTS), output

    def kill(self) -> str:
        """End it whatever happens; return all that it printed."""
        self._killed = True
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        if not self._errors.closed:
            self._errors.seek(0)
            self.output.append(self._errors.read())
            self._errors.close()
        return "\n".join(self.output)

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line.rstrip("\n"))

    def _addresses(self) -> tuple[int, int]:
        """The ports in the banner: after `admin`, and the one that is not the origin's."""

        def announced() -> bool:
            return self.process.poll() is not None or any(map(_ADMIN.search, list(self.output)))

        wait_until(announced, "the start-up banner")
        banner = next(filter(_ADMIN.search, self.output), None)
        assert banner is not None, f"no banner; the proxy printed: {self.kill()}"
        admin = _ADMIN.search(banner)
        assert admin is not None
        banner = re.sub(r"; origin [^;]*", "", banner)
        ours = _URL.search(banner.replace(admin[0], ""))
        assert ours is not None, f"no address of the proxy in the banner: {banner}"
        return int(ours[1]), int(admin[1])


def environment() -> dict[str, str]:
    """Ours, with the package under test on the path and none of the proxy's own variables."""
    found = {k: v for k, v in os.environ.items() if k not in _OWN_VARIABLES}
    found.update(PYTHONFAULTHANDLER="1", PYTHONWARNINGS="error")
    spec = importlib.util.find_spec("caching_proxy")
    assert spec is not None and spec.origin is not None, "caching_proxy is not importable"
    package = str(Path(spec.origin).parent.parent)
    inherited = found.get("PYTHONPATH")
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [package, inherited]))
    return found
