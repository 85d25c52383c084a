"""What nobody reads ends, and what is held for those who read slowly is bounded."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from .support import bodies
from .support.proxy import ProxyProcess
from .support.raw_client import RawClient, chunked
from .support.scripted_origin import Exchange, Script, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy
from .support.waiting import DEADLINE, wait_until

KB, MB = 1 << 10, 1 << 20
LARGE = bytes(600 * KB)
ENDLESS = {"Cache-Control": "no-store", "Transfer-Encoding": "chunked"}


# --- revalidation in the background ---------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("status", ["200 OK", "503 Service Unavailable"])
def test_a_large_answer_in_the_background_that_is_not_stored_does_not_hang(
    stand: Stand, status: str, framing: str
) -> None:
    """Its connection is closed, and the next request renews what is stored."""
    target = f"/behind/{status[:3]}/{framing}"
    while_renewed = {"Cache-Control": "max-age=0, stale-while-revalidate=600", "ETag": '"1"'}
    if framing == "length":
        useless = answer(status, {"Cache-Control": "no-store"}, LARGE)
    else:
        useless = answer(status, ENDLESS, b"".join(chunked([LARGE])))
    stand.origin.on(
        target, answer("200 OK", while_renewed, b"old"), useless, fresh(b"new", seconds=600)
    )
    assert stand.proxy.get(target).body == b"old"
    assert stand.proxy.get(target).body == b"old"
    wait_until(lambda: len(stand.origin.seen(target)) == 2, "the origin to be asked behind")
    behind = stand.origin.requests.index(stand.origin.seen(target)[1])
    stand.origin.served_on[behind].wait_closed()
    wait_until(lambda: stand.proxy.get(target).body == b"new", "the new answer")
    assert stand.proxy.get(target).cache == "HIT"
    assert len(stand.origin.seen(target)) == 3


# --- downloads whose clients have gone ------------------------------------------------------------


def silent(exchange: Exchange) -> None:
    """A stream that has no end, and nothing new to tell."""
    exchange.send(answer("200 OK", ENDLESS), b"5\r\nhello\r\n")
    exchange.wait_for_close()


def talking(exchange: Exchange) -> None:
    """A stream that goes on until the proxy closes, which raises ConnectionError."""
    exchange.send(answer("200 OK", ENDLESS))
    while not exchange.connection.origin.closing:
        exchange.send(b"5\r\nhello\r\n" * KB)


LEAVING: dict[str, tuple[Script, Callable[[RawClient], None]]] = {
    "reset": (silent, RawClient.reset),
    "reset-meanwhile": (talking, RawClient.reset),
    "closed-meanwhile": (talking, RawClient.close),
}


@pytest.mark.parametrize("case", LEAVING)
def test_an_endless_answer_ends_with_its_client_where_slices_are_asked_for(
    start_proxy: StartProxy, origin: ScriptedOrigin, case: str
) -> None:
    script, leave = LEAVING[case]
    proxy = start_proxy("--slice", "1MB")
    origin.on("/events", script)
    for number in range(3):
        with proxy.client() as client:
            client.send(client.head("GET", "/events"))
            assert client.response_head().status == 200
            leave(client)
        origin.served_on[number].wait_closed()
    wait_until(lambda: proxy.stats()["origin_connections"] == 0, "no connection to be left")
    assert len(origin.requests) == 3


def test_an_endless_answer_whose_client_left_before_it_began_is_not_read(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    asked, gone = threading.Event(), threading.Event()

    def late(exchange: Exchange) -> None:
        asked.set()
        exchange.wait(gone, "the client to go")
        silent(exchange)

    proxy = start_proxy("--slice", "1MB")
    origin.on("/events", late)
    with proxy.client() as client:
        client.send(client.head("GET", "/events"))
        assert asked.wait(DEADLINE)
        client.reset()
    wait_until(lambda: proxy.stats()["connections"] == 0, "the proxy to see it go")
    gone.set()
    origin.served_on[0].wait_closed()


@pytest.mark.parametrize(
    "bound", [("--max-object", "100KB"), ("--memory", "200KB")], ids=["object", "memory"]
)
def test_what_outgrows_the_store_is_not_read_on_for_one_that_has_it(
    start_proxy: StartProxy, origin: ScriptedOrigin, bound: tuple[str, str]
) -> None:
    """The client got a 304; its response was read to be stored, and no longer can be."""
    answered = threading.Event()

    def growing(exchange: Exchange) -> None:
        fields = {"Cache-Control": "max-age=60", "ETag": '"1"', "Transfer-Encoding": "chunked"}
        exchange.send(answer("200 OK", fields))
        exchange.wait(answered, "the client to have its 304")
        for _ in range(30):
            exchange.send(b"2800\r\n" + bytes(10 * KB) + b"\r\n")
        exchange.wait_for_close()

    proxy = start_proxy(*bound)
    origin.on("/growing", growing, fresh(b"small"))
    assert proxy.get("/growing", {"If-None-Match": '"1"'}).status == 304
    answered.set()
    origin.served_on[0].wait_closed()
    assert proxy.stats()["memory_in_transit"] == 0
    assert [proxy.get("/growing").cache for _ in range(2)] == ["MISS", "HIT"]


# --- uploads that are broken off ------------------------------------------------------------------


def head(client: RawClient, **fields: str) -> bytes:
    """The head of a QUERY."""
    return client.head("QUERY", "/query", {name.replace("_", "-"): fields[name] for name in fields})


def begun(client: RawClient) -> None:
    client.send(head(client, Content_Length="65000"), bytes(64_000))


def begun_in_chunks(client: RawClient) -> None:
    client.send(head(client, Transfer_Encoding="chunked"), b"fa00\r\n", bytes(64_000), b"\r\n")


def too_long(client: RawClient) -> None:
    """More than goes into a key: it is sent on as it comes."""
    client.send(head(client, Transfer_Encoding="chunked"), b"11170\r\n", bytes(70_000), b"\r\n")


def refused(client: RawClient, status: int) -> None:
    response = client.refusal("QUERY")
    assert response is not None
    assert response.status == status


def malformed(client: RawClient) -> None:
    client.send(b"nonsense\r\n")
    refused(client, 400)


def swallow(exchange: Exchange) -> None:
    """Read what comes, up to where it breaks off."""
    exchange.read_body()


Step = Callable[[RawClient], None]
UPLOADS: dict[str, tuple[Step, Step]] = {
    "reset": (begun, RawClient.reset),
    "closed": (begun, RawClient.close),
    "reset-chunked": (begun_in_chunks, RawClient.reset),
    "malformed": (begun_in_chunks, malformed),
    "stalled": (begun, lambda client: refused(client, 408)),
    "too-long": (too_long, RawClient.reset),
}


@pytest.mark.parametrize("case", UPLOADS)
def test_uploads_that_are_broken_off_take_no_room(
    start_proxy: StartProxy, origin: ScriptedOrigin, case: str
) -> None:
    """After more of them than memory has room for, all of it is there for what is stored."""
    upload, break_off = UPLOADS[case]
    proxy = start_proxy("--memory", "1MB", "--body-timeout", "1" if case == "stalled" else "30")
    origin.on("/query", swallow)
    origin.on("/page", fresh(bytes(900 * KB)))
    for _ in range(2):
        with ExitStack() as stack:
            clients = [stack.enter_context(proxy.client()) for _ in range(12)]
            for client in clients:
                upload(client)
            proxy.barrier()
            for client in clients:
                break_off(client)
        wait_until(lambda: proxy.stats()["connections"] == 0, "the clients to have gone")
        wait_until(lambda: proxy.stats()["memory_in_transit"] == 0, "the room to be given back")
    assert [proxy.get("/page").cache for _ in range(2)] == ["MISS", "HIT"]


def test_what_is_uploaded_is_counted_until_its_answer_has_gone(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy()
    origin.on("/query", fresh(b"found"))
    with proxy.client() as client:
        begun(client)
        wait_until(lambda: proxy.stats()["memory_in_transit"] == 64_000, "the upload to be counted")
        client.send(bytes(1000))
        assert client.response("QUERY").body == b"found"
        wait_until(lambda: proxy.stats()["memory_in_transit"] == 0, "the room to be given back")


# --- clients that do not read ---------------------------------------------------------------------

SIZE, SLOW = 7 * MB, 40


class Counted:
    """A script that sends a large body, or a range of it, in pieces and counts what was taken."""

    def __init__(self) -> None:
        self.sent = 0

    def __call__(self, exchange: Exchange) -> None:
        body = bodies.body(exchange.request.target, SIZE)
        fields = {"Cache-Control": "max-age=600", "ETag": '"1"'}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", exchange.request.fields.get("range") or "")
        if asked is None:
            exchange.send(answer("200 OK", {**fields, "Content-Length": str(SIZE)}))
        else:
            first, last = int(asked[1]), min(int(asked[2]), SIZE - 1)
            body = body[first : last + 1]
            fields |= {"Content-Range": f"bytes {first}-{last}/{SIZE}"}
            fields |= {"Content-Length": str(len(body))}
            exchange.send(answer("206 Partial Content", fields))
        for start in range(0, len(body), 64 * KB):
            exchange.send(body[start : start + 64 * KB])
            self.sent += 64 * KB


def settled(proxy: ProxyProcess, counted: Counted) -> None:
    """Return when the proxy takes nothing more from the origin for many turns of its loop."""
    still, before = 0, -1

    def rests() -> bool:
        nonlocal still, before
        proxy.stats()
        still = still + 1 if counted.sent == before else 0
        before = counted.sent
        return still >= 50

    wait_until(rests, "the proxy to have taken what it takes")


class Slow:
    """What each of the clients that do not read asks for."""

    options: tuple[str, ...] = ()

    def before(self, proxy: ProxyProcess, number: int) -> None:
        """What others have asked for before."""

    def target(self, number: int) -> str:
        return f"/object/{number}"

    def fields(self, number: int) -> dict[str, str]:
        return {}

    def body(self, number: int) -> bytes:
        return bodies.body(self.target(number), SIZE)


class Fetched(Slow):
    """Nothing of it is stored yet."""


class Stored(Slow):
    """It is stored, and gives way to what the next one asks for."""

    def before(self, proxy: ProxyProcess, number: int) -> None:
        assert proxy.get(self.target(number)).size == SIZE


class Replaced(Slow):
    """It is stored, and then another client has it fetched anew."""

    def before(self, proxy: ProxyProcess, number: int) -> None:
        response = proxy.get(self.target(number), {"Cache-Control": "no-cache"})
        assert (response.status, response.size) == (200, SIZE)

    def target(self, number: int) -> str:
        return "/one"


class Ranges(Slow):
    """One thing is stored, and each asks for another range of it."""

    def before(self, proxy: ProxyProcess, number: int) -> None:
        assert proxy.get(self.target(number)).size == SIZE

    def target(self, number: int) -> str:
        return "/one"

    def fields(self, number: int) -> dict[str, str]:
        return {"Range": f"bytes={number + 1}-"}

    def body(self, number: int) -> bytes:
        return super().body(number)[number + 1 :]


class Sliced(Slow):
    """Its first slice, of two, is stored."""

    options = ("--slice", "6MB")

    def before(self, proxy: ProxyProcess, number: int) -> None:
        response = proxy.get(self.target(number), {"Range": f"bytes=0-{6 * MB - 1}"})
        assert (response.status, response.size) == (206, 6 * MB)


SLOW_READERS = {kind.__name__.lower(): kind() for kind in Slow.__subclasses__()}


@pytest.mark.parametrize("case", SLOW_READERS)
def test_memory_is_bounded_however_many_do_not_read(
    start_proxy: StartProxy, origin: ScriptedOrigin, case: str
) -> None:
    """40 times 7 MB do not fit; others are served meanwhile, and the slow ones get all in time."""
    slow = SLOW_READERS[case]
    options = ("--memory", "16MB", "--max-object", "8MB", "--min-rate", "0", *slow.options)
    proxy = start_proxy(*options)
    counted = Counted()
    for number in range(SLOW):
        origin.on(slow.target(number), counted)
    origin.on("/small", fresh(b"small"))
    origin.on("/other", fresh(bodies.body("other", 100 * KB)))
    start = proxy.memory()
    with ExitStack() as stack:
        clients = []
        for number in range(SLOW):
            slow.before(proxy, number)
            client = stack.enter_context(proxy.client(receive_buffer=4 * KB))
            client.send(client.head("GET", slow.target(number), slow.fields(number)))
            proxy.barrier()
            clients.append(client)
        settled(proxy, counted)
        assert proxy.stats()["connections"] == SLOW
        assert [proxy.get("/small").body for _ in range(2)] == [b"small"] * 2
        assert [proxy.get("/other").size for _ in range(2)] == [100 * KB] * 2
        assert proxy.memory() - start < 150 * MB
        for number in (0, 1, SLOW - 1):
            assert clients[number].response().body == slow.body(number)
    wait_until(lambda: proxy.stats()["connections"] == 0, "the clients to have gone")
    wait_until(lambda: proxy.stats()["memory_in_transit"] == 0, "nothing to be on its way")
    proxy.get("/small")
    assert proxy.get("/small").cache == "HIT"
