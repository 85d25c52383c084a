"""The control API: health, counters and clearing, for people and tools on this machine."""

from __future__ import annotations

import errno
import ipaddress
import json
import logging
import socket
from typing import Any, Protocol
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from caching_proxy.proxy_server.errors import ListenError

logger = logging.getLogger(__name__)

_SHUTDOWN_TIMEOUT = 0.5  # seconds: an idle proxy ends within one
_MAX_BODY = 1024  # bytes: nothing here reads a request body


class Controlled(Protocol):
    """What the API needs of a proxy."""

    def stats(self) -> dict[str, int | float]:
        """Counters by name."""
        ...

    def clear(self) -> int:
        """Drop every stored response and tell how many there were."""
        ...


class ControlApi:
    """`GET /healthz` (503 while draining), `GET /stats`, `POST /clear`; every answer is JSON."""

    def __init__(self, proxy: Controlled, host: str, port: int) -> None:
        self.draining = False
        self._proxy = proxy
        self._host = host
        self._port = port
        self._runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT
        )

    async def start(self) -> None:
        """Listen; ListenError (one line) when the address or port cannot be had."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self.stop()
            raise ListenError(_cause_and_cure(self._host, self._port, error)) from None

    async def stop(self) -> None:
        """Close the listener and every connection."""
        await self._runner.cleanup()

    @property
    def address(self) -> str:
        """Where it listens, as a URL."""
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _application(self) -> web.Application:
        application = web.Application(
            middlewares=[_answer_errors, self._refuse_foreign], client_max_size=_MAX_BODY
        )
        application.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/stats", self._stats),
                web.post("/clear", self._clear),
            ]
        )
        return application

    async def _health(self, request: web.Request) -> web.Response:
        if self.draining:
            return _json({"status": "draining"}, status=503)
        return _json({"status": "ok"})

    async def _stats(self, request: web.Request) -> web.Response:
        return _json(self._proxy.stats())

    async def _clear(self, request: web.Request) -> web.Response:
        return _json({"removed": self._proxy.clear()})

    @web.middleware
    async def _refuse_foreign(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what a web page elsewhere makes a browser send here.

        A name that is not ours in Host tells DNS rebinding: 421 (RFC 9110 7.4). A request that
        changes something and comes from another site: 403.
        """
        if not self._is_ours(request.headers.get("Host", "")):
            return _json({"error": "Host names another server: use this machine's address"}, 421)
        if request.method not in ("GET", "HEAD") and _is_cross_site(request):
            return _json({"error": "another site's page may not do this"}, 403)
        return await handler(request)

    def _is_ours(self, authority: str) -> bool:
        try:
            name = urlsplit(f"//{authority}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self._host.lower(), socket.gethostname().lower()):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = _json({"error": error.reason}, error.status)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return _json({"error": "this failed; the log tells why"}, 500)


def _is_cross_site(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site", "none")
    origin = request.headers.get("Origin")
    if site not in ("none", "same-origin"):
        return True
    return origin is not None and origin.lower() != f"http://{request.host.lower()}"


def _json(content: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        text=json.dumps(content) + "\n",
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


def _cause_and_cure(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"the admin port {port} of {host} is in use: choose another with --admin-port"
            " (0 takes a free one), or none with --no-admin"
        )
    if error.errno == errno.EACCES:
        return f"the admin port {port} needs rights: choose one above 1023 with --admin-port"
    return f"the control API cannot listen on {host}: choose another --admin-host"
