"""Load, reload, hard reload and the back button: through the proxy as against the origin alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.support.programs import requires_program
from tests.functional.support.proxy import ProxyProcess
from tests.functional.support.scripted_origin import Exchange, Script, ScriptedOrigin, answer

from .chromium import open_tab

# Chromium counts a response head as 300 octets; 0 is no response at all.
PAGE = """<!doctype html><html lang="en"><head><title>loading</title>
<link rel="icon" href="data:,"><script src="/lasting.js"></script><script src="/fixed.js"></script>
<script src="/checked.js"></script></head><body><img id="picture" src="/picture.svg" alt="">
<pre></pre><script>
const part = (path) => fetch(path).then((response) => response.text());
const ways = {0: "kept", 300: "validated"};
const way = (entry) => [entry.responseStatus, ways[entry.transferSize] ?? "whole"];
addEventListener("load", async () => {
  const picture = String(document.getElementById("picture").naturalWidth);
  const fetched = {};
  for (const path of ["/fresh", "/varied", "/missing"]) fetched[path] = await part(path);
  const versions = {page: "VERSION", lasting, fixed, checked, picture, ...fetched};
  const entries = ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind));
  const got = entries.map((entry) => [new URL(entry.name).pathname, way(entry)]);
  const shown = {versions, got: Object.fromEntries(got)};
  document.querySelector("pre").textContent = JSON.stringify(shown, null, 1);
  document.title = "done";
});
</script></body></html>"""
OTHER = "<!doctype html><html><head><title>done</title></head><body>{}</body></html>"
HTML = "text/html"
SCRIPT = "text/javascript"


class Versions:
    """An origin all of whose resources have the version that the test sets."""

    def __init__(self, origin: ScriptedOrigin) -> None:
        self.now = 1
        self.url = origin.url
        svg = '<svg xmlns="http://www.w3.org/2000/svg" width="VERSION" height="1"/>'
        for path, kind, word, text in (
            ("/", HTML, "no-cache", PAGE),
            ("/other", HTML, "no-store", OTHER),
            ("/lasting.js", SCRIPT, "max-age=600", 'const lasting = "VERSION";'),
            ("/fixed.js", SCRIPT, "max-age=600, immutable", 'const fixed = "VERSION";'),
            ("/checked.js", SCRIPT, "no-cache", 'const checked = "VERSION";'),
            ("/picture.svg", "image/svg+xml", "max-age=600", svg),
            ("/fresh", "text/plain", "no-store", "VERSION"),
            ("/varied", "text/plain", "max-age=600", "VERSION"),
            ("/missing", "text/plain", "max-age=600", "VERSION"),
        ):
            origin.on(path, self._resource(kind, word, text))

    def _resource(self, kind: str, word: str, text: str) -> Script:
        def reply(exchange: Exchange) -> None:
            version = str(self.now)
            fields = {"Content-Type": kind, "Cache-Control": word, "ETag": f'"{version}"'}
            fields["Vary"] = "Accept-Language"
            status = "404 Not Found" if exchange.request.target == "/missing" else "200 OK"
            if exchange.request.fields.get("if-none-match") == fields["ETag"]:
                exchange.send(answer("304 Not Modified", fields))
            else:
                exchange.send(answer(status, fields, text.replace("VERSION", version).encode()))

        return reply


async def visit(versions: Versions, url: str, *switches: str) -> dict[str, dict[str, Any]]:
    """What a user sees, step by step, while the origin goes from version to version.

    And how the browser got it: the status, and whether whole, validated or from its own cache.
    """
    seen = {}
    async with open_tab(requires_program("chromium"), *switches) as tab:
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
    """The versions after a hard reload; what a script fetches later by rule is no part of that."""
    later = ("/varied", "/missing")
    return {version for name, version in shown["versions"].items() if name not in later}


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


# The back button takes a page out of the browser's memory, or makes it anew from what it kept.
@pytest.mark.parametrize("memory", ["", "--disable-features=BackForwardCache"])
def test_a_user_sees_the_same_through_the_proxy(
    origin: ScriptedOrigin, proxy: ProxyProcess, memory: str
) -> None:
    versions = Versions(origin)
    switches = [memory] if memory else []
    alone = asyncio.run(visit(versions, versions.url, *switches))
    through = asyncio.run(visit(versions, proxy.url, *switches))
    assert through == alone
    shown = {step: seen["versions"] for step, seen in through.items()}
    got = {step: seen["got"] for step, seen in through.items()}
    assert set(shown["load"].values()) == {"1"}
    assert current(through["hard reload"]) == {"4"}
    assert (shown["reload"]["page"], shown["reload"]["/fresh"]) == ("3", "3")
    assert shown["reload unchanged"] == shown["reload"]
    assert got["load again"]["/lasting.js"] == got["load again"]["/fixed.js"] == [200, "kept"]
    assert got["reload unchanged"]["/"] == got["reload unchanged"]["/checked.js"]
    assert got["reload unchanged"]["/"] == [200, "validated"]
    assert got["load"]["/missing"] == [404, "whole"]
    assert not memory or shown["back"]["/fresh"] == "5"
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
    shown = loaded["versions"]
    assert (shown["lasting"], shown["picture"]) == ("4", "4")
    assert (shown["page"], shown["checked"], shown["/fresh"]) == ("6", "6", "6")
    assert current(reloaded) == {"6"}
