"""Listening sockets."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from caching_proxy.configuration import ConfigurationFile, configure
from caching_proxy.proxy_server import listeners
from caching_proxy.proxy_server.errors import ListenError
from caching_proxy.proxy_server.fleet import Alone


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the backlog is read as Linux tells it")
def test_each_listener_has_its_backlog() -> None:
    asyncio.run(_takes_over_backlogs())


async def _takes_over_backlogs() -> None:
    fleet, seen = Alone({}), []
    for first, second in ((7, 9), (11, 5)):
        text = (
            "origin = 'http://a'\nbacklog = 100\n"
            f"[[listeners]]\naddress = '127.0.0.1:0'\nbacklog = {first}\n"
            f"[[listeners]]\naddress = '127.0.0.2:0'\nbacklog = {second}\n"
        )
        await fleet.take_over(configure({}, {}, ConfigurationFile("proxy.toml", text)))
        bound = fleet.sockets.bound.values()
        seen.append([_backlog(sock) for slots in bound for sock in slots[0]])
    await fleet.drain(0)
    assert seen == [[7, 9], [11, 5]]


def _backlog(sock: socket.socket) -> int:
    """The field tcpi_sacked of struct tcp_info, which is that of a listening socket."""
    told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    return int.from_bytes(told[28:32], sys.byteorder)


def test_every_interface_has_one_port() -> None:
    sockets = listeners.listen([], 0, [], 16)
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    assert listeners.describe(sockets[0]).startswith("http://0.0.0.0:")
    close(sockets)


@pytest.mark.parametrize("reuse", [False, True], ids=["plain", "SO_REUSEPORT"])
def test_port_in_use(reuse: bool) -> None:
    with socket.socket() as other:
        if reuse:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=rf"port {port} on 127.0.0.1 is in use.*--port"):
            listeners.listen(["127.0.0.1"], port, [], 16)


def test_an_address_of_another_machine() -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1 is not an address of this machine"):
        listeners.listen(["192.0.2.1"], 0, [], 16)


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on no\.such.name.invalid"):
        listeners.listen(["no.such.name.invalid"], 0, [], 16)


def test_unix_socket_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    sockets = listeners.listen(["127.0.0.1"], 0, [path], 16)
    assert listeners.describe(sockets[1]) == f"unix:{path}"
    close(sockets)


def test_unix_socket_in_use_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(ListenError, match="--unix-socket"):
            listeners.listen(["127.0.0.1"], 0, [path], 16)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_another_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="precious"):
        listeners.listen(["127.0.0.1"], 0, [str(path)], 16)
    assert path.read_text() == "data"
