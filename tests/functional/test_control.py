"""The control API over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from .support.messages import Response
from .support.proxy import ProxyProcess
from .support.raw_client import RawClient
from .support.scripted_origin import Exchange, ScriptedOrigin, answer
from .support.stand import StartProxy
from .support.waiting import DEADLINE, wait_until


@pytest.fixture(scope="module")
def idle() -> Iterator[ProxyProcess]:
    process = ProxyProcess("http://127.0.0.1:9")
    yield process
    process.stop()


def ask(idle: ProxyProcess, method: str, path: str, **fields: str) -> Response:
    """One request; a name `Sec_Fetch_Site` is sent as `Sec-Fetch-Site`."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    with RawClient(("127.0.0.1", idle.admin_port)) as client:
        return client.request(method, path, named)


def test_health(idle: ProxyProcess) -> None:
    response = ask(idle, "GET", "/healthz")
    assert (response.status, json.loads(response.body)) == (200, {"status": "ok"})


def test_stats_are_numbers_by_name(idle: ProxyProcess) -> None:
    stats = json.loads(ask(idle, "GET", "/stats").body)
    assert {"entries", "hits", "misses", "hit_ratio"} <= stats.keys()
    assert all(isinstance(value, (int, float)) for value in stats.values())


def test_clear_says_how_many(idle: ProxyProcess) -> None:
    response = ask(idle, "POST", "/clear")
    assert (response.status, json.loads(response.body)) == (200, {"removed": 0})


def test_clear_takes_post_alone(idle: ProxyProcess) -> None:
    response = ask(idle, "GET", "/clear")
    assert (response.status, response.fields["Allow"]) == (405, "POST")


def test_unknown_paths_get_json_too(idle: ProxyProcess) -> None:
    response = ask(idle, "GET", "/etc/passwd")
    assert response.status == 404
    assert "error" in json.loads(response.body)


@pytest.mark.parametrize("path", ["/healthz", "/stats", "/clear"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:3001", "localhost.evil.example"])
def test_a_name_that_is_not_ours_is_refused(idle: ProxyProcess, path: str, host: str) -> None:
    method = "POST" if path == "/clear" else "GET"
    assert ask(idle, method, path, Host=host).status == 421


@pytest.mark.parametrize("host", ["localhost:3001", "127.0.0.1", "[::1]:3001"])
def test_our_own_names_are_served(idle: ProxyProcess, host: str) -> None:
    assert ask(idle, "GET", "/healthz", Host=host).status == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://localhost:1"),
        ("Sec_Fetch_Site", "cross-site"),
        ("Sec_Fetch_Site", "same-site"),
    ],
)
def test_a_page_of_another_site_cannot_clear(idle: ProxyProcess, field: str, value: str) -> None:
    assert ask(idle, "POST", "/clear", **{field: value}).status == 403


def test_a_page_of_ours_can_clear(idle: ProxyProcess) -> None:
    own = f"127.0.0.1:{idle.admin_port}"
    fields = {"Host": own, "Origin": f"http://{own}", "Sec_Fetch_Site": "same-origin"}
    assert ask(idle, "POST", "/clear", **fields).status == 200


def test_nothing_here_is_cached_or_sniffed(idle: ProxyProcess) -> None:
    response = ask(idle, "GET", "/stats")
    assert response.fields["Cache-Control"] == "no-store"
    assert response.fields["X-Content-Type-Options"] == "nosniff"


def test_health_says_when_it_drains(origin: ScriptedOrigin, start_proxy: StartProxy) -> None:
    asked, answered = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        asked.set()
        exchange.wait(answered, "the health check")
        exchange.send(answer(body=b"at last"))

    origin.on("/held", hold)
    proxy = start_proxy("--grace", "30")
    with proxy.client() as client, RawClient(("127.0.0.1", proxy.admin_port)) as observer:
        client.send(client.head("GET", "/held"))
        assert asked.wait(DEADLINE)
        assert observer.get("/healthz").status == 200
        proxy.terminate()
        wait_until(lambda: observer.get("/healthz").status == 503, "the proxy to drain")
        answered.set()
        assert client.response().body == b"at last"
    assert proxy.wait() == 0
