"""How long after a purge some proxy of a fleet still answers with what was purged (W).

    python bench/coherence.py [--requests 100000] [--replica-reads] [--record]

Two proxies share a cluster of six nodes. Resources change all the time, each change followed by a
purge of its URL or tag, or by an unsafe request, at either proxy. Every answer tells its version; a
reader notes when it asked. W is the longest time by which an answer was asked for after the receipt
of the purge of its version. Recorded in bench/results/coherence-DATE-MACHINE.json.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

RESOURCES = 24
READERS = 3
PAUSE = 0.004  # seconds between two changes
BOUND = 0.050  # seconds: W is to be less
TAG = "tag-%d"


class Resources:
    """An origin whose resources change: what version each has, and when which was purged."""

    def __init__(self) -> None:
        self.versions = [1] * RESOURCES
        self.purged: list[dict[int, float]] = [{} for _ in range(RESOURCES)]
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                while stream.readline() not in (b"\r\n", b""):
                    pass
                number = int(line.split()[1].rpartition(b"/")[2])
                body = b"%d" % self.versions[number]
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nCache-Tag: "
                    + (TAG % number).encode()
                    + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
                    + body
                )


class Reader:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), 30)
        self._stream = self._sock.makefile("rb")

    def ask(self, method: str, target: str, field: str = "") -> tuple[int, bytes]:
        """Status and body."""
        self._sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{field}\r\n".encode())
        status = int(self._stream.readline().split()[1])
        size = 0
        while (line := self._stream.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        return status, self._stream.read(size)

    def close(self) -> None:
        self._stream.close()
        self._sock.close()


class Checker:
    """Asks, changes and purges until enough is asked; what was found is in its counts."""

    def __init__(self, resources: Resources, ports: Sequence[int], requests: int) -> None:
        self._resources = resources
        self._ports = ports
        self._left = requests
        self._lock = threading.Lock()
        self.requests = 0
        self.purges = 0
        self.hits_of_old = 0
        self.worst = 0.0
        self.errors: list[str] = []

    def run(self) -> None:
        """Return when all is asked. RuntimeError when something was answered wrongly."""
        readers = [
            threading.Thread(target=self._guard, args=(self._read, seed)) for seed in range(READERS)
        ]
        changer = threading.Thread(target=self._guard, args=(self._change, 99))
        for thread in (*readers, changer):
            thread.start()
        for thread in (*readers, changer):
            thread.join()
        if self.errors:
            raise RuntimeError(self.errors[0])

    def _guard(self, work: object, seed: int) -> None:
        try:
            work(random.Random(seed))  # type: ignore[operator]
        except Exception as error:
            self.errors.append(repr(error))
            self._left = 0

    def _read(self, choices: random.Random) -> None:
        connections = [Reader(port) for port in self._ports]
        while self._left > 0:
            number = choices.randrange(RESOURCES)
            asked = time.monotonic()
            status, body = choices.choice(connections).ask("GET", f"/r/{number}")
            if status != 200:
                raise RuntimeError(f"status {status}")
            gone = self._resources.purged[number].get(int(body))
            with self._lock:
                self._left -= 1
                self.requests += 1
                if gone is not None and gone < asked:
                    self.hits_of_old += 1
                    self.worst = max(self.worst, asked - gone)
        for connection in connections:
            connection.close()

    def _change(self, choices: random.Random) -> None:
        connections = [Reader(port) for port in self._ports]
        while self._left > 0:
            number = choices.randrange(RESOURCES)
            old = self._resources.versions[number]
            self._resources.versions[number] = old + 1
            connection, kind = choices.choice(connections), choices.choice(("url", "tag", "POST"))
            if kind == "url":
                status, _ = connection.ask("PURGE", f"/r/{number}")
            elif kind == "tag":
                status, _ = connection.ask("PURGE", "/", f"Cache-Tag: {TAG % number}\r\n")
            else:
                status, _ = connection.ask("POST", f"/r/{number}", "Content-Length: 0\r\n")
            if status != 200:
                raise RuntimeError(f"a purge ({kind}) was answered with {status}")
            self._resources.purged[number][old] = time.monotonic()
            self.purges += 1
            time.sleep(PAUSE)
        for connection in connections:
            connection.close()


@contextmanager
def proxy(origin: int, redis: Sequence[str]) -> Iterator[int]:
    """A proxy that uses Redis; its port."""
    from bench.processes import free_port

    port, admin = free_port(), free_port()
    command = [sys.executable, "app.py", "start", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--admin-port", str(admin), "--origin", f"http://127.0.0.1:{origin}"]
    command += ["--purge-from", "127.0.0.0/8", "--redis-timeout", "1s", *redis]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(admin)
            yield port
        finally:
            process.terminate()


def _wait_for(admin: int) -> None:
    for _ in range(1000):
        try:
            client = Reader(admin)
        except OSError:
            time.sleep(0.02)
            continue
        _, body = client.ask("GET", "/stats")
        client.close()
        if json.loads(body or b"{}").get("redis_connected"):
            return
        time.sleep(0.02)
    raise RuntimeError("the proxy does not use Redis")


def main() -> int:
    from bench import record
    from tests.functional.support.redis_server import RedisClusterNodes

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--replica-reads", action="store_true", help="read at replicas")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    facts = record.facts(1, 0)
    with ExitStack() as stack:
        cluster = RedisClusterNodes(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(cluster.kill)
        cluster.start()
        resources = Resources()
        stack.callback(resources.close)
        at = ("--redis-host", "127.0.0.1", "--use-cluster")
        at += ("--redis-port", str(cluster.nodes[0].port))
        at += ("--redis-replica-reads",) if options.replica_reads else ()
        ports = [stack.enter_context(proxy(resources.port, at)) for _ in range(2)]
        checker = Checker(resources, ports, options.requests)
        checker.run()
    print(
        f"{checker.requests} requests, {checker.purges} purges: {checker.hits_of_old} answers were"
        f" asked for after the receipt of their purge, at most {checker.worst * 1000:.2f} ms after"
    )
    if options.record:
        found = {name: getattr(checker, name) for name in ("requests", "purges", "hits_of_old")}
        path = ROOT / "bench" / "results" / f"coherence-{record.Record(facts, []).name}.json"
        found |= {"worst_ms": checker.worst * 1000, "bound_ms": BOUND * 1000}
        content = {**facts, "replica_reads": options.replica_reads, **found}
        path.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if checker.worst < BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
