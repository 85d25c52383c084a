"""Routes: which requests they take, and what becomes of these."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .support.cache_status import ours
from .support.configured import Configured
from .support.raw_client import RawClient
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import StartOrigin, StartProxy

Configure = Callable[..., Configured]


@pytest.fixture
def configure(start_proxy: StartProxy, tmp_path: Path) -> Configure:
    """A proxy in front of an origin, with further lines of the file."""

    def start(text: str, *options: str) -> Configured:
        return Configured(start_proxy, tmp_path, text, *options)

    return start


def named(name: str) -> Callable[[Exchange], None]:
    """Answers with its name and the target that came."""

    def reply(exchange: Exchange) -> None:
        told = f"{name} {exchange.request.target}".encode()
        exchange.send(answer("200 OK", {"Cache-Control": "max-age=600"}, told))

    return reply


MATCHING = """
origin = "{default}"
[origins.other]
url = "{other}"
[[routes]]
{match}
origin = "other"
"""
# What a route matches, and requests: method, target, fields, whether it takes them.
MATCHES: dict[str, tuple[str, list[tuple[str, str, dict[str, str], bool]]]] = {
    "host": (
        'host = "a.example"',
        [
            ("GET", "/x", {"Host": "a.example"}, True),
            ("GET", "/x", {"Host": "A.EXAMPLE:8080"}, True),
            ("GET", "/x", {"Host": "b.example"}, False),
            ("GET", "/x", {"Host": "a.example.org"}, False),
            ("GET", "/x", {"Host": "x.a.example"}, False),
        ],
    ),
    "hosts below": (
        'host = ["*.a.example"]',
        [
            ("GET", "/x", {"Host": "x.a.example"}, True),
            ("GET", "/x", {"Host": "y.x.a.example:1"}, True),
            ("GET", "/x", {"Host": "a.example"}, False),
            ("GET", "/x", {"Host": "xa.example"}, False),
        ],
    ),
    "path": (
        'path = ["/a", "/b/"]',
        [
            ("GET", "/a", {}, True),
            ("GET", "/a?q", {}, True),
            ("GET", "/a/x", {}, True),
            ("GET", "/ab", {}, False),
            ("GET", "/b/x", {}, True),
            ("GET", "/c/a", {}, False),
            ("GET", "/c/../a/x", {}, True),
            ("GET", "/a/../c", {}, False),
            ("GET", "/%61/x", {}, True),
            ("GET", "//a/x", {}, True),
            ("GET", "/a/%2e%2e/c", {}, False),
        ],
    ),
    "pattern": (
        "pattern = '/[0-9]+(\\.png)?'",
        [
            ("GET", "/12", {}, True),
            ("GET", "/12.png", {}, True),
            ("GET", "/12.png?size=1", {}, True),
            ("GET", "/12.jpg", {}, False),
            ("GET", "/x/12", {}, False),
        ],
    ),
    "method": (
        'method = ["GET"]',
        [("GET", "/x", {}, True), ("HEAD", "/x", {}, True), ("POST", "/x", {}, False)],
    ),
    "header": (
        'header = { X-Beta = "yes|1", X-Old = false, X-Any = true }',
        [
            ("GET", "/x", {"X-Beta": "1", "X-Any": ""}, True),
            ("GET", "/x", {"X-Beta": "yes", "X-Any": "a"}, True),
            ("GET", "/x", {"X-Beta": "yes!", "X-Any": "a"}, False),
            ("GET", "/x", {"X-Beta": "yes"}, False),
            ("GET", "/x", {"X-Beta": "yes", "X-Any": "a", "X-Old": "1"}, False),
            ("GET", "/x", {"X-Any": "a"}, False),
        ],
    ),
    "all together": (
        'host = "a.example"\npath = "/a"\nmethod = ["POST"]',
        [
            ("POST", "/a", {"Host": "a.example"}, True),
            ("GET", "/a", {"Host": "a.example"}, False),
            ("POST", "/a", {"Host": "b.example"}, False),
        ],
    ),
}


@pytest.mark.parametrize("case", MATCHES)
def test_which_requests_a_route_takes(
    configure: Configure, start_origin: StartOrigin, case: str
) -> None:
    """Twice each, so that both lanes decide."""
    match, requests = MATCHES[case]
    default, other = start_origin(), start_origin()
    text = MATCHING.format(default=default.url, other=other.url, match=match)
    proxy = configure(text).proxy
    for method, target, fields, taken in requests:
        for origin, name in ((default, "default"), (other, "other")):
            origin.on(target, named(name))
        for _ in range(2):
            response = proxy.request(method, target, fields)
            asked = other if taken else default
            assert asked.seen(target), (target, fields)
            if method == "GET":
                assert response.body.startswith(b"other" if taken else b"default"), target


def test_the_first_route_that_fits_holds(configure: Configure, start_origin: StartOrigin) -> None:
    first, second = start_origin(), start_origin()
    first.on("/a/b", named("first"))
    proxy = configure(f"""
[origins.first]
url = "{first.url}"
[origins.second]
url = "{second.url}"
[[routes]]
path = "/a/b"
origin = "first"
[[routes]]
path = "/a"
origin = "second"
""").proxy
    assert proxy.get("/a/b").body == b"first /a/b"
    assert proxy.get("/a/c").status == 200 and second.seen("/a/c")
    refused = proxy.get("/elsewhere")
    assert refused.status == 404
    assert "no route takes this request" in ours(refused)["detail"]


REWRITES = {
    'strip_prefix = "/api"': {"/api/x?q=1": "/x?q=1", "/api": "/", "/api?q": "/?q"},
    'add_prefix = "/v1"': {"/api/x": "/v1/api/x"},
    'strip_prefix = "/api"\nadd_prefix = "/v2/"': {"/api/x": "/v2/x"},
    "rewrite = '^/api/(\\w+)/(.*)$'\nrewrite_to = '/\\2/\\1'": {"/api/a/b?q=1": "/b/a?q=1"},
    "rewrite = '^/api/'\nrewrite_to = '/x?from=api'": {"/api/y?q=1": "/x?from=apiy&q=1"},
}


@pytest.mark.parametrize("rule", REWRITES)
def test_what_path_goes_upstream(configure: Configure, origin: ScriptedOrigin, rule: str) -> None:
    """And into the key: a purge by the client's path finds what is stored."""
    proxy = configure(f'origin = "{origin.url}"\n[[routes]]\npath = "/api"\n{rule}\n').proxy
    for asked, upstream in REWRITES[rule].items():
        origin.on(upstream, fresh(b"found"))
        assert proxy.get(asked).cache == "MISS"
        assert origin.seen(upstream)
        assert proxy.get(asked).cache == "HIT"
        receipt = json.loads(proxy.request("PURGE", asked).body)
        assert receipt["purged"] == 1
        assert proxy.get(asked).cache == "MISS"


def test_a_purge_by_prefix_goes_through_the_routes(
    configure: Configure, origin: ScriptedOrigin
) -> None:
    proxy = configure(
        f'origin = "{origin.url}"\n[[routes]]\npath = "/api"\nstrip_prefix = "/api"\n'
        'add_prefix = "/v1"\n'
    ).proxy
    for target in ("/v1/a", "/v1/b", "/c"):
        origin.on(target, fresh())
    for asked in ("/api/a", "/api/b", "/c"):
        proxy.get(asked)
    with RawClient(("127.0.0.1", proxy.admin_port)) as client:
        response = client.request("POST", "/purge", {}, b'{"prefix": "/api/"}')
    assert json.loads(response.body)["purged"] == 2
    assert [proxy.get(asked).cache for asked in ("/api/a", "/api/b", "/c")] == [
        *("MISS", "MISS", "HIT")
    ]


LIFETIMES = """
origin = "{url}"
[[routes]]
cache_ttl = "100s"
stale_while_revalidate = "30s"
ttl = [
    {{ status = 404, ttl = "7s" }},
    {{ status = ["5xx", 403], override_ttl = "3s" }},
    {{ type = "image/*", override_ttl = "1d", stale_if_error = "2d" }},
]
"""
# The answer, and its lifetime; None: not stored.
TTLS: dict[str, tuple[bytes, int | None]] = {
    "the route's": (answer("200 OK"), 100),
    "the origin's": (answer("200 OK", {"Cache-Control": "max-age=5"}), 5),
    "by status": (answer("404 Not Found"), 7),
    "by status, stated": (answer("404 Not Found", {"Cache-Control": "max-age=50"}), 50),
    "by class": (answer("503 Service Unavailable", {"Cache-Control": "max-age=50"}), 3),
    "by type": (
        answer("200 OK", {"Content-Type": "image/png; a=b", "Cache-Control": "no-cache"}),
        86400,
    ),
    "never what is private": (
        answer("200 OK", {"Content-Type": "image/png", "Cache-Control": "private"}),
        None,
    ),
    "nor no-store": (
        answer("200 OK", {"Content-Type": "image/png", "Cache-Control": "no-store"}),
        None,
    ),
}


@pytest.mark.parametrize("case", TTLS)
def test_lifetimes_by_status_and_type(
    configure: Configure, origin: ScriptedOrigin, case: str
) -> None:
    sent, lifetime = TTLS[case]
    proxy = configure(LIFETIMES.format(url=origin.url)).proxy
    origin.on("/ttl", sent)
    status = ours(proxy.get("/ttl"))
    assert ("stored" in status) == (lifetime is not None)
    assert lifetime is None or status["ttl"] == str(lifetime)


def test_the_origins_word_can_be_ignored(configure: Configure, origin: ScriptedOrigin) -> None:
    proxy = configure(
        f'origin = "{origin.url}"\n[[routes]]\npath = "/feed"\norigin_cache_control = "ignore"\n'
        'cache_ttl = "1m"\n'
    ).proxy
    private = answer("200 OK", {"Cache-Control": "private, no-store", "Expires": "0"}, b"feed")
    origin.on("/feed", private)
    origin.on("/page", private)
    assert [proxy.get("/feed").cache for _ in range(2)] == ["MISS", "HIT"]
    assert [proxy.get("/page").cache for _ in range(2)] == ["MISS", "MISS"]


BYPASSES = """
origin = "{url}"
[[routes]]
bypass = [
    {{ cookie = "logged_in_*" }},
    {{ header = "X-Preview" }},
    {{ query = "nocache" }},
    {{ path = "^/admin/" }},
    {{ header = "Authorization", path = "^/both/" }},
]
"""
# Target, fields, whether the request goes past what is stored.
PAST: list[tuple[str, dict[str, str], bool]] = [
    ("/page", {}, False),
    ("/page", {"Cookie": "theme=dark"}, False),
    ("/page", {"Cookie": "theme=dark; logged_in_ab12=x"}, True),
    ("/page", {"X-Preview": ""}, True),
    ("/page?nocache=1", {}, True),
    ("/page?cache=1", {}, False),
    ("/admin/x", {}, True),
    ("/both/x", {}, False),
    ("/both/x", {"Authorization": "Basic YTpi"}, True),
]


@pytest.mark.parametrize("target, fields, past", PAST)
def test_requests_that_go_past_the_cache(
    configure: Configure,
    origin: ScriptedOrigin,
    target: str,
    fields: dict[str, str],
    past: bool,
) -> None:
    """Neither answered from it nor stored in it."""
    proxy = configure(BYPASSES.format(url=origin.url)).proxy
    public = {"Cache-Control": "public, max-age=600"}
    origin.on(target.partition("?")[0], answer("200 OK", public, b"stored"))
    assert [proxy.get(target, fields).cache for _ in range(2)] == [
        *("MISS", "MISS" if past else "HIT")
    ]
    assert proxy.stats()["entries"] == (0 if past else 1)


def test_a_route_that_stores_nothing(configure: Configure, origin: ScriptedOrigin) -> None:
    proxy = configure(f'origin = "{origin.url}"\n[[routes]]\npath = "/live"\ncache = false\n').proxy
    origin.on("/live", fresh())
    origin.on("/page", fresh())
    assert [proxy.get("/live").cache for _ in range(2)] == ["MISS", "MISS"]
    assert [proxy.get("/page").cache for _ in range(2)] == ["MISS", "HIT"]


HEADERS = """
origin = "{url}"
[[routes]]
[routes.request_headers]
remove = ["X-Secret"]
set = {{ X-Tenant = "a", User-Agent = "proxy" }}
[routes.response_headers]
remove = ["Server", "X-Powered-By"]
set = {{ X-Frame-Options = "DENY" }}
add = {{ Link = "</b>" }}
"""


def test_fields_are_changed_on_both_sides(configure: Configure, origin: ScriptedOrigin) -> None:
    """From the origin, from the store by either lane, and in a 304 alike."""
    sent = {
        "Cache-Control": "max-age=600",
        "ETag": '"v1"',
        "Server": "x",
        "x-powered-by": "y",
        "X-Frame-Options": "ALLOW",
        "Link": "</a>",
    }
    origin.on("/changed", answer("200 OK", sent, b"0123456789"))
    proxy = configure(HEADERS.format(url=origin.url)).proxy
    asked = {"X-Secret": "s", "X-Tenant": "b", "User-Agent": "client"}
    answers = [
        proxy.get("/changed", asked),
        proxy.get("/changed"),
        proxy.get("/changed", {"Connection": "x"}),
        proxy.get("/changed", {"If-None-Match": '"v1"'}),
        proxy.get("/changed", {"Range": "bytes=1-2"}),
        proxy.request("HEAD", "/changed"),
    ]
    assert [answer.cache for answer in answers] == ["MISS", *["HIT"] * 5]
    assert [answer.status for answer in answers] == [200, 200, 200, 304, 206, 200]
    for response in answers:
        assert "server" not in response.fields and "x-powered-by" not in response.fields
        assert response.fields.all("x-frame-options") == ["DENY"]
        assert response.fields.all("link") == ["</a>", "</b>"]
    (request,) = origin.seen("/changed")
    assert "x-secret" not in request.fields
    assert request.fields.all("x-tenant") == ["a"]
    assert request.fields.all("user-agent") == ["proxy"]


def test_what_is_sent_upstream_by_one_route_is_no_answer_by_another(
    configure: Configure, origin: ScriptedOrigin
) -> None:
    """Both have the same URL upstream; the fields that differ are in the key."""
    proxy = configure(f"""
origin = "{origin.url}"
[[routes]]
header = {{ X-Beta = true }}
request_headers = {{ set = {{ X-Version = "beta" }} }}
""").proxy

    def reply(exchange: Exchange) -> None:
        version = (exchange.request.fields.get("x-version") or "plain").encode()
        exchange.send(answer("200 OK", {"Cache-Control": "max-age=600"}, version))

    origin.on("/page", reply)
    assert proxy.get("/page", {"X-Beta": "1"}).body == b"beta"
    assert proxy.get("/page").body == b"plain"
    assert [proxy.get("/page", {"X-Beta": "1"}).body, proxy.get("/page").body] == [
        *(b"beta", b"plain")
    ]
    assert len(origin.seen("/page")) == 2


def test_purges_are_for_whom_the_route_names(configure: Configure, origin: ScriptedOrigin) -> None:
    proxy = configure(
        f'origin = "{origin.url}"\n[[routes]]\npath = "/locked"\npurge_from = ["192.0.2.0/24"]\n'
    ).proxy
    assert proxy.request("PURGE", "/locked/x").status == 403
    assert proxy.request("PURGE", "/free").status == 200


def test_a_method_of_one_route_is_cached_there_alone(
    configure: Configure, origin: ScriptedOrigin
) -> None:
    proxy = configure(
        f'origin = "{origin.url}"\n[[routes]]\npath = "/graphql"\ncache_method = ["POST"]\n'
    ).proxy
    for target in ("/graphql", "/orders"):
        origin.on(target, fresh())
    assert [proxy.request("POST", "/graphql", {}, b"q").cache for _ in range(2)] == [
        *("MISS", "HIT")
    ]
    for _ in range(2):
        assert "hit" not in ours(proxy.request("POST", "/orders", {}, b"q"))


@pytest.mark.parametrize("host, status", [("a.example", 200), ("b.example", 421)])
def test_a_whole_uri_names_a_host_that_a_route_has(
    configure: Configure, origin: ScriptedOrigin, host: str, status: int
) -> None:
    proxy = configure(f'origin = "{origin.url}"\n[[routes]]\nhost = "a.example"\n').proxy
    with proxy.client() as client:
        client.send(client.head("GET", f"http://{host}/x", {"Host": host}))
        assert client.response().status == status
