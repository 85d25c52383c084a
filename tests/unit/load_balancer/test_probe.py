"""One health check: whether there is a connection, and TLS on it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme

from caching_proxy.load_balancer.probe import probe
from tests.unit.load_balancer.scripted_server import (
    OK,
    SHORT,
    Address,
    Connection,
    asked,
    never_answers,
    refusing,
    serving,
    target,
)


@contextmanager
def never_accepting() -> Iterator[Address]:
    """An address whose listener has a full backlog."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()
        for filler in fillers:
            filler.close()


both_kinds = pytest.mark.parametrize("kind", ["tcp", "http"])


# --- connecting -----------------------------------------------------------------------------------


async def test_tcp_passes_where_somebody_accepts() -> None:
    async with serving(never_answers) as server:
        assert await asked(server, kind="tcp") == ""


async def test_tcp_passes_where_the_connection_ends_at_once() -> None:
    async def leave(connection: Connection) -> None: ...

    async with serving(leave) as server:
        assert await asked(server, kind="tcp") == ""


@both_kinds
async def test_refused(kind: str) -> None:
    with refusing() as address:
        assert await probe(target(address, kind=kind)) == "connection refused"


@both_kinds
async def test_never_accepted(kind: str) -> None:
    with never_accepting() as address:
        checked = target(address, kind=kind, timeout=SHORT)
        assert await probe(checked) == "no answer within 0.1 s"


@both_kinds
async def test_ipv6(kind: str) -> None:
    async with serving(OK, host="::1") as server:
        assert await asked(server, kind=kind) == ""
    assert server.connections == 1


@both_kinds
async def test_the_next_address_is_tried(kind: str) -> None:
    with refusing() as first:
        async with serving(OK) as server:
            assert await probe(target(first, *server.addresses, kind=kind)) == ""
    assert server.connections == 1


@both_kinds
async def test_the_next_address_is_tried_in_time(kind: str) -> None:
    with never_accepting() as first:
        async with serving(OK) as server:
            assert await probe(target(first, *server.addresses, kind=kind, timeout=1.0)) == ""


@both_kinds
async def test_all_addresses_fail(kind: str) -> None:
    with refusing() as first, refusing() as second:
        assert await probe(target(first, second, kind=kind)) == "connection refused"


@both_kinds
async def test_there_is_no_address(kind: str) -> None:
    assert await probe(target(kind=kind)) == "the name has no address"


async def test_the_first_that_connects_counts() -> None:
    failing = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
    async with serving(failing) as first, serving(OK) as second:
        assert await probe(target(*first.addresses, *second.addresses)) == "status 503"
    assert second.connections == 0


@both_kinds
async def test_what_nobody_thought_of_is_a_failure_in_words(kind: str) -> None:
    why = await probe(target(("127.0.0.1", 70_000), kind=kind))
    assert why
    assert "\n" not in why


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())


@pytest.fixture
def proving(authority: trustme.CA) -> ssl.SSLContext:
    """What a server needs to prove that it is server.example or 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("server.example", "127.0.0.1").configure_cert(context)
    return context


@both_kinds
@pytest.mark.parametrize(
    ("name", "indicated"), [("server.example", "server.example"), (None, None)]
)
async def test_tls(
    proving: ssl.SSLContext,
    trusting: ssl.SSLContext,
    kind: str,
    name: str | None,
    indicated: str | None,
) -> None:
    names: list[str | None] = []
    proving.sni_callback = lambda _, name, __: names.append(name)  # type: ignore[assignment]
    async with serving(OK, tls=proving) as server:
        assert await asked(server, kind=kind, tls=trusting, tls_name=name) == ""
    assert names == [indicated]


@both_kinds
async def test_a_name_that_nobody_has_to_prove(kind: str) -> None:
    async with serving(OK) as server:
        assert await asked(server, kind=kind, tls_name="server.example") == ""


@both_kinds
async def test_tls_of_another_name(
    proving: ssl.SSLContext, trusting: ssl.SSLContext, kind: str
) -> None:
    async with serving(OK, tls=proving) as server:
        why = await asked(server, kind=kind, tls=trusting, tls_name="other.example")
    assert why.startswith("TLS: Hostname mismatch")
    assert "other.example" in why


@both_kinds
async def test_a_proof_that_fails_is_of_the_server(
    proving: ssl.SSLContext, trusting: ssl.SSLContext, kind: str
) -> None:
    """It connects: no other address is tried. What is told of it has an end."""
    name = ".".join(["a" * 60] * 3)
    async with serving(OK, tls=proving) as first, serving(OK) as second:
        addresses = first.addresses + second.addresses
        why = await probe(target(*addresses, kind=kind, tls=trusting, tls_name=name))
    assert why.startswith("TLS: Hostname mismatch")
    assert why.endswith("a ...")
    assert second.connections == 0


@both_kinds
async def test_tls_of_an_unknown_authority(proving: ssl.SSLContext, kind: str) -> None:
    async with serving(OK, tls=proving) as server:
        why = await asked(server, kind=kind, tls=ssl.create_default_context())
    assert why.startswith("TLS: ")
    assert "certificate" in why


async def asked_at_length(
    context: ssl.SSLContext, serve: Callable[[ssl.SSLSocket], None], trusting: ssl.SSLContext
) -> str:
    """Check a server that answers no end of TLS, and waits for that of the connection."""

    def accept(listener: socket.socket) -> None:
        plain = listener.accept()[0]
        with plain.dup() as raw:
            raw.settimeout(10)
            with context.wrap_socket(
                plain, server_side=True, do_handshake_on_connect=False
            ) as secure:
                serve(secure)
                with suppress(ConnectionResetError):
                    while raw.recv(65536):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(asyncio.to_thread(accept, listener))
        why = await probe(target(listener.getsockname(), tls=trusting))
        await serving
    return why


async def test_tls_wants_a_certificate_of_the_client(
    authority: trustme.CA, proving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """With TLS 1.3 the client learns of the refusal after its handshake."""
    proving.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(proving)

    def refuse(secure: ssl.SSLSocket) -> None:
        with pytest.raises(ssl.SSLError):
            secure.do_handshake()

    why = await asked_at_length(proving, refuse, trusting)
    assert why == "TLS: tlsv13 alert certificate required"


async def test_no_end_of_tls_is_waited_for(
    proving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    def answer(secure: ssl.SSLSocket) -> None:
        secure.do_handshake()
        assert secure.recv(65536).startswith(b"GET / HTTP/1.1")
        secure.sendall(OK)

    assert await asked_at_length(proving, answer, trusting) == ""


@both_kinds
async def test_tls_of_a_server_without(trusting: ssl.SSLContext, kind: str) -> None:
    async def plain(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await connection.ended()

    async with serving(plain) as server:
        assert await asked(server, kind=kind, tls=trusting) == "TLS: wrong version number"


@both_kinds
async def test_tls_handshake_that_never_ends(trusting: ssl.SSLContext, kind: str) -> None:
    async with serving(never_answers) as server:
        why = await asked(server, kind=kind, tls=trusting, timeout=SHORT)
        assert why == "no answer within 0.1 s"


@both_kinds
async def test_tls_handshake_that_breaks_off(trusting: ssl.SSLContext, kind: str) -> None:
    async def leave(connection: Connection) -> None:
        await connection.reader.read(65536)

    async with serving(leave) as server:
        why = await asked(server, kind=kind, tls=trusting)
        assert why in ("closed without an answer", "connection reset by peer")
