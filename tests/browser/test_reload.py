"""Load, reload, hard reload and the back button: through the proxy as against the origin alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.support.programs import requires_program
from tests.functional.support.proxy import ProxyProcess
from tests.functional.support.scripted_origin import Exchange, Script, ScriptedOrigin, answer

from .chromium import open_tab

PAGE = """<!doctype html><html lang="en"><head><title>loading</title>
<script src="/lasting.js"></script><script src="/fixed.js"></script>
<script src="/checked.js"></script></head><body><img id="picture" src="/picture.svg" alt=""><script>
const part = (path) => fetch(path).then((response) => response.text());
addEventListener("load", async () => {
  const picture = document.getElementById("picture").naturalWidth;
  const [fresh, varied] = [await part("/fresh"), await part("/varied")];
  document.title = "done " + JSON.stringify(
    {page: "VERSION", lasting, fixed, checked, picture: String(picture), fresh, varied});
});
</script></body></html>"""
OTHER = "<!doctype html><html><head><title>done {}</title></head><body>elsewhere</body></html>"
HTML = "text/html"
SCRIPT = "text/javascript"


class Versions:
    """An origin all of whose resources have the version that the test sets."""

    def __init__(self, origin: ScriptedOrigin) -> None:
        self.now = 1
        self._lock = threading.Lock()
        self.url = origin.url
        for path, kind, word, text in (
            ("/", HTML, "no-cache", PAGE),
            ("/other", HTML, "no-store", OTHER),
            ("/lasting.js", SCRIPT, "max-age=600", 'const lasting = "VERSION";'),
            ("/fixed.js", SCRIPT, "max-age=600, immutable", 'const fixed = "VERSION";'),
            ("/checked.js", SCRIPT, "no-cache", 'const checked = "VERSION";'),
            (
                "/picture.svg",
                "image/svg+xml",
                "max-age=600",
                '<svg xmlns="http://www.w3.org/2000/svg" width="VERSION" height="1"/>',
            ),
            ("/fresh", "text/plain", "no-store", "VERSION"),
            ("/varied", "text/plain", "max-age=600", "VERSION"),
        ):
            origin.on(path, self._resource(kind, word, text))

    def _resource(self, kind: str, word: str, text: str) -> Script:
        def reply(exchange: Exchange) -> None:
            version = str(self.now)
            fields = {"Content-Type": kind, "Cache-Control": word, "ETag": f'"{version}"'}
            fields["Vary"] = "Accept-Language"
            if exchange.request.fields.get("if-none-match") == fields["ETag"]:
                exchange.send(answer("304 Not Modified", fields))
            else:
                exchange.send(answer("200 OK", fields, text.replace("VERSION", version).encode()))

        return reply


async def visit(versions: Versions, url: str) -> dict[str, dict[str, Any]]:
    """What a user sees, step by step, while the origin goes from version to version."""
    seen = {}
    async with open_tab(requires_program("chromium")) as tab:
        versions.now = 1
        seen["load"] = await tab.load(url)
        versions.now = 2
        seen["load again"] = await tab.load(url)
        versions.now = 3
        seen["reload"] = await tab.reload()
        seen["reload unchanged"] = await tab.reload()
        versions.now = 4
        seen["hard reload"] = await tab.reload(hard=True)
        versions.now = 5
        await tab.load(url + "/other")
        seen["back"] = await tab.back()
    return seen


def current(shown: dict[str, Any]) -> set[str]:
    """The versions after a hard reload; what a script fetches after the load is no part of that."""
    return {version for name, version in shown.items() if name != "varied"}


@pytest.fixture
def origin() -> Iterator[ScriptedOrigin]:
    origin = ScriptedOrigin()
    yield origin
    origin.close()
    assert not origin.faults, "\n".join(origin.faults)


@pytest.fixture
def proxy(origin: ScriptedOrigin) -> Iterator[ProxyProcess]:
    proxy = ProxyProcess(origin.url)
    yield proxy
    proxy.stop()


def test_a_user_sees_the_same_through_the_proxy(
    origin: ScriptedOrigin, proxy: ProxyProcess
) -> None:
    versions = Versions(origin)
    alone = asyncio.run(visit(versions, versions.url))
    through = asyncio.run(visit(versions, proxy.url))
    assert through == alone
    assert set(through["load"].values()) == {"1"}
    assert current(through["hard reload"]) == {"4"}
    assert (through["reload"]["page"], through["reload"]["fresh"]) == ("3", "3")
    assert through["reload unchanged"] == through["reload"]
    assert proxy.stats()["revalidated"] > 0


def test_a_second_user_gets_what_the_first_one_filled(
    origin: ScriptedOrigin, proxy: ProxyProcess
) -> None:
    """And with a hard reload what the origin has now."""

    async def second(versions: Versions) -> tuple[dict[str, Any], dict[str, Any]]:
        async with open_tab(requires_program("chromium")) as tab:
            versions.now = 6
            return await tab.load(proxy.url), await tab.reload(hard=True)

    versions = Versions(origin)
    asyncio.run(visit(versions, proxy.url))
    loaded, reloaded = asyncio.run(second(versions))
    assert (loaded["lasting"], loaded["picture"]) == ("4", "4")
    assert (loaded["page"], loaded["checked"], loaded["fresh"]) == ("6", "6", "6")
    assert current(reloaded) == {"6"}
