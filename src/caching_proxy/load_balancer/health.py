"""Which upstream servers are up: active health checks, of one prober for all workers of a machine.

As with HAProxy, a server is up until told otherwise; its first check decides at once, from then on
`fall` failures in a row make it down and `rise` successes make it up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from random import Random
from types import MappingProxyType
from typing import Any

from caching_proxy.load_balancer.probe import HealthCheck, Target, probe

__all__ = ["Health", "HealthCheck", "Prober", "Target"]

log = logging.getLogger("caching_proxy")

AT_ONCE = 64  # checks under way
_SPREAD = 0.1  # of an interval: how long the first checks of many servers take to set out
_JITTER = 0.1  # of an interval, either way


@dataclass
class Health:
    """What the checks of a server have found."""

    up: bool = True
    known: bool = False
    """Whether any check has ended."""
    why: str = ""
    """Cause of the last failure in a few words; nothing when all is well."""
    checked_at: float = 0.0
    """Unix time at which the last check ended."""
    took: float = 0.0
    """Seconds."""
    successes: int = 0
    """In a row, up to now."""
    failures: int = 0

    def record(self, why: str, took: float, check: HealthCheck) -> bool:
        """Count the end of a check, `why` it failed or "". Tells whether that is news to others."""
        before = (self.known, self.up, self.told)
        self.successes, self.failures = (0, self.failures + 1) if why else (self.successes + 1, 0)
        if not self.known:
            self.up = not why
        elif self.up:
            self.up = self.failures < check.fall
        else:
            self.up = self.successes >= check.rise
        if self.up or why:  # a server that is down has a cause until it is up again
            self.why = why
        self.known, self.checked_at, self.took = True, time.time(), took
        return before != (True, self.up, self.told)

    @property
    def told(self) -> str:
        """Why it is down."""
        return "" if self.up else self.why

    def as_json(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


def first_delay(starting: int, check: HealthCheck, random: Random) -> float:
    """Seconds before the first check of a server, when so many begin together."""
    return random.uniform(0, _SPREAD * check.interval) if starting > AT_ONCE else 0.0


def next_delay(health: Health, check: HealthCheck, random: Random) -> float:
    """Seconds from the end of a check to the next."""
    steady = health.up and not health.failures
    interval = check.interval if steady else check.fast_interval
    return interval * random.uniform(1 - _JITTER, 1 + _JITTER)


class Prober:
    """Checks servers as long as it is told to watch them."""

    def __init__(
        self, changed: Callable[[str, Health], None], random: Random | None = None
    ) -> None:
        """`changed` is called with each first verdict, and when a server goes up or down or is down
        for another cause."""
        self._changed = changed
        self._random = random or Random()  # noqa: S311
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._targets: dict[str, Target] = {}
        self._health: dict[str, Health] = {}
        self._checking: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # with those that are about to end

    @property
    def health(self) -> Mapping[str, Health]:
        """Of every server that is watched, by its name."""
        return MappingProxyType(self._health)

    def watch(self, targets: Iterable[Target]) -> None:
        """Check these from now on and no others.

        One that stays goes on; one whose check or address is another keeps its state and is checked
        at once.
        """
        wanted = {target.name: target for target in targets}
        for name in self._targets.keys() - wanted.keys():
            self._checking.pop(name).cancel()
            del self._targets[name], self._health[name]
        starting = [new for new in wanted.values() if self._targets.get(new.name) != new]
        for target in starting:
            self._begin(target, first_delay(len(starting), target.check, self._random))

    def _begin(self, target: Target, delay: float) -> None:
        if target.name in self._checking:
            self._checking[target.name].cancel()
        health = self._health.setdefault(target.name, Health())
        health.successes = health.failures = 0
        task = asyncio.ensure_future(self._keep_checking(target, health, delay))
        self._targets[target.name] = target
        self._checking[target.name] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_checking(self, target: Target, health: Health, delay: float) -> None:
        while True:
            await asyncio.sleep(delay)
            async with self._slots:
                began = time.monotonic()
                why = await probe(target)
            if health.record(why, time.monotonic() - began, target.check):
                self._tell(target.name, health)
            delay = next_delay(health, target.check, self._random)

    def _tell(self, name: str, health: Health) -> None:
        try:
            self._changed(name, health)
        except Exception:
            log.exception("the health of %s was not passed on", name)

    async def stop(self) -> None:
        """End every check that is under way, and check no more."""
        self.watch(())
        await asyncio.gather(*self._tasks, return_exceptions=True)
