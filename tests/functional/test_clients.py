"""Clients that people use: curl, aiohttp, httpx, wrk, pip."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import httpx
import pytest
from aiohttp import web

from .support import bodies
from .support.programs import requires_program
from .support.proxy import ProxyProcess
from .support.site import ETAG, Site
from .support.waiting import DEADLINE

SIZE = 300_000


def _run(*command: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=3 * DEADLINE, env=environment
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_curl(site_proxy: ProxyProcess, tmp_path: Path) -> None:
    curl = (requires_program("curl"), "-sS", "--fail", "--max-time", str(DEADLINE))
    target = f"/bytes/{SIZE}?framing=chunked&for=curl"
    for cache in ("MISS", "HIT"):
        shown = _run(*curl, "-D", "-", "-o", str(tmp_path / cache), site_proxy.url + target)
        assert re.search(rf"(?mi)^x-cache: {cache}\r?$", shown)
        content = (tmp_path / cache).read_bytes()
        assert hashlib.sha256(content).hexdigest() == bodies.digest(target, SIZE)


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_curl_uploads_with_expect(site_proxy: ProxyProcess, tmp_path: Path, version: str) -> None:
    curl = (requires_program("curl"), "-sS", "--fail", "--max-time", str(DEADLINE), version)
    (tmp_path / "body").write_bytes(bodies.body("curl", 3 * SIZE))
    upload = (*curl, "-H", "Expect: 100-continue", "--data-binary", f"@{tmp_path}/body")
    framings = [()] if version == "--http1.0" else [(), ("-H", "Transfer-Encoding: chunked")]
    for framing in framings:
        seen = json.loads(_run(*upload, *framing, site_proxy.url + "/digest"))
        assert (seen["size"], seen["sha256"]) == (3 * SIZE, bodies.digest("curl", 3 * SIZE))


def test_curl_conditional_and_head(site_proxy: ProxyProcess) -> None:
    curl = (requires_program("curl"), "-sS", "--max-time", str(DEADLINE))
    url = site_proxy.url + "/page"
    assert _run(*curl, url, url) == "a page" * 2
    code = ("-o", "-", "-w", "%{http_code}")
    assert _run(*curl, *code, "-H", f"If-None-Match: {ETAG}", url) == "304"
    assert re.search(r"(?i)content-length: 6\r?\n", _run(*curl, "-I", url))


async def test_aiohttp(site_proxy: ProxyProcess) -> None:
    async with aiohttp.ClientSession(site_proxy.url) as session:

        async def fetch(number: int) -> str:
            target = f"/bytes/{SIZE}?framing=chunked&for=aiohttp{number % 4}"
            async with session.get(target) as response:
                assert response.headers["X-Cache"] in ("HIT", "MISS")
                digest = hashlib.sha256(await response.read()).hexdigest()
                assert digest == bodies.digest(response.url.raw_path_qs, SIZE)
                return response.headers["X-Cache-Key"]

        keys = await asyncio.gather(*map(fetch, range(64)))
        assert len(set(keys)) == 4

        async def pieces() -> object:
            for piece in bodies.pieces("aiohttp", SIZE):
                yield piece

        async with session.post("/digest", data=pieces(), expect100=True) as response:
            assert (await response.json())["sha256"] == bodies.digest("aiohttp", SIZE)


async def test_httpx(site_proxy: ProxyProcess) -> None:
    async with httpx.AsyncClient(base_url=site_proxy.url, trust_env=False) as client:
        target = f"/bytes/{SIZE}?framing=chunked&for=httpx"
        for cache in ("MISS", "HIT"):
            response = await client.get(target)
            assert response.headers["x-cache"] == cache
            assert hashlib.sha256(response.content).hexdigest() == bodies.digest(target, SIZE)
        assert (await client.get("/page", headers={"If-None-Match": ETAG})).status_code == 304
        posted = await client.post("/digest", content=bodies.body("httpx", SIZE))
        assert posted.json()["sha256"] == bodies.digest("httpx", SIZE)
        assert (await client.head("/page")).headers["content-length"] == "6"


@pytest.mark.parametrize("target", ["/page", "/bytes/1024?cache=no-store"], ids=["hit", "pass"])
def test_wrk(site_proxy: ProxyProcess, target: str) -> None:
    wrk = requires_program("wrk")
    shown = _run(wrk, "-t1", "-c64", "-d1s", "--timeout", "10s", site_proxy.url + target)
    requests = re.search(r"(\d+) requests in", shown)
    assert requests is not None and int(requests[1]) > 64, shown
    assert "Socket errors" not in shown and "Non-2xx" not in shown, shown


# --- pip ------------------------------------------------------------------------------------------

WHEEL = "tiny_through_proxy-1.0-py3-none-any.whl"
_INFO = "tiny_through_proxy-1.0.dist-info"


def _wheel(path: Path) -> None:
    """The smallest package that pip takes."""
    files = {
        "tiny_through_proxy.py": "VALUE = 42\n",
        f"{_INFO}/METADATA": "Metadata-Version: 2.1\nName: tiny-through-proxy\nVersion: 1.0\n",
        f"{_INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=")
        record.append(f"{name},sha256={digest.decode()},{len(content)}")
    record.append(f"{_INFO}/RECORD,,")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{_INFO}/RECORD", "\n".join(record) + "\n")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Site]:
    """A package index (PEP 503) with one package."""
    wheel = tmp_path / WHEEL
    _wheel(wheel)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    link = f'<a href="/files/{WHEEL}#sha256={digest}">{WHEEL}</a>'
    page = f"<!DOCTYPE html><html><body>{link}</body></html>"

    async def project(request: web.Request) -> web.Response:
        fields = {"Cache-Control": "max-age=600", "Vary": "Accept"}
        return web.Response(text=page, content_type="text/html", headers=fields)

    async def file(request: web.Request) -> web.FileResponse:
        return web.FileResponse(wheel, headers={"Cache-Control": "max-age=600"})

    routes = web.get("/simple/tiny-through-proxy/", project), web.get(f"/files/{WHEEL}", file)
    with closing(Site(*routes)) as site:
        yield site


def test_pip_installs_through_the_proxy(index: Site, tmp_path: Path) -> None:
    proxy = ProxyProcess(index.url)
    try:
        for name in ("first", "second"):
            target = tmp_path / name
            _run(
                *(sys.executable, "-m", "pip", "--isolated", "install", "--no-cache-dir"),
                *("--disable-pip-version-check", "--index-url", proxy.url + "/simple/"),
                *("--target", str(target), "tiny-through-proxy==1.0"),
            )
            assert (target / "tiny_through_proxy.py").read_text() == "VALUE = 42\n"
        assert index.requests[f"/files/{WHEEL}"] == 1, "the second came from the cache"
    finally:
        proxy.stop()
