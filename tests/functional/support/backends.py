"""Origin servers that are processes, so that they can be killed, stopped and started again."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .backend_process import Behaviour
from .ports import unused_port
from .waiting import DEADLINE

PROGRAM = Path(__file__).with_name("backend_process.py")


class Backend:
    """One, always at the same address, and by this also named in X-Backend."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port or unused_port()
        self.name = f"{host}:{self.port}"
        self.posts: list[str] = []
        """X-Id of every POST that it has seen, whatever became of it since."""
        self._told: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.start()

    def start(self) -> None:
        """Return when it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM), self.host, str(self.port), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="backend's output")
        self._reader.start()
        self._told.get(timeout=DEADLINE)

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if "post" in told:
                self.posts.append(told["post"])
            else:
                self._told.put(told["requests"])

    def behave(self, behaviour: Behaviour) -> int:
        """Have it behave so from now on; how many requests it has had since its start."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(vars(behaviour)) + "\n")
        self._process.stdin.flush()
        return self._told.get(timeout=DEADLINE)

    def kill(self) -> None:
        """End it at once, in whatever state it is."""
        if self._process is None:
            return
        assert self._reader is not None and self._process.stdin and self._process.stdout
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = None

    def hang(self) -> None:
        """Its system takes connections and what comes on them; it does nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `hang`, with all that has come meanwhile."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def backends(hosts: Sequence[str], port: int = 0) -> Iterator[list[Backend]]:
    """One at each of these addresses; all are ended."""
    started: list[Backend] = []
    try:
        for host in hosts:
            started.append(Backend(host, port))
        yield started
    finally:
        for backend in started:
            backend.kill()
