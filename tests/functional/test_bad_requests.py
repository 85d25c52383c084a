"""Requests that are not HTTP are refused, never reach the origin, and harm nobody else."""

from __future__ import annotations

import pytest

from .support.raw_client import RawClient
from .support.scripted_origin import fresh
from .support.stand import Stand

GOOD_HOST = b"Host: example.com\r\n"


def _refused(stand: Stand, sent: bytes, *statuses: int) -> None:
    """One of the statuses and a close; the origin sees nothing, the next request is served."""
    with stand.proxy.client() as client:
        client.send(sent)
        response = client.response("GET")
        assert response.status in statuses, (sent[:200], response)
        assert "close" in response.fields["connection"].lower()
        client.expect_closed()
    assert stand.proxy.get("/next").body == b"/next"
    assert stand.origin.targets() == ["/next"], sent[:200]


REQUEST_LINES = [
    b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b" GET / HTTP/1.1", b"GET\t/ HTTP/1.1",
    b"GET / HTTP/1.1 ", b"GET / HTTP/1.1 x", b"GET /", b"GET", b"GET / ", b"/ HTTP/1.1",
    b"GET / HTTP", b"GET / HTTP/", b"GET / HTTP/1", b"GET / HTTP/1.", b"GET / HTTP/.1",
    b"GET / HTTP/1.1.1", b"GET / HTTP/11", b"GET / HTTP/1.10", b"GET / http/1.1",
    b"GET / HTTPS/1.1", b"GET / HTTP/1,1", b"GET / HTTP/ 1.1", b"GET / HTTP /1.1",
    b"GET a HTTP/1.1", b"GET ../a HTTP/1.1", b"GET ?a HTTP/1.1", b"GET * HTTP/1.1",
    b"GET /a b HTTP/1.1", b"GET /a\x00b HTTP/1.1", b"GET /a\x01b HTTP/1.1", b"GET /a\x7fb HTTP/1.1",
    b"GET /a\tb HTTP/1.1", b"GET /a\rb HTTP/1.1", b"GET /\r HTTP/1.1", b"GET /a#b HTTP/1.1",
    b"G@T / HTTP/1.1", b"GET\x00 / HTTP/1.1", b"GET: / HTTP/1.1", b"\x16\x03\x01\x02\x00\x01",
    b"\xff\xfe\x00", b"GET / HTTP/1.1\r", b"HTTP/1.1 200 OK", b"GET http:// HTTP/1.1",
    b"GET http:///a HTTP/1.1", b"GET http:/a HTTP/1.1", b"POST * HTTP/1.1", b"HEAD * HTTP/1.1",
]  # fmt: skip


@pytest.mark.parametrize("line", REQUEST_LINES, ids=repr)
def test_malformed_request_line(stand: Stand, line: bytes) -> None:
    """400; 501 where the method itself cannot be known, 505 for a version that cannot be."""
    _refused(stand, line + b"\r\n" + GOOD_HOST + b"\r\n", 400, 501, 505)


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9"])
def test_versions_that_are_not_ours(stand: Stand, version: bytes) -> None:
    _refused(stand, b"GET / " + version + b"\r\n" + GOOD_HOST + b"\r\n", 400, 505)


def test_http_2_preface(stand: Stand) -> None:
    _refused(stand, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 501, 505)


FIELD_LINES = [
    b"Name", b": value", b" Name: value", b"Name : value", b"Name\t: value", b"Na me: value",
    b"Name\x00: value", b"Na\x00me: value", b"Name: va\x00lue", b"Name: \x00", b"Name: va\rlue",
    b"Name: \rvalue", b"Name: value\r", b"Name\r: value", b"Name: va\x01lue", b"Name: va\x1flue",
    b"Name: va\x7flue", b"Name: va\x0blue", b"N\xe9me: value", b"Na(me: value", b"Na,me: value",
    b"Na/me: value", b"Na@me: value", b"Na[me]: value", b'Na"me: value', b"Na{me: value",
    b"Name: a\r\n b", b"Name: a\r\n\tb", b"Name:\r\n b", b"Name: a\r\n \r\nOther: b",
    b"=: value\x00", b"Name;x: value\x00", b"\x00: x", b"\r: x", b"\x7f: x",
]  # fmt: skip


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("line", FIELD_LINES, ids=repr)
def test_malformed_field_line(stand: Stand, line: bytes, place: str) -> None:
    lines = line + b"\r\n" + GOOD_HOST if place == "first" else GOOD_HOST + line + b"\r\n"
    _refused(stand, b"GET /bad HTTP/1.1\r\n" + lines + b"\r\n", 400)


BARE_LINE_ENDS = [
    b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: b\n\r\n",
    b"GET / HTTP/1.1\rHost: a\r\r",
    b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n",
]


@pytest.mark.parametrize("sent", BARE_LINE_ENDS, ids=repr)
def test_bare_cr_or_lf(stand: Stand, sent: bytes) -> None:
    _refused(stand, sent, 400)


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"X: y\r\n",
        GOOD_HOST + GOOD_HOST,
        GOOD_HOST + b"Host: other.example\r\n",
        GOOD_HOST + b"X: y\r\nhOST: example.com\r\n",
    ],
    ids=repr,
)
def test_no_host_or_two(stand: Stand, lines: bytes) -> None:
    _refused(stand, b"GET /hosts HTTP/1.1\r\n" + lines + b"\r\n", 400)


def test_two_hosts_from_an_http_1_0_client(stand: Stand) -> None:
    _refused(stand, b"GET /hosts HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400)


BAD_HOSTS = [
    b"", b"a b", b"a, b", b"a/b", b"a/", b"user@a", b"user:pw@a", b"a:b", b"a:80:80",
    b"a:-1", b"a:8 0", b"http://a", b"[::1", b"::1", b"[::1]x", b"[::g]", b"[]", b"a?b", b"a#b",
    b"a\\b", b'a"b', b"<a>", b"a%zz", b"a%", b"a^b", b"a|b", b"a\xe9b", b":80", b"a\tb",
]  # fmt: skip


@pytest.mark.parametrize("host", BAD_HOSTS, ids=repr)
def test_malformed_host(stand: Stand, host: bytes) -> None:
    """RFC 9110 7.2, 4.2.1 (an http URI with an empty host is invalid), RFC 3986 3.2."""
    _refused(stand, b"GET /host HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", 400)


GOOD_HOSTS = [
    b"a", b"A.Example", b"a.example.", b"a.example:80", b"a.example:", b"127.0.0.1:1", b"[::1]",
    b"[::1]:8080", b"[2001:DB8::1]", b"a_b", b"xn--bcher-kva.example", b"a-b.c", b"%61", b"a~b",
]  # fmt: skip


@pytest.mark.parametrize("host", GOOD_HOSTS, ids=repr)
def test_wellformed_host(stand: Stand, host: bytes) -> None:
    with stand.proxy.client() as client:
        client.send(b"GET /good HTTP/1.1\r\nHost: \t" + host + b" \r\n\r\n")
        assert client.response().body == b"/good"


VALID_ODDITIES = {
    "no space after the colon": b"X:y\r\n",
    "empty value": b"X:\r\nY: \t \r\n",
    "obs-text": b"X: \xe9\xff\x80\r\n",
    "every token character": b"!#$%&'*+-.^_`|~09azAZ: x\r\n",
    "visible value": b"X: " + bytes(range(0x21, 0x7F)) + b"\r\n",
    "tab inside": b"X: a\tb\r\n",
    "name twice": b"X: a\r\nX: b\r\n",
}


@pytest.mark.parametrize("case", VALID_ODDITIES)
def test_wellformed_oddities_arrive_unchanged(stand: Stand, case: str) -> None:
    lines = VALID_ODDITIES[case]
    with stand.proxy.client() as client:
        client.send(b"GET /odd HTTP/1.1\r\n" + GOOD_HOST + lines + b"\r\n")
        assert client.response().status == 200
    seen = stand.origin.seen("/odd")[0].fields
    for line in lines.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        assert value.strip() in seen.all(name)


def test_a_bad_request_after_good_ones_is_refused_in_turn(stand: Stand) -> None:
    stand.origin.on("/turn/hit", fresh(b"hit"))
    stand.proxy.get("/turn/hit")
    with stand.proxy.client() as client:
        good = client.head("GET", "/turn/hit") + client.head("GET", "/turn/pass")
        client.send(good + b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n" + good)
        bodies = [client.response().body for _ in range(2)]
        assert bodies == [b"hit", b"/turn/pass"]
        assert client.response().status == 400
        client.expect_closed()


# --- methods and forms of the target --------------------------------------------------------------


def test_trace_is_refused(stand: Stand) -> None:
    """It would show a client fields that we or the origin keep from it."""
    with stand.proxy.client() as client:
        client.send(client.head("TRACE", "/trace"))
        assert client.response("TRACE").status in (405, 501)
    assert not stand.origin.requests


@pytest.mark.parametrize("target", [b"example.com:443", b"/path", b"*", b"http://example.com/"])
def test_connect_is_refused(stand: Stand, target: bytes) -> None:
    line = b"CONNECT " + target + b" HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
    with stand.proxy.client() as client:
        client.send(line + b"tunnelled?" + client.head("GET", "/tunnelled"))
        assert client.response().status in (400, 405, 501)
        assert b"/tunnelled" not in client.rest()
    assert not stand.origin.requests


UNKNOWN_METHODS = [b"BREW", b"get", b"GETT", b"GE", b"Post", b"X", b"!#$%&'*+-.^_`|~", b"M" * 200]


@pytest.mark.parametrize("method", UNKNOWN_METHODS, ids=repr)
def test_unknown_methods(stand: Stand, method: bytes) -> None:
    _refused(stand, method + b" /unknown HTTP/1.1\r\n" + GOOD_HOST + b"\r\n", 501)


def test_an_absurd_method(stand: Stand) -> None:
    _refused(stand, b"M" * 40_000 + b" / HTTP/1.1\r\n" + GOOD_HOST + b"\r\n", 400, 414, 431, 501)


KNOWN_METHODS = [
    "DELETE", "PUT", "POST", "PATCH", "OPTIONS", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE",
    "LOCK", "UNLOCK", "SEARCH", "REPORT", "MKCALENDAR", "LINK", "UNLINK", "M-SEARCH",
    "SUBSCRIBE", "NOTIFY", "ACL", "BIND", "REBIND", "CHECKOUT", "MERGE",
]  # fmt: skip


@pytest.mark.parametrize("method", KNOWN_METHODS)
def test_known_methods_are_forwarded_uncached(stand: Stand, method: str) -> None:
    target = f"/method/{method}"
    stand.origin.on(target, fresh(b"1"), fresh(b"2"))
    assert [stand.proxy.request(method, target).body for _ in range(2)] == [b"1", b"2"]
    assert [request.method for request in stand.origin.seen(target)] == [method] * 2


def test_options_for_the_server_itself(stand: Stand) -> None:
    """RFC 9112 3.2.4: `*` stays `*`, and so does an absolute form without a path."""
    for target in ("*", f"http://{stand.proxy.authority}"):
        assert stand.proxy.request("OPTIONS", target).status == 200
    assert stand.origin.targets() == ["*", "*"]


def test_max_forwards_of_options(stand: Stand) -> None:
    """RFC 9110 7.6.2: 0 is answered here, more goes on with one less."""
    assert stand.proxy.request("OPTIONS", "/max", {"Max-Forwards": "0"}).status < 500
    assert not stand.origin.requests
    stand.proxy.request("OPTIONS", "/max", {"Max-Forwards": "3"})
    assert stand.origin.requests[0].fields["max-forwards"] == "2"


def test_absolute_form_for_our_own_authority(stand: Stand) -> None:
    """The authority of the target counts and Host is ignored (RFC 9112 3.2.2)."""
    stand.origin.on("/absolute", fresh(b"same"))
    absolute = f"http://{stand.proxy.authority}/absolute"
    first = stand.proxy.get("/absolute")
    for target in (absolute, absolute.replace("http:", "HTTP:")):
        second = stand.proxy.get(target, {"Host": "other.example"})
        assert (second.cache, second.body) == ("HIT", b"same")
        assert second.fields["x-cache-key"] == first.fields["x-cache-key"]
    assert stand.proxy.get(absolute + "?q=1").body == b"same"
    assert stand.proxy.get(f"http://{stand.proxy.authority}").body == b"/"
    assert stand.proxy.get(f"http://{stand.proxy.authority}?q").body == b"/?q"
    assert stand.origin.targets() == ["/absolute", "/absolute?q=1", "/", "/?q"]


FOREIGN = ["http://other.example/", "http://127.0.0.1:1/", "http://127.0.0.1/", "http://[::1]/x"]


@pytest.mark.parametrize("target", FOREIGN)
def test_absolute_form_for_another_authority(stand: Stand, target: str) -> None:
    response = stand.proxy.get(target)
    assert response.status == 421
    own = {"Host": stand.proxy.authority}
    assert stand.proxy.get(target, own).status == 421, "Host does not make it ours"
    assert not stand.origin.requests


@pytest.mark.parametrize("scheme", ["https", "ftp", "ws", "file"])
def test_absolute_form_of_another_scheme(stand: Stand, scheme: str) -> None:
    target = f"{scheme}://{stand.proxy.authority}/"
    assert stand.proxy.get(target).status in (400, 421)
    assert not stand.origin.requests


def test_absolute_form_with_userinfo(stand: Stand) -> None:
    assert stand.proxy.get(f"http://user:pw@{stand.proxy.authority}/").status in (400, 421)
    assert not stand.origin.requests


def test_absolute_form_still_needs_one_good_host(stand: Stand) -> None:
    target = f"http://{stand.proxy.authority}/".encode()
    _refused(stand, b"GET " + target + b" HTTP/1.1\r\n\r\n", 400)


def test_nothing_at_all(stand: Stand) -> None:
    for sent in (b"", b"\r\n", b"\r\n\r\n"):
        with RawClient(stand.proxy.address) as client:
            client.send(sent)
            client.half_close()
            client.refusal()
    assert stand.proxy.get("/after-nothing").status == 200
    assert stand.origin.targets() == ["/after-nothing"]
