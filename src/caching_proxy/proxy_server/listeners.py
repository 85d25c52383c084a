"""Listening sockets: one address each, and a port that is really free."""

from __future__ import annotations

import contextlib
import errno
import socket
import stat
import sys
from pathlib import Path

from caching_proxy.proxy_server.errors import ListenError


def listen(hosts: list[str], port: int, unix_paths: list[str], backlog: int) -> list[socket.socket]:
    """Sockets for every host (none: all interfaces, IPv4 and IPv6) and path. Raises ListenError.

    With port 0 all hosts get the same free port.
    """
    sockets: list[socket.socket] = []
    try:
        for host in hosts or _every_interface():
            for family, address in _addresses(host, port):
                sock = _bind(family, address, host)
                sockets.append(sock)
                port = port or int(sock.getsockname()[1])
        for path in unix_paths:
            sockets.append(_bind_unix(path))
        for sock in sockets:
            sock.listen(backlog)
            sock.setblocking(False)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _every_interface() -> list[str]:
    every = ["0.0.0.0", "::"]  # noqa: S104
    return every if socket.has_dualstack_ipv6() else every[:1]


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ListenError(
            f"cannot listen on {host}: {error}: give --host an address of this machine"
        ) from None
    unique = dict.fromkeys((item[0], (str(item[4][0]), port)) for item in found)
    return list(unique)


def _bind(family: socket.AddressFamily, address: tuple[str, int], host: str) -> socket.socket:
    """Bound exclusively: without SO_REUSEPORT, so that a port in use is found out."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        return sock
    except OSError as error:
        sock.close()
        raise ListenError(_why(error, host, address[1])) from None


def _why(error: OSError, host: str, port: int) -> str:
    where = f"port {port} on {host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use: end the process that has it, or choose another with --port"
    if error.errno == errno.EACCES:
        return f"{where} is not permitted: choose one above 1023 with --port, or grant the right"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine: choose one with --host"
    return f"cannot listen on {where}: {error.strerror}"


def _bind_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(path)
        return sock
    except OSError as error:
        sock.close()
        raise ListenError(
            f"cannot listen on unix socket {path}: {error.strerror}:"
            " choose another path with --unix-socket"
        ) from None


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on; one in use, or another kind of file, stays.

    Raises OSError.
    """
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()


def describe(sock: socket.socket) -> str:
    """The address as it is shown: http://host:port or unix:/path."""
    name = sock.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}"


def remove_unix_socket(address: str) -> None:
    """Remove the file behind an address that `describe` gave; others are left alone."""
    if address.startswith("unix:"):
        with contextlib.suppress(FileNotFoundError):
            Path(address.removeprefix("unix:")).unlink()
