"""The supervisor: keeps workers running, directs them, speaks for all of them.

It serves nobody itself. It holds the listening sockets, so that connections wait for a worker that
is being replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import caching_proxy
from caching_proxy.cache_manager.generations import SIZE
from caching_proxy.configuration import Configuration, Sources
from caching_proxy.proxy_server.channel import CallFailed, Channel, ChannelClosed
from caching_proxy.proxy_server.cores import available_cores
from caching_proxy.proxy_server.errors import ListenError
from caching_proxy.proxy_server.listeners import Bound, Sockets, endpoints, of_worker
from caching_proxy.proxy_server.orders import Orders
from caching_proxy.proxy_server.receipt import Receipt, sum_of
from caching_proxy.proxy_server.server_states import ServerStates, merged
from caching_proxy.proxy_server.worker import described

logger = logging.getLogger("caching_proxy")

STABLE = 10.0  # seconds after which a worker's end is no sign that it cannot start
BACK_OFF = 0.25  # seconds before the second start in a row, then doubled ...
BACK_OFF_MAX = 30.0  # ... up to this
PINGS = 4  # in the time that a worker may be silent
ABORT_TIME = 1.0  # seconds that a hung worker gets to show where it hangs
# Not -m, nor a bare -c: those would look for modules in the working directory first.
_WORK = (
    "import sys; sys.path = [place for place in sys.path if place];"
    " from caching_proxy.cli.worker import main; main()"
)
EXIT_TIME = 5.0  # seconds that a drained worker gets to exit
_OF_ALL = {"redis_processes"}  # counters that are the same for all workers


class _Worker:
    """One worker process, as the supervisor sees it."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.number = number
        self.process = process
        self.channel = channel

    async def end(self) -> None:
        """Let it exit; kill it where it does not."""
        self.channel.close()
        try:
            await asyncio.wait_for(self.process.wait(), EXIT_TIME)
        except (asyncio.TimeoutError, TimeoutError):
            self.signal(signal.SIGKILL)
            await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class Supervisor:
    """All workers of one proxy."""

    def __init__(
        self, sources: Sources, inherited: Bound | None = None, orders: Orders | None = None
    ) -> None:
        """`orders` hold from the first request on."""
        self.sockets = Sockets(inherited)
        self._sources = sources
        self._configuration: Configuration | None = None
        self._wanted = 0
        """How many there are to be, settled with each configuration."""
        self._workers: dict[int, _Worker] = {}
        """Those that accept connections, by number."""
        self._live: set[_Worker] = set()
        """Besides these, those that are about to accept, or end what they have begun."""
        self._keepers: dict[int, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._absent: set[int] = set()
        """Numbers of workers that do not accept yet, or no more: the others do it for them."""
        self._user: str | None = None
        self._restarts = 0
        self._environment = _environment()
        self._shared = _shared_memory(SIZE)
        self._changing = asyncio.Lock()
        self._states = ServerStates(self._tell, orders)
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def orders(self) -> Orders:
        """What operators want of servers."""
        return self._states.orders

    @property
    def serving(self) -> bool:
        """Whether any worker accepts connections."""
        return bool(self._workers)

    # -- configurations

    async def take_over(self, configuration: Configuration) -> None:
        """Go by this from now on, all workers or none. Raises ListenError."""
        number = configuration.settings.workers or available_cores()
        async with self._changing:
            if self._configuration is None:
                bound = self.sockets.prepare(endpoints(configuration), number)
                self.sockets.commit(bound)
                self._configuration, self._wanted = configuration, number
                self._user = configuration.settings.user  # for good: rights do not come back
                self._states.take_over(configuration)  # first: every worker is told what it knows
                await self._start_all()
                return
            bound = self.sockets.prepare(endpoints(configuration), number)
            workers = list(self._workers.values())
            try:
                await self._prepare(workers, configuration, number)
            except BaseException:
                self.sockets.discard(bound)
                raise
            self._configuration, self._wanted = configuration, number
            self.sockets.commit(bound)
            self._absent = set(range(self._wanted)) - self._workers.keys()
            kept = [worker for worker in workers if worker.number < self._wanted]
            await asyncio.gather(*map(self._commit, kept))
            self._adjust_number(configuration.settings.grace)
            self._states.take_over(configuration)

    async def _prepare(
        self, workers: Sequence[_Worker], configuration: Configuration, number: int
    ) -> None:
        """Have every worker make ready to be one of so many. Raises ListenError; then none has."""
        told = self._told(configuration, number)
        timeout = configuration.settings.start_timeout
        calls = [worker.channel.call("prepare", told, (), timeout) for worker in workers]
        results = await asyncio.gather(*calls, return_exceptions=True)
        failures = [result for result in results if isinstance(result, CallFailed)]
        if not failures:
            return
        for worker in workers:
            with contextlib.suppress(ChannelClosed, CallFailed):
                await worker.channel.call("discard", {}, (), timeout)
        raise ListenError(str(failures[0]))

    async def _commit(self, worker: _Worker) -> None:
        """A worker that is gone meanwhile is replaced by one that begins with it."""
        assert self._configuration is not None
        try:
            await self._have_listen(worker, "commit")
        except (ChannelClosed, CallFailed):
            worker.signal(signal.SIGKILL)

    def _adjust_number(self, grace: float) -> None:
        """Start the workers that are missing, let those that are too many end."""
        for number in range(self._wanted):
            if number not in self._keepers:
                self._keepers[number] = asyncio.ensure_future(self._keep(number))
        for number in [number for number in self._keepers if number >= self._wanted]:
            self._keepers.pop(number).cancel()
            worker = self._workers.pop(number, None)
            if worker is not None:
                self._retiring.add(task := asyncio.ensure_future(self._drain_one(worker, grace)))
                task.add_done_callback(self._retiring.discard)

    def _told(self, configuration: Configuration, number: int) -> dict[str, Any]:
        told = described(configuration, self._sources.given, self._sources.environment)
        return {**told, "workers": number, "user": self._user}

    # -- keeping workers running

    async def _start_all(self) -> None:
        """Raises ListenError when a worker cannot start: nothing runs then."""
        started = await asyncio.gather(
            *[self._start(number) for number in range(self._wanted)], return_exceptions=True
        )
        failures = [failure for failure in started if isinstance(failure, BaseException)]
        if failures:
            raise ListenError(str(failures[0]) or "a worker ended while it started")
        for number in range(self._wanted):
            self._keepers[number] = asyncio.ensure_future(self._keep(number))

    async def _keep(self, number: int) -> None:
        """Replace the worker of this number whenever it ends, until this is cancelled."""
        quick = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            worker = self._workers.get(number)
            if worker is None:
                worker = await self._try_start(number)
            if worker is not None:
                await self._watch(worker)
            self._restarts += 1
            quick = quick + 1 if loop.time() - began < STABLE else 0
            if quick > 1:
                async with self._changing:
                    await self._leave_out(number)
                await asyncio.sleep(min(BACK_OFF * 2 ** (quick - 2), BACK_OFF_MAX))

    async def _try_start(self, number: int) -> _Worker | None:
        async with self._changing:
            try:
                return await self._start(number)
            except Exception as error:
                known = isinstance(error, (ChannelClosed, CallFailed, OSError))
                cause = str(error) or "it ended"
                logger.error(*("worker %d does not start: %s", number, cause), exc_info=not known)
                await self._leave_out(number)
                return None

    async def _start(self, number: int) -> _Worker:
        """A worker that accepts connections. Raises ChannelClosed, CallFailed, OSError."""
        assert self._configuration is not None
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = [theirs.fileno(), self._shared.fileno()]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _WORK),
                *map(str, descriptors),
                env=self._environment,
                pass_fds=descriptors,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # a terminal's Ctrl-C is for the supervisor
            )
        worker = _Worker(number, process, Channel(ours, {"purge": self._purge_call}, lambda: None))
        timeout = self._configuration.settings.start_timeout
        told = self._told(self._configuration, self._wanted)
        try:
            await worker.channel.call("prepare", told, (), timeout)
            self._live.add(worker)  # before it accepts: a purge has to reach it
            await worker.channel.call("states", self._states.snapshot, (), timeout)
            await self._have_listen(worker, "commit")
        except BaseException:
            worker.signal(signal.SIGKILL)
            await worker.end()
            self._live.discard(worker)
            raise
        self._workers[number] = worker
        if number in self._absent:
            self._absent.discard(number)
            await self._share_out()
        return worker

    async def _leave_out(self, number: int) -> None:
        """Have the others accept what would wait for a worker that cannot start."""
        if number not in self._absent:
            self._absent.add(number)
            await self._share_out()

    async def _share_out(self) -> None:
        """Tell every worker which sockets it accepts on."""
        for worker in list(self._workers.values()):
            with contextlib.suppress(ChannelClosed, CallFailed):
                await self._have_listen(worker, "listen")

    async def _have_listen(self, worker: _Worker, call: str) -> None:
        """Have it accept on its share, and on what of the absent ones falls to it."""
        assert self._configuration is not None
        settings, number = self._configuration.settings, worker.number
        present = [n for n in range(self._wanted) if n == number or n not in self._absent]
        share = present.index(number), len(present)
        accepting = of_worker(self.sockets.bound, *share, settings.backlog)
        asked = {"backlogs": [each.backlog for each in accepting]}
        sockets = [each.sock for each in accepting]
        await worker.channel.call(call, asked, sockets, settings.start_timeout)

    async def _watch(self, worker: _Worker) -> None:
        """Return when it has ended, of itself or since it hung."""
        pinging = asyncio.ensure_future(self._ping(worker))
        try:
            status = await worker.process.wait()
        finally:
            pinging.cancel()
        worker.channel.close()
        self._live.discard(worker)
        del self._workers[worker.number]
        how = f"signal {-status}" if status < 0 else f"status {status}"
        logger.error(
            "worker %d (process %d) ended with %s: it is replaced",
            *(worker.number, worker.process.pid, how),
        )

    async def _ping(self, worker: _Worker) -> None:
        """End the worker once it has been silent for too long."""
        assert self._configuration is not None
        while True:
            timeout = self._configuration.settings.worker_timeout
            try:
                await worker.channel.call("ping", {}, (), timeout)
            except (ChannelClosed, CallFailed):
                break
            await asyncio.sleep(timeout / PINGS)
        logger.error(
            "worker %d (process %d) gives no sign of life: it is ended",
            *(worker.number, worker.process.pid),
        )
        worker.signal(signal.SIGABRT)
        await asyncio.sleep(ABORT_TIME)
        worker.signal(signal.SIGKILL)

    # -- what is asked of all

    async def _ask_all(self, name: str, asked: Mapping[str, Any]) -> list[Any]:
        """The answers of all workers, of those that do not accept yet too."""
        return await self._ask(list(self._live), name, asked)

    async def _ask(self, workers: list[_Worker], name: str, asked: Mapping[str, Any]) -> list[Any]:
        """Their answers; a worker that does not answer is ended, and forgets all it has."""
        assert self._configuration is not None
        timeout = self._configuration.settings.worker_timeout
        calls = [worker.channel.call(name, asked, (), timeout) for worker in workers]
        results = await asyncio.gather(*calls, return_exceptions=True)
        answers = []
        for worker, result in zip(workers, results, strict=True):
            if isinstance(result, ChannelClosed):
                worker.signal(signal.SIGKILL)
            elif isinstance(result, CallFailed):
                raise ValueError(str(result))
            elif isinstance(result, BaseException):
                raise result
            else:
                answers.append(result)
        return answers

    async def stats(self) -> dict[str, Any]:
        """The sums of all workers' counters; `workers` are those that accept."""
        sums: dict[str, Any] = {}
        accepting = list(self._workers.values())
        others = [worker for worker in self._live if worker not in accepting]
        answers, more = await asyncio.gather(
            self._ask(accepting, "stats", {}), self._ask(others, "stats", {})
        )
        for answer in answers + more:
            for name, value in answer.items():
                had = sums.get(name, 0)
                sums[name] = max(had, value) if name in _OF_ALL else had + value
        asked = sums.get("hits", 0) + sums.get("misses", 0)
        sums["hit_ratio"] = round(sums["hits"] / asked, 4) if asked else 0.0
        return {**sums, "workers": len(answers), "worker_restarts": self._restarts}

    async def origins(self) -> list[dict[str, Any]]:
        """What there is to tell of each origin and its servers, of all workers together."""
        return merged(await self._ask_all("origins", {}), self._states)

    async def order(self, server: str, order: str, origin: str | None) -> dict[str, str]:
        """Have a server ready, drained or disabled, in all workers. Raises ValueError."""
        receipt = self._states.order(server, order, origin)
        await self._tell_all()  # when the answer comes no worker sends it anything new
        return receipt

    def _tell(self) -> None:
        """Have every worker know what is known of servers."""
        task = asyncio.ensure_future(self._tell_all())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell_all(self) -> None:
        await self._ask_all("states", self._states.snapshot)

    async def clear(self) -> Receipt:
        """Drop every stored response of every worker."""
        return sum_of(Receipt(*told) for told in await self._ask_all("clear", {}))

    async def purge(self, selection: Mapping[str, Any]) -> Receipt:
        """Drop what is selected, or make it stale, in every worker."""
        return sum_of(Receipt(*told) for told in await self._ask_all("purge", selection))

    async def _purge_call(
        self, asked: dict[str, Any], sockets: list[socket.socket]
    ) -> dict[str, Any]:
        """A purge that came to one worker."""
        receipt = await self.purge(asked)
        return {"purged": receipt.number, **receipt.reach}

    async def explain(
        self, method: str, url: str, fields: Sequence[Sequence[str]], content: bytes
    ) -> dict[str, Any]:
        """How a request would be answered by a worker that has the answer stored, else by any."""
        asked: dict[str, Any] = {"method": method, "url": url, "fields": fields}
        asked["content"] = content.decode("latin-1")
        reports = await self._ask(list(self._workers.values()), "explain", asked)
        if not reports:
            raise ValueError("no worker answers: try again")
        report: dict[str, Any] = next((r for r in reports if "stored" in r), reports[0])
        holding = sum("stored" in report for report in reports)
        return {**report, "workers": f"stored in {holding} of {len(reports)}"}

    # -- the end

    def kill(self) -> None:
        """End every worker at once."""
        for worker in self._live:
            worker.signal(signal.SIGKILL)

    async def drain(self, grace: float) -> None:
        """Take nothing new, let exchanges end for at most `grace` seconds, close all."""
        self._let_go()
        await self._states.stop()
        async with self._changing:
            self._let_go()  # of those that a change under way has begun
            self.sockets.close()
        await asyncio.gather(*[self._drain_one(worker, grace) for worker in list(self._live)])
        self._shared.close()

    def _let_go(self) -> None:
        """Replace no worker any more."""
        for keeper in self._keepers.values():
            keeper.cancel()

    async def _drain_one(self, worker: _Worker, grace: float) -> None:
        with contextlib.suppress(ChannelClosed, CallFailed):
            await worker.channel.call("drain", {"grace": grace}, (), grace + EXIT_TIME)
        await worker.end()
        self._live.discard(worker)


def _shared_memory(size: int) -> BinaryIO:
    """A file in memory, for the workers to map."""
    if hasattr(os, "memfd_create"):
        file: BinaryIO = os.fdopen(os.memfd_create("caching-proxy"), "r+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115
    file.truncate(size)
    return file


def _environment() -> dict[str, str]:
    """Ours, with this package on the path wherever it was found."""
    place = str(Path(caching_proxy.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([place, inherited] if inherited else [place])
    seed = str(secrets.randbelow(1 << 32))  # Generations: all workers hash alike
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed}
