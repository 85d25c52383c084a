"""Listening sockets: one address each, and a port that is really free."""

from __future__ import annotations

import contextlib
import errno
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from caching_proxy.proxy_server.errors import ListenError

SHARES_OUT = sys.platform == "linux"  # connections among the sockets of SO_REUSEPORT
NO_PORT = -1  # of an endpoint that has none


class Endpoint(NamedTuple):
    """Where to listen: all `hosts` (none: every interface) on one port, and unix sockets."""

    hosts: tuple[str, ...]
    port: int
    unix_paths: tuple[str, ...]
    backlog: int


class Endpoints(Protocol):
    """What a configuration says of listening."""

    @property
    def settings(self) -> Any: ...
    @property
    def listeners(self) -> Sequence[Any]: ...


def endpoints(configuration: Endpoints) -> list[Endpoint]:
    """Where a configuration listens."""
    settings = configuration.settings
    if not configuration.listeners:
        hosts, paths = tuple(settings.host), tuple(settings.unix_socket)
        return [Endpoint(hosts, settings.port, paths, settings.backlog)]
    return [_endpoint(listener.place, listener.backlog) for listener in configuration.listeners]


def _endpoint(place: tuple[str, int | None], backlog: int) -> Endpoint:
    host, port = place
    if port is None:
        return Endpoint((), NO_PORT, (host,), backlog)
    return Endpoint((host,) if host else (), port, (), backlog)


SERVICE_MANAGER = Endpoint((), NO_PORT, (), 0)
"""Stands for sockets that a service manager has bound, wherever the configuration would listen."""

Slots = list[list[socket.socket]]
"""The sockets of an endpoint, a list for each worker; a single list is everybody's."""
Bound = dict[Endpoint, Slots]


class Sockets:
    """The listening sockets of a proxy, through changes of configuration."""

    def __init__(self, inherited: Bound | None = None) -> None:
        """`inherited`: those of a proxy whose place is taken, or of a service manager."""
        self.bound: Bound = {}
        self._inherited = inherited or {}
        self._managed = {sock for slot in self._inherited.get(SERVICE_MANAGER, ()) for sock in slot}
        self._lent = _all(self._inherited) - self._managed
        """Inherited from a process that may yet go on."""
        self._left: list[str] = []
        """Addresses of such ones that are not listened on any more."""

    def prepare(self, wanted: Sequence[Endpoint], workers: int) -> Bound:
        """Sockets for these, present ones where they are there. Raises ListenError.

        Nothing changes yet: `commit` or `discard` has to follow.
        """
        prepared: Bound = {}
        for known in (self.bound, self._inherited):
            if SERVICE_MANAGER in known:
                return {SERVICE_MANAGER: known[SERVICE_MANAGER]}
        try:
            for endpoint in wanted:
                present = self._present(endpoint)
                if present is None:
                    prepared[endpoint] = _listen(endpoint, workers)
                else:
                    prepared[endpoint] = present
                    if len(present) > 1:  # of several workers, which may be more now
                        prepared[endpoint] = _extended(present, workers, endpoint.backlog)
        except BaseException:
            self.discard(prepared)
            raise
        return prepared

    def commit(self, prepared: Bound) -> None:
        """Let these be the ones; what is not among them is closed."""
        for sock in (_all(self.bound) | _all(self._inherited)) - _all(prepared):
            self._close(sock)
        self._inherited = {}
        self.bound = prepared

    def discard(self, prepared: Bound) -> None:
        """Close what was bound for these."""
        for sock in _all(prepared) - _all(self.bound) - _all(self._inherited):
            self._close(sock)

    def own(self) -> None:
        """The process that bound what was inherited ends: its files are this one's to remove."""
        self._lent.clear()
        for address in self._left:
            remove_unix_socket(address)
        self._left.clear()

    def _close(self, sock: socket.socket) -> None:
        """Close it, and remove the file of a unix socket where it is this process's."""
        address = describe(sock)
        sock.close()
        if sock in self._lent:
            self._left.append(address)
        elif sock not in self._managed:
            remove_unix_socket(address)

    def close(self) -> None:
        """Close everything."""
        self.commit({})

    def leave(self) -> None:
        """Close them here; another process goes on listening there."""
        for sock in _all(self.bound):
            sock.close()
        self.bound = {}

    @property
    def addresses(self) -> list[str]:
        """Where it is listened, each place once."""
        found = (
            describe(slots[0][at]) for slots in self.bound.values() for at in range(len(slots[0]))
        )
        return list(dict.fromkeys(found))

    def _present(self, endpoint: Endpoint) -> Slots | None:
        for known, slots in [*self.bound.items(), *self._inherited.items()]:
            if known[:3] == endpoint[:3]:
                return slots
        return None


class Accepting(NamedTuple):
    """A socket to accept on, and how many connections may wait there."""

    sock: socket.socket
    backlog: int


def of_worker(bound: Bound, number: int, workers: int, managed_backlog: int) -> list[Accepting]:
    """What one of so many workers accepts on; `managed_backlog` is for a service manager's."""
    found = []
    for endpoint, slots in bound.items():
        backlog = managed_backlog if endpoint == SERVICE_MANAGER else endpoint.backlog
        for at, sockets in enumerate(slots):
            if len(slots) == 1 or at % workers == number:
                found += [Accepting(sock, backlog) for sock in sockets]
    return found


def _all(bound: Bound) -> set[socket.socket]:
    return {sock for slots in bound.values() for sockets in slots for sock in sockets}


def _listen(endpoint: Endpoint, workers: int) -> Slots:
    """Bound and listening; with several workers a socket for each where the system shares out."""
    first = listen(list(endpoint.hosts), endpoint.port, list(endpoint.unix_paths), endpoint.backlog)
    if workers == 1 or not SHARES_OUT or endpoint.unix_paths:
        return [first]
    places = [(sock.family, sock.getsockname()[:2]) for sock in first]
    for sock in first:
        sock.close()
    return _extended([_shared(places, endpoint.backlog)], workers, endpoint.backlog)


def _extended(slots: Slots, workers: int, backlog: int) -> Slots:
    """With so many more that every worker has one. Raises ListenError."""
    places = [(sock.family, sock.getsockname()[:2]) for sock in slots[0]]
    more: Slots = []
    try:
        while len(slots) + len(more) < workers:
            more.append(_shared(places, backlog))
    except BaseException:
        for sock in (sock for slot in more for sock in slot):
            sock.close()
        raise
    return slots + more


def _shared(places: Sequence[tuple[int, tuple[str, int]]], backlog: int) -> list[socket.socket]:
    """Sockets at these places, where others may be as well. Raises ListenError."""
    found: list[socket.socket] = []
    try:
        for family, place in places:
            found.append(_bind(family, place, place[0], shared=True))
            found[-1].listen(backlog)
            found[-1].setblocking(False)
    except BaseException:
        for sock in found:
            sock.close()
        raise
    return found


def listen(hosts: list[str], port: int, unix_paths: list[str], backlog: int) -> list[socket.socket]:
    """Sockets for every host (none: all interfaces, IPv4 and IPv6) and path. Raises ListenError.

    With port 0 all hosts get the same free port.
    """
    sockets: list[socket.socket] = []
    try:
        for host in () if port == NO_PORT else hosts or _every_interface():
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
    except (socket.gaierror, UnicodeError) as error:
        raise ListenError(
            f"cannot listen on {host}: {error}: give --host an address of this machine"
        ) from None
    unique = dict.fromkeys((item[0], (str(item[4][0]), port)) for item in found)
    return list(unique)


def _bind(
    family: int, address: tuple[str, int], host: str, *, shared: bool = False
) -> socket.socket:
    """Bound exclusively, so that a port in use is found out, or `shared` (SO_REUSEPORT)."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
        probe.setblocking(False)  # one whose backlog is full is in use
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except BlockingIOError:
            pass


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
        with contextlib.suppress(OSError):  # gone already, or a user who may not remove it
            Path(address.removeprefix("unix:")).unlink()
