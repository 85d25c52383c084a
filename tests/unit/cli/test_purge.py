"""`caching-proxy purge` and the control API that it asks, over a real socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from caching_proxy.cli.main import main
from caching_proxy.control.api import ControlApi
from caching_proxy.proxy_server.fleet import Receipt


class Recorder:
    """A proxy that holds three responses, whatever is asked, and notes what that was."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.held = 3

    async def stats(self) -> dict[str, Any]:
        return {}

    async def clear(self) -> Receipt:
        self.asked.append({"clear": True})
        return Receipt(self.held)

    async def purge(self, selection: Mapping[str, Any]) -> Receipt:
        self.asked.append({name: value for name, value in selection.items() if value})
        return Receipt(self.held)

    async def explain(
        self, method: str, url: str, fields: Sequence[Sequence[str]], content: bytes
    ) -> dict[str, Any]:
        return {}

    async def reload(self) -> dict[str, Any]:
        return {}

    async def drain(self) -> dict[str, Any]:
        return {}


class Served:
    """The control API of a recorder, on a thread of its own."""

    def __init__(self) -> None:
        self.proxy = Recorder()
        self._loop = asyncio.new_event_loop()
        self._api = ControlApi(self.proxy, "127.0.0.1", 0)
        self._loop.run_until_complete(self._api.start())
        self.port = int(self._api.address.rpartition(":")[2])
        self._thread = threading.Thread(target=self._loop.run_forever, name="control API")
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._api.stop())
        self._loop.close()

    def post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/purge", body)
        response = connection.getresponse()
        try:
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["purge", *arguments])
    printed = capsys.readouterr()
    return int(end.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["/a?b=c"], {"url": "/a?b=c"}),
        (["http://example.com/a"], {"url": "http://example.com/a"}),
        (["--prefix", "/shop/"], {"prefix": "/shop/"}),
        (["--tag", "a"], {"tags": ["a"]}),
        (["--tag", "a", "--tag", "big sale"], {"tags": ["a", "big sale"]}),
        (["--group", "scripts"], {"group": "scripts"}),
        (["--all"], {"clear": True}),
        (["/a", "--soft"], {"url": "/a", "soft": True}),
        (["--tag", "a", "--soft"], {"tags": ["a"], "soft": True}),
        (["--all", "--soft"], {"prefix": "/", "soft": True}),
    ],
)
def test_what_the_proxy_is_asked(
    capsys: pytest.CaptureFixture[str], served: Served, arguments: list[str], asked: dict[str, Any]
) -> None:
    status, out, err = run(capsys, *arguments, "--admin-port", str(served.port))
    kind = " (soft)" if asked.get("soft") else ""
    assert (status, out, err) == (0, f"Purged 3 cached responses{kind}.\n", "")
    assert served.proxy.asked == [asked]


def test_one_is_not_several(capsys: pytest.CaptureFixture[str], served: Served) -> None:
    served.proxy.held = 1
    assert run(capsys, "/a", "--admin-port", str(served.port))[1] == "Purged 1 cached response.\n"


@pytest.mark.parametrize("soft", [False, True])
def test_json(capsys: pytest.CaptureFixture[str], served: Served, soft: bool) -> None:
    more = ["--soft"] if soft else []
    status, out, _ = run(capsys, "/a", "--json", "--admin-port", str(served.port), *more)
    assert (status, json.loads(out)) == (0, {"purged": 3, "soft": soft})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["nothing is selected", "--tag"]),
        (["--soft"], ["nothing is selected", "--all"]),
        (["/a", "--all"], ["URL and --all are given", "give a URL"]),
        (["--tag", "a", "--prefix", "/b", "--group", "c"], ["--prefix and --tag and --group"]),
        (["/a", "/b"], ["unexpected", "/b"]),
        (["--tag"], ["--tag", "requires an argument"]),
        (["--tags", "a"], ["--tags", "--tag"]),
        (["/a", "--admin-port", "x"], ["--admin-port", "'x'"]),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("caching-proxy: ")
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["products/1"], "url"),
        ([""], "url"),
        (["ftp://example.com/"], "url"),
        (["--prefix", "shop"], "prefix"),
        (["--tag", " a"], "tag"),
        (["--group", ""], "group"),
        ([f"/{'a' * 70_000}"], "larger"),
    ],
)
def test_what_the_api_refuses_is_told_in_its_words(
    capsys: pytest.CaptureFixture[str], served: Served, arguments: list[str], word: str
) -> None:
    status, out, err = run(capsys, *arguments, "--admin-port", str(served.port))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("caching-proxy: ") and word in err
    assert served.proxy.asked == []


WRONG = [
    (b"", "not a JSON object"),
    (b"[]", "not a JSON object"),
    (b'"/a"', "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"url=/a", "not a JSON object"),
    (b'{"url": "/a"', "not a JSON object"),
    (b'{"url": "/\xff"}', "not a JSON object"),
    (b"[" * 60_000, "not a JSON object"),
    (b"{}", "nothing is selected: give one of url, prefix, tag, group, all"),
    (b'{"soft": true}', "nothing is selected"),
    (b'{"url": "/a", "tag": "b"}', "url and tag are given"),
    (b'{"all": true, "prefix": "/"}', "all and prefix are given"),
    (b'{"url": "/a", "url": "/b"}', "twice"),
    (b'{"urls": ["/a"]}', "'urls': use url, prefix, tag, group, all or soft"),
    (b'{"url": "/a", "Soft": true}', "'Soft'"),
    (b'{"url": "/a", "soft": 1}', "soft"),
    (b'{"url": "/a", "soft": "false"}', "soft"),
    (b'{"all": false}', "all"),
    (b'{"all": 1}', "all"),
    (b'{"url": null}', "url"),
    (b'{"url": ["/a"]}', "url"),
    (b'{"url": "a"}', "url"),
    (b'{"url": "/a b"}', "url"),
    (b'{"url": "/a\\r\\nb"}', "url"),
    (b'{"url": "/a\\u0000"}', "url"),
    (b'{"url": "/\\u00e4"}', "url"),
    (b'{"url": "/a#b"}', "url"),
    (b'{"url": "http://"}', "url"),
    (b'{"url": "http://a,b/"}', "url"),
    (b'{"url": "file:///a"}', "url"),
    (b'{"prefix": ""}', "prefix"),
    (b'{"prefix": "*"}', "prefix"),
    (b'{"tag": []}', "tag"),
    (b'{"tag": ""}', "tag"),
    (b'{"tag": 1}', "tag"),
    (b'{"tag": ["a", 1]}', "tag"),
    (b'{"tag": ["a", "\\ud800"]}', "tag"),
    (b'{"tag": {"a": 1}}', "tag"),
    (b'{"group": ["a"]}', "group"),
    (b'{"group": "a\\n"}', "group"),
    (b'{"group": 1%s}' % (b"0" * 5000), "group"),
]


@pytest.mark.parametrize(("body", "words"), WRONG)
def test_wrong_requests_get_400_with_cause_and_cure(
    served: Served, body: bytes, words: str
) -> None:
    status, answer = served.post(body)
    assert (status, list(answer)) == (400, ["error"])
    assert words in answer["error"] and ": " in answer["error"]
    assert served.proxy.asked == []


def test_a_body_is_bounded(served: Served) -> None:
    status, answer = served.post(b'{"tag": "%s"}' % (b"a" * (1 << 16)))
    assert status == 413
    assert "larger" in answer["error"]
