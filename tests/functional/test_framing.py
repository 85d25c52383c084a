"""Bodies arrive byte for byte: every size, every framing, both directions, many at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from .support import bodies
from .support.messages import Response
from .support.nginx import Nginx
from .support.proxy import ProxyProcess
from .support.raw_client import RawClient, chunked
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.site import Site
from .support.stand import Stand, StartProxy

KB, MB = 1 << 10, 1 << 20
SMALL = (0, 1, KB, 64 * KB, MB)
LARGE = 17 * MB
HUGE = 200 * MB
CLIENTS = 64
PATIENT = 120.0
"""Seconds for a whole test's worth of large bodies."""


def _discard(piece: bytes) -> None:
    """Large bodies are compared by their hash and not kept."""


def _at_once(count: int, work: Callable[..., None], *args: object) -> None:
    """Run work(n, *args) in `count` threads and raise the first failure."""
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(work, n, *args) for n in range(count)]
        for future in futures:
            future.result(PATIENT)


# --- responses ------------------------------------------------------------------------------------


def _sizes(number: int) -> Iterator[int]:
    yield from SMALL
    if number % 16 == 0:
        yield LARGE


def _fetch_all(number: int, proxy: ProxyProcess, framing: str, control: str) -> None:
    expected = ["MISS", "MISS"] if control == "no-store" else ["MISS", "HIT"]
    with proxy.client(timeout=PATIENT) as client:
        for size in _sizes(number):
            target = f"/bytes/{size}?framing={framing}&cache={control}&id={number}"
            responses = [client.get(target, sink=_discard) for _ in range(2)]
            for response in responses:
                assert (response.status, response.size) == (200, size)
                assert response.sha256 == bodies.digest(target, size)
            assert [response.cache for response in responses] == expected, target


@pytest.mark.parametrize("control", ["max-age=600", "no-store"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_responses_over_64_connections_at_once(
    site_proxy: ProxyProcess, framing: str, control: str
) -> None:
    """Miss and hit with max-age, pass with no-store."""
    _at_once(CLIENTS, _fetch_all, site_proxy, framing, control)


def test_64_clients_share_one_large_object(site_proxy: ProxyProcess) -> None:
    target = f"/bytes/{4 * MB}?framing=chunked&shared"

    def fetch(number: int) -> None:
        with site_proxy.client(timeout=PATIENT) as client:
            assert client.get(target, sink=_discard).sha256 == bodies.digest(target, 4 * MB)

    _at_once(CLIENTS, fetch)
    assert site_proxy.get(target).cache == "HIT"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_http_1_0_clients(site_proxy: ProxyProcess, framing: str) -> None:
    """They never get chunked coding; a body of unknown length ends with the connection."""
    for size in (*SMALL, LARGE):
        target = f"/bytes/{size}?framing={framing}&http10"
        for _ in range(2):
            with site_proxy.client(timeout=PATIENT) as client:
                client.send(client.head("GET", target, version="1.0"))
                response = client.response(sink=_discard)
                assert response.framing in ("length", "close")
                assert response.sha256 == bodies.digest(target, size)
                client.expect_closed()


def test_a_huge_response_is_streamed(site_proxy: ProxyProcess) -> None:
    before = site_proxy.memory()
    target = f"/bytes/{HUGE}?framing=chunked&cache=no-store"
    with site_proxy.client(timeout=PATIENT) as client:
        response = client.get(target, sink=_discard)
    assert (response.size, response.sha256) == (HUGE, bodies.digest(target, HUGE))
    assert site_proxy.memory() - before < 64 * MB


def test_a_huge_response_of_known_length_stays_known(site_proxy: ProxyProcess) -> None:
    target = f"/bytes/{HUGE}?framing=length&cache=max-age=600"
    with site_proxy.client(timeout=PATIENT) as client:
        response = client.get(target, sink=_discard)
        assert response.fields["content-length"] == str(HUGE)
        assert response.sha256 == bodies.digest(target, HUGE)
        assert client.get("/page").status == 200, "the connection stays usable"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_huge_response_is_stored_where_it_may_be(
    start_proxy: StartProxy, site: Site, framing: str
) -> None:
    proxy = start_proxy("--memory", "1GB", "--max-object", "256MB", origin=site.url)
    target = f"/bytes/{HUGE}?framing={framing}&cache=max-age=600"
    for cache in ("MISS", "HIT"):
        with proxy.client(timeout=PATIENT) as client:
            response = client.get(target, sink=_discard)
        assert (response.cache, response.size) == (cache, HUGE)
        assert response.sha256 == bodies.digest(target, HUGE)


# --- requests -------------------------------------------------------------------------------------


def _upload(client: RawClient, seed: str, size: int, framing: str) -> Response:
    pieces: Iterable[bytes] = bodies.pieces(seed, size)
    if framing == "length":
        client.send(client.head("POST", "/digest", {"Content-Length": str(size)}), *pieces)
    else:
        client.send(client.head("POST", "/digest", {"Transfer-Encoding": "chunked"}))
        client.send(*chunked(pieces))
    return client.response("POST")


def _check_upload(response: Response, seed: str, size: int) -> None:
    assert response.status == 200, response
    seen = json.loads(response.body)
    assert (seen["size"], seen["sha256"]) == (size, bodies.digest(seed, size))


def _upload_all(number: int, proxy: ProxyProcess, framing: str) -> None:
    with proxy.client(timeout=PATIENT) as client:
        for size in _sizes(number):
            _check_upload(_upload(client, str(number), size, framing), str(number), size)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_requests_over_64_connections_at_once(site_proxy: ProxyProcess, framing: str) -> None:
    _at_once(CLIENTS, _upload_all, site_proxy, framing)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_huge_request_is_streamed(site_proxy: ProxyProcess, framing: str) -> None:
    before = site_proxy.memory()
    with site_proxy.client(timeout=PATIENT) as client:
        _check_upload(_upload(client, "huge", HUGE, framing), "huge", HUGE)
    assert site_proxy.memory() - before < 64 * MB


UPLOADS = {
    "length": ("1.1", {"Content-Length": "5"}, b"hello"),
    "chunked": ("1.1", {"Transfer-Encoding": "chunked"}, b"5\r\nhello\r\n0\r\n\r\n"),
    "HTTP/1.0": ("1.0", {"Content-Length": "5"}, b"hello"),
}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "GET"])
@pytest.mark.parametrize("case", UPLOADS)
def test_any_method_may_have_a_body(stand: Stand, method: str, case: str) -> None:
    """Even GET: the origin sees the body, and the next request is in step."""
    version, fields, body = UPLOADS[case]
    target = f"/upload/{method}/{case}"
    fields = {**fields, "Connection": "keep-alive"}
    with stand.proxy.client() as client:
        client.send(client.head(method, target, fields, version=version) + body)
        assert client.response(method).status == 200
        client.send(client.head("GET", "/upload/next"))
        assert client.response().body == b"/upload/next"
    assert [request.body for request in stand.origin.seen(target)] == [b"hello"]


def test_bodies_are_streamed_both_ways(stand: Stand) -> None:
    """The origin answers each piece; a proxy that collected either body would never get there."""

    def echo(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")
        for _ in range(3):
            exchange.connection.stream.pass_on(5, exchange.send, "a piece of the body")
        exchange.request.framing = "none"

    stand.origin.on("/echo", echo)
    with stand.proxy.client() as client:
        client.send(client.head("POST", "/echo", {"Content-Length": "15"}))
        got: list[bytes] = []
        assert client.response_head("POST").status == 200
        for piece in (b"first", b"again", b"third"):
            client.send(piece)
            client.stream.pass_on(5, got.append, "a piece of the answer")
        assert b"".join(got) == b"firstagainthird"
    assert stand.proxy.get("/echo/next").status == 200


# --- shapes that are easy to get wrong ------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n"
SHAPES = {
    "one byte a chunk": CHUNKED + b"\r\n" + b"".join(chunked([b"%c" % c for c in b"hello"])),
    "extensions": CHUNKED + b'\r\n5;a=b;c="d;\\"e";f\r\nhello\r\n0;last\r\n\r\n',
    "leading zeros": CHUNKED + b"\r\n0005\r\nhello\r\n000\r\n\r\n",
    "case of the size": CHUNKED + b"\r\n00A\r\nhellohello\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"Trailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
    "case of the coding": CHUNKED.replace(b"chunked", b"Chunked") + b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "empty": CHUNKED + b"\r\n0\r\n\r\n",
    "no reason phrase": fresh(b"hello").replace(b"OK", b""),
    "long reason phrase": fresh(b"hello").replace(b"OK", b"All right \xe9, go on"),
    "length with zeros": fresh(b"hello").replace(b"Length: 5", b"Length: 005"),
    "spaces around values": fresh(b"hello").replace(b"Length: 5", b"Length: \t 5 \t"),
}  # fmt: skip


@pytest.mark.parametrize("piecewise", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_responses(stand: Stand, shape: str, piecewise: bool) -> None:
    whole = SHAPES[shape]
    body = {"empty": b"", "case of the size": b"hellohello"}.get(shape, b"hello")
    target = f"/shape/{list(SHAPES).index(shape)}/{piecewise}"

    def send(exchange: Exchange) -> None:
        step = 1 if piecewise else len(whole)
        exchange.send(*(whole[n : n + step] for n in range(0, len(whole), step)))

    stand.origin.on(target, send)
    for cache in ("MISS", "HIT"):
        response = stand.proxy.get(target)
        assert (response.status, response.body, response.cache) == (200, body, cache)


def test_fields_in_trailers_never_become_header_fields(stand: Stand) -> None:
    """RFC 9110 6.5.1: and those of framing and routing are not relayed in trailers either."""
    trailers = b"Content-Length: 99\r\nSet-Cookie: a=1\r\nTransfer-Encoding: x\r\nX-Sum: 1\r\n"
    stand.origin.on("/trailers", CHUNKED + b"\r\n5\r\nhello\r\n0\r\n" + trailers + b"\r\n")
    for _ in range(2):
        response = stand.proxy.get("/trailers")
        assert response.body == b"hello"
        assert "set-cookie" not in response.fields and "x-sum" not in response.fields
        assert not {"content-length", "transfer-encoding"} & {n for n, _ in response.trailers.lines}


def test_a_request_with_extensions_and_trailers(stand: Stand) -> None:
    body = b'3;x="y;z"\r\nhel\r\n02\r\nlo\r\n0\r\nX-Sum: 1\r\nContent-Length: 99\r\n\r\n'
    with stand.proxy.client() as client:
        client.send(client.head("POST", "/with-trailers", {"Transfer-Encoding": "chunked"}) + body)
        assert client.response("POST").status == 200
        assert client.get("/with-trailers/next").status == 200
    request = stand.origin.seen("/with-trailers")[0]
    assert request.body == b"hello"
    assert "x-sum" not in request.fields
    assert "content-length" not in dict(request.trailers.lines)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_statuses_without_a_body(stand: Stand, status: str) -> None:
    """If-Match makes the request one that is passed on with all its conditions."""
    stand.origin.on(f"/{status[:3]}", answer(status, {"ETag": '"a"'}))
    with stand.proxy.client() as client:
        response = client.get(f"/{status[:3]}", {"If-None-Match": '"a"', "If-Match": '"a"'})
        assert (response.status, response.body) == (int(status[:3]), b"")
        assert client.get("/bodyless/next").status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_head_responses_have_framing_but_no_body(stand: Stand, framing: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n{framing}\r\n\r\n".encode()
    target = f"/head-framing/{framing[:8]}"
    stand.origin.on(target, head)
    with stand.proxy.client() as client:
        for _ in range(3):
            assert client.request("HEAD", target).status == 200
        assert client.get("/head-framing/next").body == b"/head-framing/next"
    if framing.startswith("Content-Length"):
        assert stand.proxy.request("HEAD", target).fields["content-length"] == "1000"


def test_nginx_as_origin(nginx: Nginx, start_proxy: StartProxy) -> None:
    """Length, gzip in chunks, conditional requests and many connections against nginx."""
    proxy = start_proxy(origin=nginx.url)
    for size in (0, 1, 64 * KB, MB):
        (nginx.root / f"{size}.bin").write_bytes(bodies.body(str(size), size))
    (nginx.root / "gzip" / "a.txt").write_text("text " * 10_000)
    (nginx.root / "private" / "a.bin").write_bytes(bodies.body("private", MB))

    def fetch(number: int) -> None:
        with proxy.client(timeout=PATIENT) as client:
            for size in (0, 1, 64 * KB, MB):
                assert client.get(f"/{size}.bin").sha256 == bodies.digest(str(size), size)
            assert client.get("/private/a.bin").sha256 == bodies.digest("private", MB)

    _at_once(CLIENTS, fetch)
    page = proxy.get("/1024.bin")
    assert page.status == 404
    stored = proxy.get(f"/{MB}.bin")
    assert stored.cache == "HIT"
    assert proxy.get(f"/{MB}.bin", {"If-None-Match": stored.fields["etag"]}).status == 304
    plain, packed = proxy.get("/gzip/a.txt"), proxy.get("/gzip/a.txt", {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.fields and plain.size == 50_000
    assert packed.fields["content-encoding"] == "gzip" and packed.size < 50_000
    assert proxy.get("/gzip/a.txt", {"Accept-Encoding": "gzip"}).cache == "HIT"


def test_the_origin_may_answer_before_the_body_has_come(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """The answer reaches the client although it is still sending; the connections stay in step."""

    def early(exchange: Exchange) -> None:
        exchange.send(answer("403 Forbidden", {"Connection": "close"}, b"no"))
        exchange.half_close()
        exchange.read_body(_discard)

    proxy = start_proxy()
    origin.on("/early", early)
    with proxy.client() as client:
        client.send(client.head("POST", "/early", {"Content-Length": str(MB)}))
        client.send(b"x" * 1000)
        response = client.response("POST")
        assert (response.status, response.body) == (403, b"no")
    assert proxy.get("/after").status == 200
