"""A well-behaved origin on aiohttp, in a thread of its own."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from . import bodies
from .waiting import DEADLINE

ETAG = '"v1"'
LAST_MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"
_LIMIT = 1 << 30


class _UntilClose(web.StreamResponse):
    """A response whose body ends with the connection."""

    _length_check = False


class Site:
    """Endpoints:

    - `/bytes/SIZE?framing=length|chunked|close&cache=CACHE-CONTROL&id=ANY`: the body that belongs
      to the target (`bodies.digest(target, SIZE)`).
    - `/digest`: size and SHA-256 of the request body, and the request as it came, as JSON.
    - `/mirror`: the request body, chunked.
    - `/page`: 200 with ETag and Last-Modified, or 304.
    - `/held/NAME`: half a chunked body, then the other half once `release(NAME)` was called.
    """

    def __init__(self, *routes: web.RouteDef) -> None:
        self.requests: Counter[str] = Counter()
        """Requests a target."""
        self.port = 0
        self._held: dict[str, asyncio.Event] = {}
        self._routes = [
            web.get("/bytes/{size}", self._bytes),
            web.route("*", "/digest", self._digest),
            web.post("/mirror", self._mirror),
            web.get("/page", self._page),
            web.get("/held/{name}", self._hold),
            *routes,
        ]
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="site")
        self._thread.start()
        assert ready.wait(DEADLINE), "the aiohttp origin did not start"
        self.url = f"http://127.0.0.1:{self.port}"

    def release(self, name: str) -> None:
        """Let every `/held/NAME` go on."""
        self._loop.call_soon_threadsafe(self._event(name).set)

    def close(self) -> None:
        """End the server and its thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the aiohttp origin does not end"

    def _run(self, ready: threading.Event) -> None:
        try:
            self._loop.run_until_complete(self._serve(ready))
        finally:
            self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        app = web.Application(client_max_size=_LIMIT, middlewares=[self._count])
        app.add_routes(self._routes)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set()
        await self._end.wait()
        await runner.cleanup()

    @web.middleware
    async def _count(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests[request.raw_path] += 1
        return await handler(request)

    def _event(self, name: str) -> asyncio.Event:
        return self._held.setdefault(name, asyncio.Event())

    async def _bytes(self, request: web.Request) -> web.StreamResponse:
        size = int(request.match_info["size"])
        framing = request.query.get("framing", "length")
        response = _UntilClose() if framing == "close" else web.StreamResponse()
        response.headers["Cache-Control"] = request.query.get("cache", "max-age=600")
        response.content_type = "application/octet-stream"
        if framing == "close":
            response.force_close()
        elif framing == "chunked":
            response.enable_chunked_encoding()
        else:
            response.content_length = size
        await response.prepare(request)
        for piece in bodies.pieces(request.raw_path, size):
            await response.write(piece)
        await response.write_eof()
        return response

    async def _digest(self, request: web.Request) -> web.StreamResponse:
        sha256, size = hashlib.sha256(), 0
        async for piece in request.content.iter_any():
            sha256.update(piece)
            size += len(piece)
        return web.json_response(
            {
                "method": request.method,
                "target": request.raw_path,
                "fields": [[k.decode(), v.decode()] for k, v in request.raw_headers],
                "size": size,
                "sha256": sha256.hexdigest(),
            },
            headers={"Cache-Control": "no-store"},
        )

    async def _mirror(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        fields: dict[str, Any] = {"ETag": ETAG, "Last-Modified": LAST_MODIFIED}
        fields["Cache-Control"] = "max-age=600"
        if request.headers.get("If-None-Match") == ETAG:
            return web.Response(status=304, headers=fields)
        return web.Response(text="a page", headers=fields)

    async def _hold(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        response = web.StreamResponse(headers={"Cache-Control": "max-age=600"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"first half, ")
        await self._event(name).wait()
        await response.write(b"second half")
        await response.write_eof()
        return response
