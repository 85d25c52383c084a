"""The embedded store as a proxy uses it: it holds the folder and sees that there is a keeper.

Any number of proxies may hold the same folder; the keeper that one of them has started runs the
server for all, until the last of them lets go.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from caching_proxy.cache_manager.store_folder import socket_in
from caching_proxy.proxy_server import privileges
from caching_proxy.proxy_server.store_keeper import STOP_TIME, try_lock

logger = logging.getLogger("caching_proxy")

LOOK = 1.0  # seconds between two looks at the keeper; doubled while it cannot be had ...
LOOK_MAX = 60.0  # ... up to this
READY_TIME = 3.0  # seconds that are waited for the server at the start
_SOON = 0.02  # seconds between two looks at what is about to happen
_LOCK = "store.lock"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_PACKAGES = Path(__file__).parents[2]
# Isolated: nothing of the working directory, the environment or site-packages is imported.
_KEEP = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    " from caching_proxy.proxy_server.store_keeper import main; main()"
)


class Place(NamedTuple):
    """Which store: the program that serves it, its folder, its bound in bytes, and as whom."""

    server: Path
    folder: Path
    memory: int
    user: str | None


class EmbeddedStore:
    """The store that a proxy uses, if any. Without it memory serves; nothing here ends a proxy."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._users: int | None = None
        """The descriptor of the folder, locked for as long as this proxy uses it."""
        self._keeper: subprocess.Popen[bytes] | None = None
        """Where this process has started it."""
        self._told = ""

    async def take_over(self, place: Place | None) -> None:
        """Use this one, or none, from now on; return once it answers, or after READY_TIME.

        The bound and the user of one that is in use stay.
        """
        if self._place is not None and (place is None or place.folder != self._place.folder):
            await self.leave()
        if place is None or self._place is not None:
            return
        self._place = place
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._begin(), READY_TIME)

    async def watch(self) -> None:
        """Have a keeper whenever there is none, until this is cancelled."""
        pause = LOOK
        while True:
            await asyncio.sleep(pause)
            pause = LOOK if self._look() else min(2 * pause, LOOK_MAX)

    async def leave(self) -> None:
        """Let go of it; where nobody else uses it, return when its server has ended."""
        if self._users is not None:
            last = try_lock(self._users)
            self._let_go()
            for _ in range(int(STOP_TIME / _SOON)):
                if not last or not self._is_kept():
                    break
                await asyncio.sleep(_SOON)
        if self._keeper is not None and self._keeper.poll() is None:
            self._keeper.returncode = 0  # it outlives this process: nobody waits for it
        self._place = self._keeper = None

    def _let_go(self) -> None:
        if self._users is not None:
            os.close(self._users)
            self._users = None

    def _look(self) -> bool:
        """Hold the folder and have a keeper; False where that cannot be, which is told once."""
        if self._place is None or (self._keeper is not None and self._keeper.poll() is None):
            return True
        failed = self._keeper is not None and self._keeper.returncode != 0
        self._keeper = None
        try:
            users = _held(self._place)  # anew: somebody may have deleted the folder
            if users is not None:
                self._let_go()
                self._users = users
                self._start_keeper(self._place)
        except OSError as error:
            self._tell(error)
            return False
        except privileges.PrivilegesError as error:
            self._tell(OSError(errno.EPERM, str(error)))
            return False
        self._told = ""
        return not failed

    def _start_keeper(self, place: Place) -> None:
        """Start one unless there is one, of whatever proxy. Raises OSError."""
        with _lock_file(place) as lock:
            if not try_lock(lock):
                return
            arguments = [place.server, place.folder, socket_in(place.folder), place.memory, lock]
            self._keeper = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", "-c", _KEEP, str(_PACKAGES)]
                + [str(argument) for argument in (*arguments, place.user or "")],
                pass_fds=[lock],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a terminal's Ctrl-C is for the proxy
            )

    def _is_kept(self) -> bool:
        """Whether a keeper, or a server that has lost it, is there."""
        if self._keeper is not None and self._keeper.poll() is None:
            return True
        assert self._place is not None
        with contextlib.suppress(OSError), _lock_file(self._place) as lock:
            return not try_lock(lock)
        return False

    async def _begin(self) -> None:
        """Return when the server answers, with what it had stored, or it cannot be had."""
        while self._look():
            if self._users is not None and await self._answers():
                return
            await asyncio.sleep(_SOON)

    async def _answers(self) -> bool:
        assert self._place is not None
        with contextlib.suppress(OSError):
            return await _ping(socket_in(self._place.folder))
        return False

    def _tell(self, error: OSError) -> None:
        assert self._place is not None
        line = (
            f"the embedded store: {error.filename or self._place.folder}: {error.strerror}: memory"
            " serves alone; name a folder that the proxy's user, and nobody else, may write to with"
            " --data-dir"
        )
        if line != self._told:
            self._told = line
            logger.warning(line)


def _held(place: Place) -> int | None:
    """The descriptor of the folder, locked as one of those who use it; None: it is being left.

    Raises OSError.
    """
    try:
        place.folder.mkdir(0o700, parents=True)
        made = True
    except FileExistsError:
        made = False
    descriptor = os.open(place.folder, _FOLDER)
    try:
        if made and place.user is not None:
            privileges.own(descriptor, place.user)
        _check(descriptor, place)
        if try_lock(descriptor, shared=True):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _check(descriptor: int, place: Place) -> None:
    """That nobody else has what is served in his hands. Raises PermissionError."""
    found = os.fstat(descriptor)
    if found.st_uid != privileges.user_id(place.user):
        raise PermissionError(errno.EPERM, "it belongs to another user", str(place.folder))
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EPERM, "others may write there", str(place.folder))


@contextlib.contextmanager
def _lock_file(place: Place) -> Iterator[int]:
    """The descriptor of the file that keeper and server have locked while they are there.

    Raises OSError.
    """
    folder = os.open(place.folder, _FOLDER)
    try:
        _check(folder, place)
        descriptor = _open_lock(folder, place)
    finally:
        os.close(folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_lock(folder: int, place: Place) -> int:
    """Only what was made here and now is given away: what stands there is its user's doing.

    Raises OSError.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW
    try:
        descriptor = os.open(_LOCK, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    except FileExistsError:
        return os.open(_LOCK, flags, dir_fd=folder)
    if place.user is not None:
        privileges.own(descriptor, place.user)
    return descriptor


async def _ping(path: Path) -> bool:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    finally:
        writer.close()
