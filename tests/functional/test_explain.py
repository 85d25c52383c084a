"""`explain`: what the running proxy would do with a request, and why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .support.proxy import ProxyProcess
from .support.raw_client import RawClient
from .support.scripted_origin import ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy

APP = Path(__file__).resolve().parents[2] / "app.py"


def explain(proxy: ProxyProcess, url: str, *fields: tuple[str, str], **more: str) -> dict[str, Any]:
    """The report of the admin API."""
    body = json.dumps({"url": url, "fields": fields, **more}).encode()
    with RawClient(("127.0.0.1", proxy.admin_port)) as client:
        response = client.request("POST", "/explain", {}, body)
    report: dict[str, Any] = json.loads(response.body)
    return {**report, "status": response.status}


def test_it_says_what_then_happens(stand: Stand) -> None:
    fields = {"Cache-Control": "max-age=600", "ETag": '"v1"', "Cache-Tag": "a, b"}
    stand.origin.on("/told", answer("200 OK", fields, b"12345"))
    before = explain(stand.proxy, "/told")
    assert before["answer"].startswith("sent to the origin: nothing that answers it is stored")
    assert before["because"] == ["nothing is stored for this URL"]
    response = stand.proxy.get("/told")
    after = explain(stand.proxy, "/told")
    assert after["answer"] == "answered from the store: what is stored is fresh"
    assert after["key"]["digest"] == response.fields["x-cache-key"] == before["key"]["digest"]
    stored = after["stored"]
    assert (stored["lifetime"], stored["lifetime from"]) == (600, "max-age")
    assert (stored["etag"], stored["tags"], stored["length"]) == ('"v1"', ["a", "b"], 5)
    assert len(stand.origin.seen("/told")) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Cache-Control": "private"}, "private"),
        ({"Cache-Control": "no-store"}, "no-store"),
        ({"Cache-Control": "max-age=9", "Vary": "*"}, "vary"),
        ({"Set-Cookie": "a=1"}, "set-cookie"),
        ({"Cache-Control": "max-age=0"}, "stale"),
    ],
)
def test_why_it_was_not_cached(stand: Stand, fields: dict[str, str], reason: str) -> None:
    target = f"/why/{reason}"
    stand.origin.on(target, answer("200 OK", fields, b"x"))
    stand.proxy.get(target)
    because = explain(stand.proxy, target)["because"]
    assert f"the last answer could not be shared: {reason}" in because


def test_requests_that_go_to_the_origin(stand: Stand) -> None:
    stand.origin.on("/asked", fresh())
    stand.proxy.get("/asked")
    refused = explain(stand.proxy, "/asked", ("Cache-Control", "no-cache"))
    assert "does not take" in refused["answer"]
    passed = explain(stand.proxy, "/asked", ("If-Match", '"x"'))
    assert passed["answer"] == "sent to the origin, and not stored"
    assert explain(stand.proxy, "/asked", method="DELETE")["because"] == [
        "the method DELETE is not cached"
    ]
    alone = explain(stand.proxy, "/unknown", ("Cache-Control", "only-if-cached"))
    assert alone["answer"].startswith("refused with 504")
    assert explain(stand.proxy, "/asked", method="TRACE")["answer"].startswith("refused with 405")


def test_variants_are_listed(stand: Stand) -> None:
    vary = {"Cache-Control": "max-age=600", "Vary": "X-Flavour"}
    stand.origin.on("/variants", answer("200 OK", vary, b"x"))
    stand.proxy.get("/variants", {"X-Flavour": "salt"})
    stand.proxy.get("/variants", {"Accept-Language": "de"})
    report = explain(stand.proxy, "/variants")
    assert report["because"] == ["other variants of this URL are stored"]
    assert [variant["vary"] for variant in report["variants"]] == [
        {"x-flavour": None},
        {"x-flavour": "salt"},
    ]
    assert report["variants"][0]["accept-language"] == "de"


def test_what_becomes_of_fields(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--key-header", "X-Country")
    names = ("Accept", "X-Country", "X-Forwarded-Host", "User-Agent", "X-HTTP-Method-Override")
    fields = explain(proxy, "/", *[(name, "x") for name in names])["fields"]
    assert fields == {
        "in the key": ["Accept", "X-Country"],
        "not passed on": ["Host", "X-Forwarded-Host"],
        "passed on, not in the key": ["User-Agent"],
        "nothing stored is used with it": ["X-HTTP-Method-Override"],
    }


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"url": "no path"},
        {"url": "/", "fields": {}},
        {"url": "/", "fields": [["a"]]},
        {"url": "/", "fields": [["a", "b\r\nc: d"]]},
        {"url": "/", "fields": [["a b", "c"]]},
        {"url": "/", "method": 1},
        {"url": "/", "method": "NO SUCH"},
        {"url": "/", "what": 1},
    ],
)
def test_what_is_no_request_is_told(stand: Stand, asked: dict[str, Any]) -> None:
    with RawClient(("127.0.0.1", stand.proxy.admin_port)) as client:
        response = client.request("POST", "/explain", {}, json.dumps(asked).encode())
    assert response.status == 400
    assert json.loads(response.body)["error"]


def test_the_command(stand: Stand) -> None:
    stand.origin.on("/command", fresh())
    stand.proxy.get("/command")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        port = str(stand.proxy.admin_port)
        command = [sys.executable, str(APP), "explain", "--admin-port", port, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    told = run("/command", "-H", "User-Agent: x")
    assert told.returncode == 0
    assert "answered from the store: what is stored is fresh" in told.stdout
    assert "lifetime from: max-age" in told.stdout
    unkeyed = run("--unkeyed").stdout
    assert "in the key: Accept, Accept-Encoding, Accept-Language" in unkeyed
    assert json.loads(run("/command", "--json").stdout)["stored"]["lifetime"] == 600
    wrong = run("/command", "-H", "nonsense")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "caching-proxy: -H 'nonsense' is no field: write 'Name: value'\n"
