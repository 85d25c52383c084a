"""Purging: by URL, prefix, tag, group, all; hard and soft; its receipts; who may."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .support.cache_status import ours
from .support.document import Document, ranged
from .support.messages import Response
from .support.proxy import ProxyProcess
from .support.purging import FRESH, Site, fill, no_longer_fresh, post, receipt
from .support.raw_client import RawClient
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy
from .support.waiting import DEADLINE, wait_until

SITE: Site = {
    "/shop": {"Cache-Tag": "a, b"},
    "/shop/1": {"Cache-Tag": "ab"},
    "/shop/1?x=1": {"Surrogate-Key": "a c"},
    "/shopping": {"xkey": "b"},
    "/news": {"Cache-Groups": '"g1", "g2"'},
    "/": {},
}
Purge = Callable[[ProxyProcess], Response]


SHOP = {"/shop", "/shop/1", "/shop/1?x=1", "/shopping"}
SELECTIONS: list[tuple[dict[str, Any], set[str]]] = [
    ({"url": "/shop"}, {"/shop"}),
    ({"url": "/shop/1"}, {"/shop/1"}),
    ({"url": "/shop/1?x=1"}, {"/shop/1?x=1"}),
    ({"url": "/shop/1?x=2"}, set()),
    ({"url": "/shop/"}, set()),
    ({"url": "/"}, {"/"}),
    ({"prefix": "/shop"}, SHOP),
    ({"prefix": "/shop/"}, {"/shop/1", "/shop/1?x=1"}),
    ({"prefix": "/shop/1?"}, {"/shop/1?x=1"}),
    ({"prefix": "/hop"}, set()),
    ({"prefix": "/"}, set(SITE)),
    ({"tag": "a"}, {"/shop", "/shop/1?x=1"}),
    ({"tag": "ab"}, {"/shop/1"}),
    ({"tag": "b"}, {"/shop", "/shopping"}),
    ({"tag": ["a", "b"]}, {"/shop", "/shop/1?x=1", "/shopping"}),
    ({"tag": ["c"]}, {"/shop/1?x=1"}),
    ({"tag": "A"}, set()),
    ({"tag": "a, b"}, set()),
    ({"tag": "a*"}, set()),
    ({"tag": "g1"}, set()),
    ({"group": "g1"}, {"/news"}),
    ({"group": "g"}, set()),
    ({"group": "G1"}, set()),
    ({"group": "a"}, set()),
    ({"all": True}, set(SITE)),
]


@pytest.mark.parametrize(("selection", "expected"), SELECTIONS)
def test_what_is_selected_is_no_longer_stored(
    stand: Stand, selection: dict[str, Any], expected: set[str]
) -> None:
    fill(stand, SITE)
    assert receipt(post(stand.proxy, **selection)) == (len(expected), False)
    assert stand.proxy.stats()["entries"] == len(SITE) - len(expected)
    assert no_longer_fresh(stand, SITE) == expected


@pytest.mark.parametrize(("selection", "expected"), SELECTIONS)
def test_what_is_selected_softly_is_validated(
    stand: Stand, selection: dict[str, Any], expected: set[str]
) -> None:
    fill(stand, SITE)
    assert receipt(post(stand.proxy, **selection, soft=True)) == (len(expected), True)
    for target in SITE:
        response = stand.proxy.get(target)
        assert (response.body, response.cache) == (b"content", "HIT")
        assert ours(response).get("fwd") == ("stale" if target in expected else None)
    assert no_longer_fresh(stand, SITE) == set()


def test_an_absolute_url(stand: Stand) -> None:
    fill(stand, SITE)
    assert receipt(post(stand.proxy, url=f"{stand.proxy.url}/shop/1?x=1")) == (1, False)
    assert no_longer_fresh(stand, SITE) == {"/shop/1?x=1"}


METHOD: list[tuple[str, dict[str, str], set[str]]] = [
    ("/shop", {}, {"/shop"}),
    ("/shop/1?x=1", {}, {"/shop/1?x=1"}),
    ("/elsewhere", {}, set()),
    ("/news", {"Cache-Tag": "a, ab"}, {"/shop", "/shop/1?x=1", "/shop/1"}),
    ("/news", {"Surrogate-Key": "a ab"}, {"/shop", "/shop/1?x=1", "/shop/1"}),
    ("/news", {"xkey": "c"}, {"/shop/1?x=1"}),
    ("/news", {"xkey": "a, ab"}, {"/shop", "/shop/1?x=1", "/shop/1"}),
    ("/news", {"Cache-Tag": "nothing"}, set()),
]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("target", "fields", "expected"), METHOD)
def test_the_method_purge(
    stand: Stand, target: str, fields: dict[str, str], expected: set[str], soft: bool
) -> None:
    fill(stand, SITE)
    more = {"Soft-Purge": "1"} if soft else {}
    response = stand.proxy.request("PURGE", target, {**fields, **more})
    assert receipt(response) == (len(expected), soft)
    left = len(SITE) if soft else len(SITE) - len(expected)
    assert stand.proxy.stats()["entries"] == left
    assert no_longer_fresh(stand, SITE) == expected
    assert "PURGE" not in {request.method for request in stand.origin.requests}


def test_the_connection_goes_on_after_a_purge(stand: Stand) -> None:
    fill(stand, SITE)
    with stand.proxy.client() as client:
        client.send(client.head("PURGE", "/shop") + client.head("GET", "/shop"))
        assert receipt(client.response("PURGE")) == (1, False)
        assert client.response().cache == "MISS"


def test_a_soft_purge_leaves_what_the_origins_failure_needs(stand: Stand) -> None:
    fill(stand, SITE)
    stand.origin.on("/shop", answer("503 Service Unavailable"))
    assert receipt(post(stand.proxy, url="/shop", soft=True)) == (1, True)
    response = stand.proxy.get("/shop")
    assert (response.status, response.body, response.cache) == (200, b"content", "HIT")
    post(stand.proxy, url="/shop")
    assert stand.proxy.get("/shop").status == 503


# --- variants, hosts, base paths, parts -----------------------------------------------------------

VARIANTS = [
    {"Accept-Encoding": "gzip"},
    {"Accept-Encoding": "br"},
    {"Accept-Language": "de"},
    {"Accept": "text/html"},
    {"X-Flavour": "salt"},
    {"X-Flavour": "sweet"},
    {},
]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", ["url", "prefix", "tag", "method"])
def test_all_variants_go(stand: Stand, kind: str, soft: bool) -> None:
    stand.proxy.clear()
    target = f"/variants/{kind}/{soft}"
    varied = {**FRESH, "Vary": "X-Flavour", "Cache-Tag": kind}
    stand.origin.on(target, answer("200 OK", varied, b"x"))
    for fields in VARIANTS:
        stand.proxy.get(target, fields)
    assert {stand.proxy.get(target, fields).cache for fields in VARIANTS} == {"HIT"}
    if kind == "method":
        more = {"Soft-Purge": "1"} if soft else {}
        purged = stand.proxy.request("PURGE", target, more)
    else:
        value = kind if kind == "tag" else target
        purged = post(stand.proxy, soft=soft, **{kind: value})
    assert receipt(purged) == (len(VARIANTS), soft)
    for fields in VARIANTS:
        assert "hit" not in ours(stand.proxy.get(target, fields))


def test_parts_go_too(stand: Stand) -> None:
    stand.origin.on("/part", Document())
    ranged(stand, "/part", "0-9")
    assert ranged(stand, "/part", "0-9").cache == "HIT"
    assert receipt(stand.proxy.request("PURGE", "/part")) == (1, False)
    assert ranged(stand, "/part", "0-9").cache == "MISS"


def test_hosts_that_are_in_the_key(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--host-header", "client")
    a, b = {"Host": "a.example"}, {"Host": "b.example"}
    origin.on("/x", fresh())

    def caches() -> list[str]:
        return [proxy.get("/x", host).cache for host in (a, b)]

    assert [*caches(), *caches()] == ["MISS", "MISS", "HIT", "HIT"]
    assert receipt(proxy.request("PURGE", "/x", a)) == (1, False)
    assert caches() == ["MISS", "HIT"]
    assert receipt(post(proxy, url="http://b.example/x")) == (1, False)
    assert caches() == ["HIT", "MISS"]
    assert receipt(post(proxy, url="http://c.example/x")) == (0, False)
    assert receipt(post(proxy, prefix="/x")) == (2, False)
    assert caches() == ["MISS", "MISS"]


@pytest.mark.parametrize("selection", [{"url": "/x"}, {"prefix": "/x"}, {"prefix": "/"}])
def test_paths_are_those_that_clients_see(
    start_proxy: StartProxy, origin: ScriptedOrigin, selection: dict[str, str]
) -> None:
    proxy = start_proxy(origin=f"{origin.url}/base")
    origin.on("/base/x", fresh())
    proxy.get("/x")
    assert receipt(post(proxy, **selection)) == (1, False)
    assert proxy.get("/x").cache == "MISS"


@pytest.mark.parametrize("workers", [1, 2])
def test_what_an_answer_purges_is_counted_too(
    start_proxy: StartProxy, origin: ScriptedOrigin, workers: int
) -> None:
    """A group of its own site (RFC 9875), at every worker."""
    proxy = start_proxy("--workers", str(workers))
    origin.on("/grouped", answer("200 OK", {**FRESH, "Cache-Groups": '"g"'}, b"old"))
    wait_until(
        lambda: proxy.get("/grouped").cache == "HIT" and proxy.stats()["entries"] == workers,
        "every worker to have stored it",
    )
    origin.on("/act", answer("200 OK", {"Cache-Group-Invalidation": '"g"'}))
    proxy.request("POST", "/act")
    wait_until(lambda: proxy.stats()["entries"] == 0, "every worker to have dropped it")
    assert proxy.stats()["purged"] == workers


# --- fetches under way ----------------------------------------------------------------------------

DURING: dict[str, Purge] = {
    "PURGE": lambda proxy: proxy.request("PURGE", "/x"),
    "soft PURGE": lambda proxy: proxy.request("PURGE", "/x", {"Soft-Purge": "1"}),
    "PURGE by tag": lambda proxy: proxy.request("PURGE", "/", {"Cache-Tag": "t"}),
    "url": lambda proxy: post(proxy, url="/x"),
    "prefix": lambda proxy: post(proxy, prefix="/"),
    "tag": lambda proxy: post(proxy, tag=["s", "t"]),
    "soft tag": lambda proxy: post(proxy, tag="t", soft=True),
    "group": lambda proxy: post(proxy, group="g"),
    "all": lambda proxy: post(proxy, all=True),
    "all softly": lambda proxy: post(proxy, all=True, soft=True),
}


@pytest.mark.parametrize("sent", [0, 1], ids=["before the head", "in the body"])
@pytest.mark.parametrize("kind", DURING)
def test_what_was_asked_for_before_a_purge_is_not_reused_after_it(
    start_proxy: StartProxy, origin: ScriptedOrigin, kind: str, sent: int
) -> None:
    """It may be the old state. Those who asked before get it all the same."""
    asked, purged = threading.Event(), threading.Event()
    fields = {**FRESH, "Cache-Tag": "t", "Cache-Groups": '"g"', "Content-Length": "8"}
    pieces = [answer("200 OK", fields, b"old "), b"body"]

    def slow(exchange: Exchange) -> None:
        exchange.send(*pieces[:sent])
        asked.set()
        exchange.wait(purged, "the purge")
        exchange.send(*pieces[sent:])

    origin.on("/x", slow, fresh(b"new"))
    proxy = start_proxy()
    with proxy.client() as first, proxy.client() as second:
        first.send(first.head("GET", "/x"))
        assert asked.wait(DEADLINE)
        second.send(second.head("GET", "/x"))
        if sent:
            head = first.response_head()
        proxy.barrier()
        receipt(DURING[kind](proxy))
        purged.set()
        response = first.finish(head) if sent else first.response()
        assert response.body == b"old body"
        assert second.response().body in (b"old body", b"new")
    assert proxy.get("/x").body == b"new"


# --- who may, and how to ask ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "source", "allowed"),
    [
        ([], "127.0.0.1", True),
        (["10.0.0.0/8"], "127.0.0.1", False),
        (["10.0.0.0/8", "127.0.0.0/8"], "127.0.0.1", True),
        (["127.0.0.2/32"], "127.0.0.1", False),
        (["127.0.0.2/32"], "127.0.0.2", True),
    ],
)
def test_the_method_is_for_the_networks_set(
    start_proxy: StartProxy,
    origin: ScriptedOrigin,
    networks: list[str],
    source: str,
    allowed: bool,
) -> None:
    proxy = start_proxy(*(word for network in networks for word in ("--purge-from", network)))
    origin.on("/x", answer("200 OK", {**FRESH, "Cache-Tag": "t"}, b"x"))
    proxy.get("/x")
    for fields in ({}, {"Cache-Tag": "t"}, {"Soft-Purge": "1"}):
        with RawClient(proxy.address, source=source) as client:
            response = client.request("PURGE", "/x", fields)
        assert response.status == (200 if allowed else 403)
    assert ("hit" in ours(proxy.get("/x"))) != allowed
    assert "PURGE" not in {request.method for request in origin.requests}


@pytest.mark.parametrize("network", ["10.0.0.0/8", "127.0.0.0/8"])
@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via"])
def test_who_comes_through_somebody_else_is_not_of_a_network(
    start_proxy: StartProxy, origin: ScriptedOrigin, name: str, network: str
) -> None:
    """Neither where it says to come from counts, nor where the one between does."""
    proxy = start_proxy("--purge-from", network)
    origin.on("/x", fresh())
    proxy.get("/x")
    told = {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1", "Via": "1.1 between"}
    assert proxy.request("PURGE", "/x", {name: told[name]}).status == 403
    assert proxy.get("/x").cache == "HIT"


def test_the_admin_port_is_not_bound_to_these_networks(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--purge-from", "10.0.0.0/8")
    origin.on("/x", fresh())
    proxy.get("/x")
    assert receipt(post(proxy, url="/x")) == (1, False)


def test_the_api_takes_post_alone(stand: Stand) -> None:
    with RawClient(("127.0.0.1", stand.proxy.admin_port)) as client:
        response = client.get("/purge")
        assert (response.status, response.fields["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("Origin", "https://evil.example", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Host", "evil.example", 421),
    ],
)
def test_a_page_of_another_site_cannot_purge(
    stand: Stand, field: str, value: str, status: int
) -> None:
    fill(stand, SITE)
    with RawClient(("127.0.0.1", stand.proxy.admin_port)) as client:
        assert client.request("POST", "/purge", {field: value}, b'{"all": true}').status == status
    assert no_longer_fresh(stand, SITE) == set()


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b'{"url": "shop"}', b'{"url": "/shop", "all": true}', b"{" * 60000]
)
def test_a_wrong_request_purges_nothing(stand: Stand, body: bytes) -> None:
    fill(stand, SITE)
    with RawClient(("127.0.0.1", stand.proxy.admin_port)) as client:
        response = client.request("POST", "/purge", {}, body)
    assert response.status == 400
    assert ": " in json.loads(response.body)["error"]
    assert no_longer_fresh(stand, SITE) == set()


def run(stand: Stand, *words: str) -> subprocess.CompletedProcess[str]:
    """`caching-proxy purge` of these words, asking this proxy."""
    command = [sys.executable, "-m", "caching_proxy", "purge", *words]
    return subprocess.run(
        [*command, "--admin-port", str(stand.proxy.admin_port)],
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")},
    )


def test_the_command(stand: Stand) -> None:
    fill(stand, SITE)
    steps = [
        (("/shop",), "Purged 1 cached response.\n"),
        (("/shop",), "Purged 0 cached responses.\n"),
        (("--tag", "a", "--tag", "b", "--soft"), "Purged 2 cached responses (soft).\n"),
        (("--group", "g1"), "Purged 1 cached response.\n"),
        (("--prefix", "/shop/", "--json"), '{"purged": 2, "soft": false}\n'),
        (("--all",), "Purged 2 cached responses.\n"),
    ]
    for words, printed in steps:
        done = run(stand, *words)
        assert (done.returncode, done.stdout, done.stderr) == (0, printed, ""), words
    wrong = run(stand, "shop")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (1, "", 1)
    assert wrong.stderr.startswith("caching-proxy: url ")
