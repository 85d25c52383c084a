"""Many clients, one fetch: who shares an answer, who does not, and that nobody waits in vain."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from .support import bodies
from .support.cache_status import ours
from .support.herd import Held, Together, crowd
from .support.messages import IncompleteError, Response
from .support.raw_client import NO_FIELDS, RawClient, chunked
from .support.scripted_origin import Exchange, Script, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy
from .support.waiting import DEADLINE, wait_until

KB, MB = 1 << 10, 1 << 20
ETAG = '"v1"'
STORED = {"Cache-Control": "max-age=600", "ETag": ETAG}
HALVES = b"<first half>", b"<second half>"
HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"
FRAMINGS = {
    "length": (HEAD + b"Content-Length: 25\r\n\r\n<first half>", HALVES[1]),
    "chunked": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nc\r\n<first half>\r\n",
        b"d\r\n<second half>\r\n0\r\n\r\n",
    ),
}


def leader(
    stand: Stand, target: str, script: Held, fields: Mapping[str, str] = NO_FIELDS
) -> RawClient:
    """A client whose request the origin has got and holds."""
    client = stand.proxy.client()
    client.send(client.head("GET", target, fields))
    script.wait_asked()
    return client


def receive(client: RawClient, text: bytes) -> None:
    """Return when that much has come; it stays in the buffer."""
    while text not in client.stream.buffer:
        assert client.stream.fill(repr(text)), f"closed before {text!r}"


def go_stale(stand: Stand, target: str, first: bytes, *later: bytes | Script) -> None:
    """Store the first answer and mark it stale; the rest are for what comes then."""
    stand.origin.on(target, first, *later)
    assert stand.proxy.get(target).cache == "MISS"
    receipt = stand.proxy.request("PURGE", target, {"Soft-Purge": "1"})
    assert b'"purged": 1' in receipt.body


def by_number(exchange: Exchange) -> str:
    return exchange.request.fields["x-number"]


def number(n: int) -> dict[str, str]:
    return {"X-Number": str(n)}


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """As many as this process and those that it starts may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- one fetch for all ----------------------------------------------------------------------------


def test_a_thousand_misses_make_one_request(
    many_descriptors: None, start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    body = bodies.body("herd", 20 * KB)
    held = Held(fresh(body))
    origin.on("/herd", held)
    proxy = start_proxy()
    with crowd(proxy, 1000, "/herd") as clients:
        held.wait_asked()
        held.release()
        responses = [client.response() for client in clients]
    assert len(origin.requests) == 1
    assert all(response.status == 200 and response.body == body for response in responses)
    assert {response.cache for response in responses} == {"MISS"}
    assert sum("collapsed" in ours(response) for response in responses) >= 999
    assert proxy.get("/herd").cache == "HIT"


def test_a_herd_at_a_stale_response_makes_one_validation(stand: Stand) -> None:
    held = Held(answer("304 Not Modified", {"Cache-Control": "max-age=600", "ETag": ETAG}))
    go_stale(stand, "/validated", answer("200 OK", STORED, b"stored"), held)
    with crowd(stand.proxy, 200, "/validated") as clients:
        held.wait_asked()
        held.release()
        responses = [client.response() for client in clients]
    first, second = stand.origin.seen("/validated")
    assert ("if-none-match" in first.fields, second.fields["if-none-match"]) == (False, ETAG)
    assert {(r.status, r.body, r.cache) for r in responses} == {(200, b"stored", "HIT")}
    assert {ours(r)["fwd"] for r in responses} == {"stale"}
    assert {ours(r)["fwd-status"] for r in responses} == {"304"}


def test_a_herd_at_a_response_that_has_changed(stand: Stand) -> None:
    held = Held(answer("200 OK", {"Cache-Control": "max-age=600", "ETag": '"v2"'}, b"new"))
    go_stale(stand, "/changed", answer("200 OK", STORED, b"old"), held)
    with crowd(stand.proxy, 50, "/changed") as clients:
        held.wait_asked()
        held.release()
        responses = [client.response() for client in clients]
    assert len(stand.origin.seen("/changed")) == 2
    assert {(r.status, r.body, r.cache) for r in responses} == {(200, b"new", "MISS")}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_followers_get_what_is_there_while_the_fetch_goes_on(stand: Stand, framing: str) -> None:
    """Those that came before the head, and one that joins in the middle of the body."""
    target = f"/streamed/{framing}"
    held = Held(*FRAMINGS[framing])
    stand.origin.on(target, held)
    with (
        leader(stand, target, held) as first,
        crowd(stand.proxy, 3, target) as followers,
        stand.proxy.client() as late,
    ):
        held.release(0)
        for client in (first, *followers):
            receive(client, HALVES[0])
        late.send(late.head("GET", target))
        receive(late, HALVES[0])
        held.release(1)
        everybody = [client.response() for client in (first, *followers, late)]
    assert [response.body for response in everybody] == [b"".join(HALVES)] * 5
    assert {response.cache for response in everybody} == {"MISS"}
    assert len(stand.origin.seen(target)) == 1
    assert stand.proxy.get(target).cache == "HIT"


def test_conditions_are_each_clients_own(stand: Stand) -> None:
    """RFC 9111 4.3.2: what the shared fetch brings is judged for each request."""
    held = Held(answer("200 OK", {"Cache-Control": "max-age=600", "ETag": ETAG}, b"whole"))
    stand.origin.on("/conditions", held)
    having, outdated = {"If-None-Match": ETAG}, {"If-None-Match": '"v0"'}
    with (
        leader(stand, "/conditions", held, having) as first,
        crowd(stand.proxy, 3, "/conditions", lambda n: ({}, having, outdated)[n]) as followers,
    ):
        held.release()
        responses = [client.response() for client in (first, *followers)]
    assert [response.status for response in responses] == [304, 200, 304, 200]
    assert [response.body for response in responses] == [b"", b"whole", b"", b"whole"]
    assert len(stand.origin.seen("/conditions")) == 1
    assert "if-none-match" not in stand.origin.requests[0].fields


# --- clients that leave, clients that are slow ----------------------------------------------------


@pytest.mark.parametrize("released", [(), (0,)], ids=["before the head", "in the body"])
@pytest.mark.parametrize("leaver", [0, 1], ids=["the first", "a follower"])
def test_one_that_leaves_hurts_nobody(stand: Stand, leaver: int, released: tuple[int, ...]) -> None:
    target = f"/left/{leaver}/{len(released)}"
    held = Held(*FRAMINGS["length"])
    stand.origin.on(target, held)
    with leader(stand, target, held) as first, crowd(stand.proxy, 3, target) as followers:
        clients = [first, *followers]
        if released:
            held.release(*released)
            for client in clients:
                receive(client, HALVES[0])
        clients.pop(leaver).reset()
        wait_until(lambda: stand.proxy.stats()["connections"] == 3, "the proxy to see it go")
        held.release()
        responses = [client.response() for client in clients]
    assert [response.body for response in responses] == [b"".join(HALVES)] * 3
    assert len(stand.origin.seen(target)) == 1
    assert stand.proxy.get(target).cache == "HIT"


def test_a_fetch_ends_when_all_have_left(stand: Stand) -> None:
    stand.origin.on("/deserted", Exchange.wait_for_close, fresh(b"later"))
    with crowd(stand.proxy, 3, "/deserted") as clients:
        wait_until(lambda: stand.origin.seen("/deserted"), "the origin to be asked")
        for client in clients:
            client.reset()
    stand.origin.served_on[0].wait_closed()
    assert stand.proxy.get("/deserted").body == b"later"


@pytest.mark.parametrize("slow", [0, 1], ids=["the first", "a follower"])
def test_a_slow_reader_holds_up_nobody_else(
    start_proxy: StartProxy, origin: ScriptedOrigin, slow: int
) -> None:
    """It reads nothing until the others have all of it."""
    size = 8 * MB
    asked = threading.Event()

    def send(exchange: Exchange) -> None:
        asked.set()
        exchange.send(fresh(bodies.body("slow", size)))

    origin.on("/slow", send)
    proxy = start_proxy("--min-rate", "0")
    with ExitStack() as stack:
        buffers = [4 * KB if n == slow else None for n in range(4)]
        clients = [stack.enter_context(proxy.client(receive_buffer=size)) for size in buffers]
        for client in clients:
            client.send(client.head("GET", "/slow"))
            assert asked.wait(DEADLINE)
        fast = [client for n, client in enumerate(clients) if n != slow]
        digests = [client.response().sha256 for client in fast]
        digests.append(clients[slow].response().sha256)
    assert digests == [bodies.digest("slow", size)] * 4
    assert len(origin.requests) == 1


def test_followers_of_a_body_beyond_max_object_each_get_all_of_it(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """That it is too large shows on the way only; memory stays bounded all the same."""
    size, count = 20 * MB, 6
    gathered = threading.Event()
    used = []

    def send(exchange: Exchange) -> None:
        exchange.wait(gathered, "all to have asked")
        fields = {"Cache-Control": "max-age=600", "Transfer-Encoding": "chunked"}
        exchange.send(answer("200 OK", fields))
        for piece in chunked(bodies.pieces("large", size)):
            exchange.send(piece)
            used.append(proxy.memory())

    origin.on("/large", send)
    proxy = start_proxy("--max-object", "1MB")
    before = proxy.memory()
    with crowd(proxy, count, "/large") as clients, ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(_received, client) for client in clients]
        gathered.set()
        responses = [future.result(4 * DEADLINE) for future in waiting]
    assert {(r.status, r.size, r.sha256) for r in responses} == {
        (200, size, bodies.digest("large", size))
    }
    assert max(used) - before < size
    assert proxy.stats()["entries"] == 0


def _received(client: RawClient) -> Response:
    return client.response(sink=lambda piece: None)


# --- what cannot be shared ------------------------------------------------------------------------

LONG = {"Cache-Control": "max-age=600"}
UNSHAREABLE = {
    "no-store": ("200 OK", {"Cache-Control": "no-store"}),
    "private": ("200 OK", {"Cache-Control": "private, max-age=600"}),
    "Set-Cookie, nothing said": ("200 OK", {"Set-Cookie": "id=1"}),
    "Vary: *": ("200 OK", {**LONG, "Vary": "*"}),
    "Vary on what differs": ("200 OK", {**LONG, "Vary": "X-Number"}),
    "stale, no validator": ("200 OK", {"Cache-Control": "max-age=0"}),
    "not cacheable": ("403 Forbidden", {}),
    "an error": ("500 Internal Server Error", {}),
}


@pytest.mark.parametrize("case", UNSHAREABLE)
def test_an_answer_for_one_alone_releases_the_others_at_once(stand: Stand, case: str) -> None:
    """By its head already; they ask in parallel, since the origin waits until all of them do."""
    count = 30
    target = f"/unshareable/{list(UNSHAREABLE).index(case)}"
    status, fields = UNSHAREABLE[case]
    all_asked = Together(
        count - 1, lambda exchange: answer(status, fields, by_number(exchange).encode())
    )
    whole = answer(status, {**fields, "Content-Length": "6"})
    held = Held(whole + b"for", b" me")
    stand.origin.on(target, held, all_asked)
    with (
        leader(stand, target, held, number(0)) as first,
        crowd(stand.proxy, count - 1, target, lambda n: number(n + 1)) as others,
    ):
        held.release(0)
        responses = [client.response() for client in others]
        held.release(1)
        assert first.response().body == b"for me"
    assert [response.body for response in responses] == [b"%d" % n for n in range(1, count)]
    assert {response.status for response in responses} == {int(status[:3])}
    assert len(stand.origin.seen(target)) == count


def test_followers_of_the_same_variant_share_what_varies(stand: Stand) -> None:
    held = Held(answer("200 OK", {**LONG, "Vary": "X-Number"}, b"for 1"))
    stand.origin.on("/same-variant", held)
    with (
        leader(stand, "/same-variant", held, number(1)) as first,
        crowd(stand.proxy, 5, "/same-variant", lambda n: number(1)) as others,
    ):
        held.release()
        responses = [client.response() for client in (first, *others)]
    assert [response.body for response in responses] == [b"for 1"] * 6
    assert len(stand.origin.seen("/same-variant")) == 1


def test_what_was_unshareable_is_not_waited_for_again(stand: Stand) -> None:
    """The next ones ask at once: not even the head of the first is there before all have."""
    count = 30
    private = {"Cache-Control": "private"}
    together = Together(count, lambda x: answer("200 OK", private, by_number(x).encode()))
    stand.origin.on("/remembered", answer("200 OK", private, b"once"), together)
    stand.proxy.get("/remembered")
    with crowd(stand.proxy, count, "/remembered", number) as clients:
        assert [client.response().body for client in clients] == [b"%d" % n for n in range(count)]


def test_a_storable_answer_ends_the_memory_of_an_unshareable_one(stand: Stand) -> None:
    held = Held(answer("304 Not Modified", STORED))
    stand.origin.on("/forgotten", answer("200 OK", {"Cache-Control": "no-store"}, b"mine"))
    assert stand.proxy.get("/forgotten").body == b"mine"
    go_stale(stand, "/forgotten", answer("200 OK", STORED, b"everybody's"), held)
    with crowd(stand.proxy, 20, "/forgotten") as clients:
        held.wait_asked()
        held.release()
        assert {client.response().body for client in clients} == {b"everybody's"}
    assert len(stand.origin.seen("/forgotten")) == 3


# --- fetches that fail ----------------------------------------------------------------------------


def test_a_failed_fetch_releases_the_others_to_their_own(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """On a proxy's first connection: with an older one, the request would be sent again."""
    count = 20
    stand = Stand(origin, start_proxy())
    held = Held(Exchange.reset)
    stand.origin.on("/failed", held, Together(count - 1, lambda exchange: fresh()))
    with (
        leader(stand, "/failed", held, number(0)) as first,
        crowd(stand.proxy, count - 1, "/failed", lambda n: number(n + 1)) as others,
    ):
        held.release()
        assert first.response().status == 502
        assert {client.response().status for client in others} == {200}


def test_a_failed_validation_leaves_everybody_the_stale_response(stand: Stand) -> None:
    held = Held(Exchange.reset)
    go_stale(stand, "/stale", answer("200 OK", STORED, b"old"), held, Exchange.reset)
    with crowd(stand.proxy, 20, "/stale") as clients:
        held.wait_asked()
        held.release()
        responses = [client.response() for client in clients]
    assert {(r.status, r.body, r.cache) for r in responses} == {(200, b"old", "HIT")}
    assert {ours(response)["fwd"] for response in responses} == {"stale"}
    assert all(ours(response)["detail"] for response in responses)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_everybody_sees_that_a_body_is_cut(stand: Stand, framing: str) -> None:
    target = f"/cut/{framing}"
    held = Held(FRAMINGS[framing][0], Exchange.reset)
    stand.origin.on(target, held, fresh(b"whole"))
    with leader(stand, target, held) as first, crowd(stand.proxy, 5, target) as followers:
        held.release(0)
        for client in (first, *followers):
            receive(client, HALVES[0])
        held.release(1)
        for client in (first, *followers):
            with pytest.raises(IncompleteError) as cut:
                client.response()
            assert cut.value.body == HALVES[0]
    assert stand.proxy.get(target).body == b"whole"


# --- requests that ask for themselves -------------------------------------------------------------

APART = {
    "HEAD": ("HEAD", {}),
    "POST": ("POST", {}),
    "Authorization": ("GET", {"Authorization": "Basic YQ=="}),
    "no-cache": ("GET", {"Cache-Control": "no-cache"}),
    "Pragma": ("GET", {"Pragma": "no-cache"}),
    "Range": ("GET", {"Range": "bytes=0-1"}),
    "If-Match": ("GET", {"If-Match": ETAG}),
    "another language": ("GET", {"Accept-Language": "de"}),
}


@pytest.mark.parametrize("case", APART)
def test_a_request_of_its_own_does_not_join(stand: Stand, case: str) -> None:
    """It is answered while the origin still holds the other."""
    method, fields = APART[case]
    target = f"/apart/{list(APART).index(case)}"
    held = Held(fresh(b"shared"))
    stand.origin.on(target, held, answer("200 OK", {"Cache-Control": "no-store"}, b"own"))
    with leader(stand, target, held) as first:
        response = stand.proxy.request(method, target, fields)
        assert (response.status, response.body) == (200, b"" if method == "HEAD" else b"own")
        held.release()
        assert first.response().body == b"shared"
    assert [r.method for r in stand.origin.seen(target)] == ["GET", method]


@pytest.mark.parametrize("case", ["HEAD", "Authorization", "Range", "another language"])
def test_nobody_joins_a_request_of_its_own(stand: Stand, case: str) -> None:
    method, fields = APART[case]
    target = f"/alone/{list(APART).index(case)}"
    held = Held(answer("204 No Content", {"Cache-Control": "no-store"}))
    stand.origin.on(target, held, fresh(b"shared"))
    with stand.proxy.client() as first:
        first.send(first.head(method, target, fields))
        held.wait_asked()
        assert stand.proxy.get(target).body == b"shared"
        held.release()
        assert first.response(method).status == 204


def test_other_ranges_do_not_join(stand: Stand) -> None:
    def part(first: int, body: bytes) -> bytes:
        place = f"bytes {first}-{first + len(body) - 1}/10"
        fields = {**LONG, "ETag": ETAG, "Content-Range": place}
        return answer("206 Partial Content", fields, body)

    held = Held(part(0, b"01"))
    stand.origin.on("/ranges", held, part(5, b"567"))
    with leader(stand, "/ranges", held, {"Range": "bytes=0-1"}) as first:
        response = stand.proxy.get("/ranges", {"Range": "bytes=5-7"})
        assert (response.status, response.body) == (206, b"567")
        held.release()
        assert first.response().body == b"01"


# --- what was made for one ------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["no-cache", "max-age=0", "max-age=0, must-revalidate"])
def test_an_answer_to_be_validated_is_nobody_elses(stand: Stand, word: str) -> None:
    """RFC 9111 4: those that wait get their own, side by side; it is stored all the same."""
    target = f"/each/{word.encode().hex()}"

    def personal(exchange: Exchange) -> bytes:
        whose = exchange.request.fields["cookie"]
        fields = {"Cache-Control": word, "ETag": f'"{whose}"'}
        return answer("200 OK", fields, whose.encode())

    held = Held(lambda exchange: exchange.send(personal(exchange)))
    others = Together(3, personal)
    stand.origin.on(target, held, others)
    with (
        leader(stand, target, held, {"Cookie": "id=a"}) as first,
        crowd(stand.proxy, 3, target, lambda n: {"Cookie": f"id={n}"}) as followers,
    ):
        held.release()
        responses = [client.response() for client in (first, *followers)]
    assert [r.body for r in responses] == [b"id=a", b"id=0", b"id=1", b"id=2"]


def test_a_cookie_that_a_304_sets_is_one_clients(stand: Stand) -> None:
    """The others that waited for the validation get what is stored."""
    renewed = {"Cache-Control": "max-age=600", "ETag": ETAG, "Set-Cookie": "id=first"}
    held = Held(answer("304 Not Modified", renewed))
    go_stale(stand, "/cookie-304", answer("200 OK", STORED, b"stored"), held)
    with (
        leader(stand, "/cookie-304", held, {"Cookie": "id=old"}) as first,
        crowd(stand.proxy, 3, "/cookie-304") as followers,
    ):
        held.release()
        asker, *others = [client.response() for client in (first, *followers)]
    assert asker.fields["set-cookie"] == "id=first"
    later = stand.proxy.get("/cookie-304")
    for response in (*others, later):
        assert (response.cache, response.body) == ("HIT", b"stored")
        assert "set-cookie" not in response.fields
    assert len(stand.origin.seen("/cookie-304")) == 2
