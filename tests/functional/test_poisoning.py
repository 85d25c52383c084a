"""What a request can change in the answers of others: nothing that the key or Vary does not name.

The origin reflects all that it gets. One request with a field fills the cache; another without it
shows whether the field got through to somebody else. `explain` must say the same of each field.
"""

from __future__ import annotations

import itertools
import json

import pytest

from .support.cache_status import ours
from .support.raw_client import RawClient
from .support.scripted_origin import Exchange, ScriptedOrigin, answer
from .support.stand import Stand, StartProxy

MARK = "m4rk"
IN_KEY, DROPPED = "in the key", "not passed on"
PASSES, UNKEYED = "nothing stored is used with it", "passed on, not in the key"

Lines = list[tuple[str, str]]

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
    "X_HTTP_Method_Override": ("POST", DROPPED),
    "X-Forwarded-SSL": (MARK, DROPPED),
    "Accept_Language": (MARK, DROPPED),
    "Transfer_Encoding": (MARK, DROPPED),
    "Content_Length": ("5", DROPPED),
    # one connection's own
    "Keep-Alive": (f"timeout={MARK}", DROPPED),
    "Proxy-Connection": (MARK, DROPPED),
    "Proxy-Authorization": (f"Basic {MARK}", DROPPED),
    "TE": ("trailers", DROPPED),
    "Trailer": (MARK, DROPPED),
    "Upgrade": (MARK, DROPPED),
    "HTTP2-Settings": (MARK, DROPPED),
    "Expect": ("100-continue", DROPPED),
    # our own conditions go upstream, nobody else's
    "If-None-Match": (f'"{MARK}"', DROPPED),
    "If-Modified-Since": ("Wed, 01 Jan 2025 00:00:00 GMT", DROPPED),
    # with these an origin may do something else than GET
    "X-HTTP-Method-Override": ("POST", PASSES),
    "X-HTTP-Method": ("PUT", PASSES),
    "X-Method-Override": ("DELETE", PASSES),
    "If-Match": (f'"{MARK}"', PASSES),
    "If-Unmodified-Since": ("Wed, 01 Jan 2025 00:00:00 GMT", PASSES),
    # as HTTP has it: the origin's Vary has to name them, or its word has to be private
    **dict.fromkeys(
        (
            *("A-IM", "Accept-Charset", "Accept-Datetime", "Access-Control-Request-Method"),
            *("Alt-Used", "Cache-Control", "CDN-Loop", "Content-Encoding", "Content-Language"),
            *("Content-Type", "Cookie", "Depth", "Destination", "DNT", "Early-Data", "From"),
            *("HX-Request", "If", "Max-Forwards", "Origin", "Overwrite", "Pragma", "Prefer"),
            *("Priority", "Purpose", "Range", "Referer", "RSC", "Save-Data", "Sec-CH-UA"),
            *("Sec-Fetch-Mode", "Sec-GPC", "Surrogate-Capability", "Traceparent", "User-Agent"),
            *("Upgrade-Insecure-Requests", "User_Agent", "Via", "X-Anything", "X-CSRF-Token"),
            *("X-Inertia", "X-PJAX", "X-Request-ID", "X-Requested-With", "X-WAP-Profile"),
        ),
        (MARK, UNKEYED),
    ),
    # a gateway's word on address, scheme, host or URL, for the origin that believes it from anybody
    **dict.fromkeys(
        (
            *("CF-Connecting-IP", "CF-Visitor", "Client-IP", "CloudFront-Forwarded-Proto"),
            *("Fastly-Client-IP", "Fastly-SSL", "Front-End-Https", "Proxy", "True-Client-IP"),
            *("WL-Proxy-Client-IP", "X-Accel-Mapping", "X-ARR-SSL", "X-Backend-Host"),
            *("X-Client-IP", "X-Cluster-Client-IP", "X-Forward-For", "X-HTTP-DestinationURL"),
            *("X-HTTP-Host-Override", "X-Middleware-Subrequest", "X-Original-Method"),
            *("X-Original-URI", "X-Originating-IP", "X-Proto", "X-Remote-Addr", "X-Remote-IP"),
            *("X-Request-URI", "X-Scheme", "X-Script-Name", "X-Server-Name", "X-URI", "X-URL"),
        ),
        (MARK, DROPPED),
    ),
}

CONDITIONS = ("If-None-Match", "If-Modified-Since")


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
    fate: str = next(fate for fate, names in report["fields"].items() if name in names)
    return fate


def went_up(stand: Stand, target: str, fields: dict[str, str]) -> Lines:
    """The field lines of what reached the origin first for the target, asked with these."""
    stand.origin.on(target, reflect)
    stand.proxy.get(target, fields)
    return stand.origin.seen(target)[0].fields.lines


@pytest.mark.parametrize("name", FIELDS)
def test_what_becomes_of_a_field(stand: Stand, name: str) -> None:
    """Asked with the field, then without: does it change what goes up, and do others get that?"""
    value, fate = FIELDS[name]
    with_it = went_up(stand, f"/with/{name}", {name: value})
    without = went_up(stand, f"/without/{name}", {})
    if fate == DROPPED:
        assert with_it == without
    else:
        assert (name.lower(), value) in with_it and len(with_it) > len(without)
    plain = stand.proxy.get(f"/with/{name}")
    assert plain.cache == ("HIT" if fate in (DROPPED, UNKEYED) else "MISS")
    seen: Lines = [(was, said) for was, said in json.loads(plain.body)["fields"]]
    assert seen == (with_it if fate in (DROPPED, UNKEYED) else without)


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in CONDITIONS])
def test_explain_says_what_becomes_of_it(stand: Stand, name: str) -> None:
    """Conditions aside: what is stored decides whether they go up."""
    value, fate = FIELDS[name]
    assert told(stand, name, value) == fate


@pytest.mark.parametrize("word, shared", [("max-age=9", False), ("public, max-age=9", True)])
def test_credentials_are_the_answers_own(stand: Stand, word: str, shared: bool) -> None:
    """RFC 9111 3.5: what was asked with Authorization is for others only by the origin's word."""
    target = f"/credentials/{shared}"
    stand.origin.on(target, answer("200 OK", {"Cache-Control": word}, b"hers"))
    stand.proxy.get(target, {"Authorization": f"Basic {MARK}"})
    assert stand.proxy.get(target).cache == ("HIT" if shared else "MISS")


MALFORMED = (
    "X-Host : a",
    " X-Host: a",
    "X-Host: a\r\n b",
    "X Host: a",
    ": a",
    "X-Host",
    "X-Høst: a",
)


@pytest.mark.parametrize("line", MALFORMED)
def test_a_field_that_others_may_read_differently_is_refused(stand: Stand, line: str) -> None:
    with stand.proxy.client() as client:
        client.send(f"GET /odd HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n".encode("latin-1"))
        refusal = client.refusal()
    assert refusal is not None and refusal.status == 400
    assert not stand.origin.seen("/odd")


@pytest.mark.parametrize("status", ["400", "403", "413", "415", "431", "500", "502", "503"])
def test_an_error_that_one_request_caused_is_not_for_others(stand: Stand, status: str) -> None:
    """A field too long for the origin, say: it is refused to this one alone."""
    target = f"/caused/{status}"
    stand.origin.on(target, answer(f"{status} Refused", {}, b"too much"), answer("200 OK"))
    assert stand.proxy.get(target, {"X-Anything": MARK * 2000}).status == int(status)
    assert stand.proxy.get(target).status == 200


def test_a_gateways_word_goes_up_where_a_setting_names_it(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """Unkeyed, for a proxy behind that gateway; or in the key."""
    proxy = start_proxy("--forward-header", "True-Client-IP", "--key-header", "X-Original-URL")
    origin.on("/named", reflect)
    asked = {"True-Client-IP": "192.0.2.1", "X-Original-URL": "/other", "CF-Connecting-IP": MARK}
    assert proxy.get("/named", asked).cache == "MISS"
    sent = origin.seen("/named")[0].fields
    assert (sent["true-client-ip"], sent["x-original-url"]) == ("192.0.2.1", "/other")
    assert "cf-connecting-ip" not in sent
    assert proxy.get("/named", {**asked, "True-Client-IP": "192.0.2.2"}).cache == "HIT"
    assert proxy.get("/named", {**asked, "X-Original-URL": "/"}).cache == "MISS"
    assert proxy.get("/named").cache == "MISS"


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


# Paths that look static to one who reads them otherwise than the origin does.
DECEPTIONS = (
    *("/account/x.css", "/account/%2e%2e/x.js", "/account;x.png", "/account%2fx.jpg"),
    *("/account%00.ico", "/account/x.html?a.css", "//account/x.woff", "/account%23x.css"),
    *("/account%3fx.css", "/account%2f..%2fstatic/x.js", "/static/..%2faccount", "/account/.css"),
    *("/static/../account?a", "/static/%2e%2e/account", "/account%0ax.css", "/./account/x.css"),
)
# What the origin is asked for instead where --normalize-path resolves them.
RESOLVED = ("/account", "/x.js", "/account/x.woff", "/account%2Fx.jpg", "/account%3Fx.css")
RESOLVED += ("/account%2F..%2Fstatic/x.js", "/static/..%2Faccount", "/account%0Ax.css")


@pytest.mark.parametrize("normal", [False, True])
def test_a_static_looking_path_changes_nothing(
    start_proxy: StartProxy, origin: ScriptedOrigin, normal: bool
) -> None:
    """Cache deception: what the origin keeps private stays so, whatever its name looks like.

    So does what it says nothing about and what answers a cookie.
    """
    proxy = start_proxy(*["--normalize-path"] * normal)
    says = {"status": "", "word": ""}

    def account(exchange: Exchange) -> None:
        whose = exchange.request.fields["cookie"].encode()
        word = {"Cache-Control": says["word"]} if says["word"] else {}
        exchange.send(answer(says["status"], {"Location": "/login", **word}, whose))

    for target in (*DECEPTIONS, *RESOLVED):
        origin.on(target, account)
    for says["status"], says["word"], target, owner in itertools.product(
        ("200 OK", "301 Moved Permanently", "404 Not Found"),
        ("no-store", "private", "private, max-age=600", ""),
        DECEPTIONS,
        ("id=alice", "id=mallory"),
    ):
        response = proxy.get(target, {"Cookie": owner})
        case = (says, target)
        assert (response.cache, response.body.decode()) == ("MISS", owner), case
        assert "stored" not in ours(response), case
    assert proxy.stats()["entries"] == 0


@pytest.mark.parametrize("normal", [False, True])
def test_one_key_is_one_target_at_the_origin(
    start_proxy: StartProxy, origin: ScriptedOrigin, normal: bool
) -> None:
    """Paths share what is stored only where the origin is asked for the very same."""
    proxy = start_proxy(*["--normalize-path"] * normal)

    def shown(exchange: Exchange) -> None:
        asked = exchange.request.target.encode()
        exchange.send(answer("200 OK", {"Cache-Control": "max-age=600"}, asked))

    for target in (*RESOLVED, *DECEPTIONS):
        origin.on(target, shown)
    shared = 0
    for target in (*RESOLVED, *DECEPTIONS):
        stored = proxy.get(target)
        asked = proxy.get(target, {"Cache-Control": "no-cache"})
        assert (stored.status, stored.body) == (asked.status, asked.body)
        shared += stored.cache == "HIT"
    assert (shared > 0) == normal


def test_a_whole_uri_as_target_is_the_key(stand: Stand) -> None:
    """RFC 9112 3.2.2: its authority counts, not Host; a foreign one is not ours to answer."""
    stand.origin.on("/whole", reflect)
    with stand.proxy.client() as client:
        client.send(client.head("GET", f"http://{MARK}.example/whole"))
        client.response()
    response = stand.proxy.get("/whole")
    assert MARK.encode() not in response.body


def test_chunked_content_of_a_get_is_nobodys_answer(stand: Stand) -> None:
    stand.origin.on("/fat-chunked", reflect)
    with stand.proxy.client() as client:
        head = client.head("GET", "/fat-chunked", {"Transfer-Encoding": "chunked"})
        client.send(head, b"4\r\nm4rk\r\n0\r\n\r\n")
        client.response()
    assert stand.proxy.get("/fat-chunked").cache == "MISS"
