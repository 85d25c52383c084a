"""A headless Chromium with a fresh profile, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

DEADLINE = 60.0  # seconds for one step
_SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-extensions", "--remote-debugging-port=0", "--lang=en"),
)
_TITLE_AND_TEXT = "JSON.stringify([document.title, document.body?.innerText ?? ''])"


class Tab:
    """One page. Every step ends when the page says in its title that it is done.

    What a page shows is its text, a JSON object.
    """

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def load(self, url: str) -> dict[str, Any]:
        """Go to the URL; what the page shows."""
        before = await self._origin()
        await self._call("Page.navigate", url=url)
        return await self._shown(before)

    async def reload(self, *, hard: bool = False) -> dict[str, Any]:
        """Press the reload button, with shift where `hard`; what the page shows then."""
        before = await self._origin()
        await self._call("Page.reload", ignoreCache=hard)
        return await self._shown(before)

    async def back(self) -> dict[str, Any]:
        """Press the back button; what the page shows then."""
        history = await self._call("Page.getNavigationHistory")
        entry = history["entries"][history["currentIndex"] - 1]
        before = await self._origin()
        await self._call("Page.navigateToHistoryEntry", entryId=entry["id"])
        return await self._shown(before)

    async def _shown(self, before: float) -> dict[str, Any]:
        """What the page shows that has taken the place of the one with that time origin."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            title, text = json.loads(await self._evaluate(_TITLE_AND_TEXT))
            if await self._origin() != before and title == "done":
                shown: dict[str, Any] = json.loads(text)
                return shown
            await asyncio.sleep(0.02)
        raise TimeoutError(f"the page did not finish; its title is {title!r}")

    async def _origin(self) -> float:
        return float(await self._evaluate("performance.timeOrigin"))

    async def _evaluate(self, expression: str) -> Any:
        answer = await self._call("Runtime.evaluate", expression=expression)
        return answer["result"].get("value", 0)

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await asyncio.wait_for(self._socket.receive_json(), DEADLINE)
            if message.get("id") == number:
                answer: dict[str, Any] = message.get("result", {"result": {}})
                return answer


@asynccontextmanager
async def open_tab(program: str, *switches: str) -> AsyncIterator[Tab]:
    """A tab of a browser of its own, which ends with it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *_SWITCHES, *switches, f"--user-data-dir={profile}", "about:blank"]
        browser = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort", browser)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                    targets = await response.json()
                page = next(target for target in targets if target["type"] == "page")
                async with session.ws_connect(page["webSocketDebuggerUrl"]) as socket:
                    yield Tab(socket)
        finally:
            if browser.returncode is None:
                browser.kill()
            await browser.wait()


async def _port(told: Path, browser: asyncio.subprocess.Process) -> int:
    """The port on which the browser listens, once it says so."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and browser.returncode is None:
        if (port := _read_port(told)) is not None:
            return port
        await asyncio.sleep(0.02)
    raise TimeoutError(f"the browser did not start; its status is {browser.returncode}")


def _read_port(told: Path) -> int | None:
    """The first of two lines, once both are there."""
    text = told.read_text() if told.exists() else ""
    return int(text.split()[0]) if "\n" in text else None
