"""What a request can change in the answers of others: nothing that the key or Vary does not name.

The origin reflects all that it gets. One request with a field fills the cache; another without it
shows whether the field got through to somebody else. `explain` must say the same of each field.
"""

from __future__ import annotations

import json

import pytest

from .support.cache_status import ours
from .support.raw_client import RawClient
from .support.scripted_origin import Exchange, ScriptedOrigin, answer
from .support.stand import Stand, StartProxy

MARK = "m4rk"
IN_KEY, DROPPED = "in the key", "not passed on"
PASSES, UNKEYED = "nothing stored is used with it", "passed on, not in the key"

# Field, its value, and what becomes of it.
FIELDS: dict[str, tuple[str, str]] = {
    # the key
    "Accept": (f"text/{MARK}", IN_KEY),
    "Accept-Encoding": ("gzip", IN_KEY),
    "Accept-Language": (MARK[:2], IN_KEY),
    # whose word on host, scheme, URL and client an origin may believe
    "X-Forwarded-For": (MARK, DROPPED),
    "X-Forwarded-Host": (MARK, DROPPED),
    "X-Forwarded-Proto": (MARK, DROPPED),
    "X-Forwarded-Port": (MARK, DROPPED),
    "X-Forwarded-Scheme": (MARK, DROPPED),
    "X-Forwarded-Server": (MARK, DROPPED),
    "X-Forwarded-Prefix": (MARK, DROPPED),
    "X-Forwarded-Path": (MARK, DROPPED),
    "X_Forwarded_Host": (MARK, DROPPED),
    "X-Forwarded_For": (MARK, DROPPED),
    "Forwarded": (f"host={MARK}", DROPPED),
    "X-Host": (MARK, DROPPED),
    "X-Original-Host": (MARK, DROPPED),
    "X-Original-URL": (f"/{MARK}", DROPPED),
    "X-Rewrite-URL": (f"/{MARK}", DROPPED),
    "X-URL-Scheme": (MARK, DROPPED),
    "X-Real-IP": (MARK, DROPPED),
    "X_Original_URL": (f"/{MARK}", DROPPED),
    "Content_Length": ("5", DROPPED),
    # one connection's own
    "Keep-Alive": (f"timeout={MARK}", DROPPED),
    "Proxy-Connection": (MARK, DROPPED),
    "Proxy-Authorization": (f"Basic {MARK}", DROPPED),
    "TE": ("trailers", DROPPED),
    "Trailer": (MARK, DROPPED),
    "Upgrade": (MARK, DROPPED),
    "HTTP2-Settings": (MARK, DROPPED),
    # with these an origin may do something else than GET
    "X-HTTP-Method-Override": ("POST", PASSES),
    "X-HTTP-Method": ("PUT", PASSES),
    "X-Method-Override": ("DELETE", PASSES),
    "If-Match": (f'"{MARK}"', PASSES),
    "If-Unmodified-Since": ("Wed, 01 Jan 2025 00:00:00 GMT", PASSES),
    # as HTTP has it: the origin's Vary has to name them
    "User-Agent": (MARK, UNKEYED),
    "Referer": (f"http://{MARK}/", UNKEYED),
    "Origin": (f"http://{MARK}", UNKEYED),
    "Cookie": (f"a={MARK}", UNKEYED),
    "DNT": ("1", UNKEYED),
    "From": (MARK, UNKEYED),
    "Prefer": (MARK, UNKEYED),
    "Priority": ("u=1", UNKEYED),
    "Save-Data": ("on", UNKEYED),
    "Sec-Fetch-Mode": (MARK, UNKEYED),
    "X-Requested-With": (MARK, UNKEYED),
    "X-Anything": (MARK, UNKEYED),
}


def reflect(exchange: Exchange) -> None:
    """Everything that came, explicitly for everybody."""
    request = exchange.request
    said = {"method": request.method, "target": request.target, "fields": request.fields.lines}
    exchange.send(answer("200 OK", {"Cache-Control": "max-age=600"}, json.dumps(said).encode()))


def told(stand: Stand, name: str, value: str) -> str:
    """What `explain` says of the field."""
    body = json.dumps({"url": "/", "fields": [[name, value]]}).encode()
    with RawClient(("127.0.0.1", stand.proxy.admin_port)) as client:
        report = json.loads(client.request("POST", "/explain", {}, body).body)
    return next(fate for fate, names in report["fields"].items() if name in names)


@pytest.mark.parametrize("name", FIELDS)
def test_what_becomes_of_a_field(stand: Stand, name: str) -> None:
    value, fate = FIELDS[name]
    target = f"/reflected/{name}"
    stand.origin.on(target, reflect)
    stand.proxy.get(target, {name: value})
    reflected = dict(stand.origin.seen(target)[0].fields.lines)
    plain = stand.proxy.get(target)
    reaches = (name.lower(), value) in stand.origin.seen(target)[0].fields.lines
    assert reaches == (fate != DROPPED), reflected
    assert plain.cache == ("HIT" if fate in (DROPPED, UNKEYED) else "MISS")
    assert ((name.lower(), value) in stand.origin.seen(target)[0].fields.lines) == reaches
    assert told(stand, name, value) == fate


def test_what_connection_names_is_dropped(stand: Stand) -> None:
    stand.origin.on("/named", reflect)
    stand.proxy.get("/named", {"Connection": "X-Secret", "X-Secret": MARK})
    assert MARK.encode() not in stand.proxy.get("/named").body


@pytest.mark.parametrize("target", [f"/{MARK}", f"/?{MARK}", f"/a#{MARK}", f"/%{ord('a'):x}{MARK}"])
def test_the_target_is_the_key(stand: Stand, target: str) -> None:
    stand.origin.on("/", reflect)
    with stand.proxy.client() as client:
        client.send(client.head("GET", target))
        client.response()
    response = stand.proxy.get("/")
    assert MARK.encode() not in response.body


def test_another_host_gets_no_other_answer(stand: Stand) -> None:
    """The origin's own name goes upstream, whatever the client says."""
    stand.origin.on("/hosts", reflect)
    stand.proxy.get("/hosts", {"Host": f"{MARK}.example"})
    response = stand.proxy.get("/hosts")
    assert response.cache == "HIT" and MARK.encode() not in response.body


@pytest.mark.parametrize("option", [("--host-header", "client"), ("--forwarded-host",)])
def test_a_host_that_goes_upstream_is_keyed(
    start_proxy: StartProxy, origin: ScriptedOrigin, option: tuple[str, ...]
) -> None:
    proxy = start_proxy(*option)
    origin.on("/hosts", reflect)
    assert MARK.encode() in proxy.get("/hosts", {"Host": f"{MARK}.example"}).body
    response = proxy.get("/hosts")
    assert response.cache == "MISS" and MARK.encode() not in response.body


def test_a_get_with_content_is_nobodys_answer(stand: Stand) -> None:
    stand.origin.on("/fat", reflect)
    stand.proxy.request("GET", "/fat", {}, MARK.encode())
    assert stand.proxy.get("/fat").cache == "MISS"


def test_a_condition_of_one_is_no_answer_for_another(stand: Stand) -> None:
    stand.origin.on("/conditions", reflect)
    fields = {"If-None-Match": f'"{MARK}"', "If-Modified-Since": "Wed, 01 Jan 2025 00:00:00 GMT"}
    stand.proxy.get("/conditions", fields)
    assert MARK.encode() not in stand.proxy.get("/conditions").body


DECEPTIONS = (
    "/account/x.css",
    "/account/%2e%2e/x.js",
    "/account;x.png",
    "/account%2fx.jpg",
    "/account%00.ico",
    "/account/x.html?a.css",
    "//account/x.woff",
)


@pytest.mark.parametrize("normal", [False, True])
@pytest.mark.parametrize("word", ["no-store", "private", "private, max-age=600"])
def test_a_static_looking_path_changes_nothing(
    start_proxy: StartProxy, origin: ScriptedOrigin, normal: bool, word: str
) -> None:
    """Cache deception: what the origin keeps private stays so, whatever its name looks like."""
    proxy = start_proxy(*["--normalize-path"] * normal)
    for target in DECEPTIONS:
        for owner in ("alice", "mallory"):
            private = {"Cache-Control": word}
            for known in (target, "/account/x.css", "/x.js", target.replace("//", "/")):
                origin.on(known, answer("200 OK", private, owner.encode()))
            response = proxy.get(target, {"Cookie": f"id={owner}"})
            assert response.cache == "MISS" and "stored" not in ours(response)
    assert proxy.stats()["entries"] == 0
