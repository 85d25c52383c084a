"""The demo origin: products as JSON, an image, a slow page, a stream, an error, an echo."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import product
from threading import Event, Thread
from typing import Any

from aiohttp import ETag, web

PRODUCTS = [
    {"id": number, "title": f"{size} {colour} {thing}", "price": 4.5 * number, "stock": 7 * number}
    for number, (thing, size, colour) in enumerate(
        product(("lamp", "chair", "kettle"), ("small", "large"), ("red", "blue")), start=1
    )
]
SLOW = 2.0  # seconds
PIECES = 5
PAUSE = 0.4  # seconds between the pieces of /stream

_INDEX = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Demo origin</title>
<h1>Demo origin</h1><ul>
<li><a href="/products">/products</a>, <a href="/products/1">/products/1</a>: JSON with an ETag
<li><a href="/image">/image</a>: a PNG
<li><a href="/slow">/slow</a>: two seconds to answer
<li><a href="/stream">/stream</a>: a chunked body in pieces, never stored
<li><a href="/error">/error</a>: status 500
<li>POST /echo: the body that was sent
</ul></html>
"""
_STARTED = datetime.now(timezone.utc).replace(microsecond=0)
_routes = web.RouteTableDef()


@_routes.get("/")
async def _index(request: web.Request) -> web.Response:
    return _validated(request, _INDEX.encode(), "text/html")


@_routes.get("/products")
async def _products(request: web.Request) -> web.Response:
    return _json(request, {"products": PRODUCTS, "total": len(PRODUCTS)})


@_routes.get(r"/products/{id:\d+}")
async def _product(request: web.Request) -> web.Response:
    number = int(request.match_info["id"])
    if not 1 <= number <= len(PRODUCTS):
        raise web.HTTPNotFound(text=f"there is no product {number}\n")
    return _json(request, PRODUCTS[number - 1])


@_routes.get("/image")
async def _image(request: web.Request) -> web.Response:
    return _validated(request, _PNG, "image/png")


@_routes.get("/slow")
async def _slow(request: web.Request) -> web.Response:
    await asyncio.sleep(SLOW)
    return _validated(request, b"this took its time\n", "text/plain")


@_routes.get("/stream")
async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Cache-Control": "no-store"})
    response.content_type = "text/plain"
    response.enable_chunked_encoding()
    await response.prepare(request)
    for number in range(1, PIECES + 1):
        await response.write(f"piece {number} of {PIECES} at {time.strftime('%X')}\n".encode())
        await asyncio.sleep(PAUSE)
    return response


@_routes.get("/error")
async def _error(request: web.Request) -> web.Response:
    return web.Response(status=500, text="this page always fails\n")


@_routes.post("/echo")
async def _echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read(), content_type=request.content_type)


def _json(request: web.Request, content: Any) -> web.Response:
    return _validated(request, json.dumps(content).encode() + b"\n", "application/json")


def _validated(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """The body with validators but no explicit freshness, or 304 (RFC 9110 13.1.2)."""
    tag = ETag(hashlib.sha256(body).hexdigest()[:16])
    known = request.if_none_match or ()
    if any(candidate.value in ("*", tag.value) for candidate in known):
        response = web.Response(status=304)
    else:
        response = web.Response(body=body, content_type=content_type)
    response.etag = tag
    response.last_modified = _STARTED
    return response


def _png(side: int = 128) -> bytes:
    """A colour gradient as PNG: signature, header, one compressed image, end."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    step = 256 // side
    rows = (
        b"\0" + bytes(value for x in range(side) for value in (x * step, y * step, 160))
        for y in range(side)
    )
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


_PNG = _png()


def application() -> web.Application:
    """The demo origin as an aiohttp application."""
    app = web.Application()
    app.add_routes(_routes)
    return app


@contextmanager
def running(listener: socket.socket) -> Iterator[None]:
    """Serve the demo origin on a listening socket, in a thread of its own."""
    loop = asyncio.new_event_loop()
    ready = Event()
    ending = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        ready.set()
        await ending.wait()
        await runner.cleanup()

    thread = Thread(target=loop.run_until_complete, args=[serve()], name="demo-origin", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join()
        loop.close()
