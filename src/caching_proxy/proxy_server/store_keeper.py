"""The keeper: a small process that runs the server of an embedded store while proxies use it.

    python -c ... SERVER FOLDER SOCKET MEMORY LOCK USER

Proxies hold a shared lock on the folder; once the keeper gets that lock for itself alone, nobody
uses the store and its server is ended, however the last proxy ended. LOCK is the descriptor of a
file that is locked: the keeper and the server keep it so until both are gone, and nobody starts
another server meanwhile. docs/decisions/0008-redis.md has the reasons.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from caching_proxy.proxy_server import privileges

if sys.platform != "win32":
    import fcntl

LOOK = 0.2  # seconds between two looks at whether a proxy uses the store
STABLE = 10.0  # seconds after which an end is no sign that the server cannot start
QUICK_ENDS = 3  # in a row, and it is put down to what is stored
BACK_OFF = 0.25  # seconds before the second start in a row, then doubled ...
BACK_OFF_MAX = 30.0  # ... up to this
STOP_TIME = 10.0  # seconds that the server gets to end in order
_WORDS_MAX = 4096  # bytes of what the server says that are remembered
_PR_SET_PDEATHSIG = 1  # prctl(2)
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_DATA = "store.aof"
_MARK = "store.boot"
# What valkey-server says.
_CANNOT_WRITE = b"writing to the AOF file"
_CAN_WRITE = b"AOF write error looks solved"


def main() -> None:
    """Run the server until no proxy uses its folder."""
    server, folder, socket, memory, lock, user = sys.argv[1:]
    os.umask(0o077)
    try:
        keeper = Keeper(Path(server), Path(folder), Path(socket), int(memory), int(lock))
        signal.signal(signal.SIGTERM, keeper.end)
        privileges.drop(user or None)
        keeper.run()
    except (OSError, privileges.PrivilegesError) as error:
        why = getattr(error, "strerror", None) or str(error)
        _say(f"the embedded store in {folder} cannot be kept: {why}: memory serves alone")
        sys.exit(1)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock it unless others have; whether that was so. Raises OSError."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Keeper:
    """One server after another over the same data."""

    def __init__(self, server: Path, folder: Path, socket: Path, memory: int, lock: int) -> None:
        """Raises OSError. The program is opened here: its user may not find the way there."""
        self._program = os.open(server, os.O_RDONLY)
        self._server = server
        self._folder = folder
        self._socket = socket
        self._memory = memory
        self._lock = lock
        self._users = os.open(folder, os.O_RDONLY)
        self._told_to_end = False
        self._is_full = False
        """Whether what was stored, or purged, last is not on the disk."""
        self._words = b""
        """What the server has said last."""

    def end(self, number: int, frame: FrameType | None) -> None:
        """End the server in order (a signal handler)."""
        self._told_to_end = True

    def run(self) -> None:
        """Replace the server whenever it ends, until nobody uses it. Raises OSError."""
        quick = 0
        while not self._is_over():
            began = time.monotonic()
            self._drop_what_is_not_whole()
            process = self._start()
            self._follow(process)
            status = process.returncode
            if status == 0 and not self._is_full:
                (self._folder / _MARK).unlink(missing_ok=True)
            if self._is_over():
                break
            quick = quick + 1 if time.monotonic() - began < STABLE else 0
            if status > 0 or quick >= QUICK_ENDS:
                quick = self._cannot_start(quick)
            else:
                how = f"signal {-status}" if status < 0 else f"status {status}"
                _say(f"the embedded store (process {process.pid}) ended with {how}: it is replaced")
            self._pause(quick)

    def _is_over(self) -> bool:
        return self._told_to_end or self._is_deleted() or try_lock(self._users)

    def _is_deleted(self) -> bool:
        """Whether somebody has removed the files; another keeper may have begun anew there."""
        return os.fstat(self._lock).st_nlink == 0

    def _pause(self, quick: int) -> None:
        """Wait before another start in a row, as long as somebody uses the store."""
        wait = min(BACK_OFF * 2 ** (quick - 2), BACK_OFF_MAX) if quick > 1 else 0.0
        until = time.monotonic() + wait
        while time.monotonic() < until and not self._is_over():
            time.sleep(LOOK)

    # -- the server

    def _start(self) -> subprocess.Popen[bytes]:
        opened = Path(f"/proc/self/fd/{self._program}")
        process = subprocess.Popen(  # noqa: S603
            [self._server, *self._options()],
            executable=opened if opened.exists() else self._server,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            restore_signals=False,  # beyond a limit of file size it is not to die
            pass_fds=[self._lock, self._program],
            preexec_fn=_end_with_parent,
        )
        self._words, self._is_full = b"", False
        return process

    def _options(self) -> list[str]:
        return [
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "600"),
            *("--dir", str(self._folder), "--save", "", "--loglevel", "notice"),
            *("--appendonly", "yes", "--appendfsync", "no"),
            *("--appenddirname", _DATA, "--appendfilename", "store"),
            *("--maxmemory", str(self._memory), "--maxmemory-policy", "volatile-lru"),
        ]

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Return when it has ended; end it once nobody uses it."""
        assert process.stdout is not None
        with process.stdout as said:
            while process.poll() is None:
                if self._is_deleted():
                    process.kill()  # in order, it would remove the socket of another
                elif self._is_over():
                    _end(process)
                self._listen(said.fileno(), LOOK)
            while self._listen(said.fileno(), 0):
                pass

    def _listen(self, descriptor: int, seconds: float) -> bool:
        """Take note of what the server says within that time; whether it said anything."""
        if not select.select([descriptor], [], [], seconds)[0]:
            return False
        octets = os.read(descriptor, _WORDS_MAX)
        self._words = (self._words + octets)[-_WORDS_MAX:]
        self._heed_writes()
        return bool(octets)

    def _heed_writes(self) -> None:
        """Note down whether it can write, where it has said so."""
        failed, went = self._words.rfind(_CANNOT_WRITE), self._words.rfind(_CAN_WRITE)
        if failed != went and (failed > went) != self._is_full:
            self._is_full = failed > went
            self._mark(b"" if self._is_full else _boot())

    def _last_words(self) -> str:
        """Why it ended, as it says: the last line that says anything."""
        lines = self._words.decode(errors="replace").splitlines()
        told = [line.partition(" # ")[2].strip() for line in lines]
        return next((line for line in reversed(told) if line), "it says nothing")

    # -- what is stored

    def _cannot_start(self, quick: int) -> int:
        """Blame what is stored, where there is anything; the number of quick ends to count on."""
        data = self._folder / _DATA
        why = f"the embedded store in {self._folder} does not start ({self._last_words()})"
        if not data.exists():
            _say(f"{why}: memory serves alone until it does")
            return quick
        shutil.rmtree(data)
        _say(f"{why}: what was stored is dropped")
        return 0

    def _drop_what_is_not_whole(self) -> None:
        """Have nothing left where something may be missing, by what the mark says; then set it.

        The mark is the machine's boot while a server runs, empty while that cannot write, gone once
        it has ended in order. What is missing may be purges: without them, what they purged would
        be served again.
        """
        with contextlib.suppress(FileNotFoundError):
            if not _boot() or (self._folder / _MARK).read_bytes() != _boot():
                shutil.rmtree(self._folder / _DATA)
                _say(
                    f"the embedded store in {self._folder} is not whole (the disk was full, or the"
                    " machine went down): what was stored is dropped"
                )
        self._mark(_boot())

    def _mark(self, octets: bytes) -> None:
        with (self._folder / _MARK).open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        os.fsync(self._users)


def _boot() -> bytes:
    """What the system calls the time since it was started; empty where it does not tell."""
    return _BOOT.read_bytes() if _BOOT.exists() else b""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIME)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_with_parent() -> None:
    """Have this process ended in order when its parent is gone, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _say(line: str) -> None:
    """In the proxy's log, whose standard error this is."""
    with contextlib.suppress(OSError):
        os.write(2, f"caching-proxy: ERROR: {line}\n".encode())
