"""A primary, its replica, and three sentinels that watch them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import hiredis

from .ports import unused_port
from .programs import requires_program
from .redis_server import RedisServer, TlsRedisServer
from .tls import Authority
from .waiting import wait_until

NAME = "main"


class _Sentinel(RedisServer):
    """One sentinel; it keeps what it knows in its configuration."""

    def __init__(self, folder: Path, lines: list[str], authority: Authority | None) -> None:
        super().__init__(folder)
        own = ["bind 127.0.0.1", f"dir {folder}", f"logfile {folder}/log", *lines]
        if authority is not None:
            self._program = requires_program("redis-server")
            pem = authority.key_and_chain("127.0.0.1")
            self.public_port = unused_port()
            own += [f"tls-port {self.public_port}", f"tls-ca-cert-file {authority.path}"]
            own += [f"tls-cert-file {pem}", f"tls-key-file {pem}"]
            own += ["tls-auth-clients no", "tls-replication yes"]
        self._file = folder / "sentinel.conf"
        self._file.write_text("\n".join([*own, f"port {self.port}", ""]))

    def _command(self, log: Path) -> list[str]:
        return [self._program, str(self._file), "--sentinel"]


class SentinelService:
    """The service NAME. `password` is that of its nodes, `sentinel_password` that of sentinels.

    With an `authority` all of them speak TLS.
    """

    def __init__(
        self,
        folder: Path,
        *,
        password: str | None = None,
        sentinel_password: str | None = None,
        authority: Authority | None = None,
    ) -> None:
        self.password = password
        self.sentinel_password = sentinel_password
        self._scheme = "redis" if authority is None else "rediss"
        self.nodes = [self._node(_made(folder / f"node-{n}"), authority) for n in range(2)]
        lines = [
            f"sentinel monitor {NAME} 127.0.0.1 {self.primary.public_port} 2",
            f"sentinel down-after-milliseconds {NAME} 1000",
            f"sentinel failover-timeout {NAME} 3000",
        ]
        if password is not None:
            lines.append(f"sentinel auth-pass {NAME} {password}")
        if sentinel_password is not None:
            lines += [f"requirepass {sentinel_password}"]
            lines += [f"sentinel sentinel-pass {sentinel_password}"]
        folders = [_made(folder / f"sentinel-{n}") for n in range(3)]
        self.sentinels = [_Sentinel(folder, lines, authority) for folder in folders]
        for sentinel in self.sentinels:
            sentinel.password = sentinel_password

    def _node(self, folder: Path, authority: Authority | None) -> RedisServer:
        options: tuple[str, ...] = ()
        if self.password is not None:
            options = ("--requirepass", self.password, "--masterauth", self.password)
        if authority is None:
            node = RedisServer(folder, *options)
        else:
            node = TlsRedisServer(authority, folder, "--tls-replication", "yes", *options)
        node.password = self.password
        return node

    def start(self) -> None:
        """Start them all, and wait until the sentinels know all there is."""
        for server in (*self.nodes, *self.sentinels):
            server.start()
            if server is self.replica:
                server.do("REPLICAOF", "127.0.0.1", self.primary.public_port)
        wait_until(lambda: all(map(self._knows_all, self.sentinels)), "the sentinels to meet")

    @staticmethod
    def _knows_all(sentinel: RedisServer) -> bool:
        """Whether it could carry out a failover."""
        with contextlib.suppress(hiredis.ReplyError):
            quorum: bytes = sentinel.do("SENTINEL", "CKQUORUM", NAME)
            (replica,) = sentinel.do("SENTINEL", "REPLICAS", NAME) or [[]]
            told = dict(zip(replica[::2], replica[1::2], strict=True))
            return b"OK 3 usable" in quorum and told.get(b"master-link-status") == b"ok"
        return False

    @property
    def url(self) -> str:
        """The address of the service, for --redis-url."""
        who = "" if self.password is None else f":{self.password}@"
        more = self.sentinel_password
        hosts = ",".join(f"127.0.0.1:{sentinel.public_port}" for sentinel in self.sentinels)
        return f"{self._scheme}+sentinel://{who}{hosts}/{NAME}" + (
            "" if more is None else f"?sentinel_password={more}"
        )

    @property
    def primary(self) -> RedisServer:
        """The one that is the primary at first."""
        return self.nodes[0]

    @property
    def replica(self) -> RedisServer:
        """The other one."""
        return self.nodes[1]

    def kill(self) -> None:
        """End them all at once."""
        for server in (*self.nodes, *self.sentinels):
            server.kill()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
