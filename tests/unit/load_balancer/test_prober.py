"""Checks of many servers, over and over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from caching_proxy.load_balancer.health import (
    AT_ONCE,
    Health,
    HealthCheck,
    Prober,
    Target,
)
from tests.unit.load_balancer.scripted_server import (
    Connection,
    ScriptedServer,
    never_answers,
    serving,
    until,
)

NEVER = 1000.0  # seconds
CHECK = HealthCheck("http", interval=0.02, fast_interval=0.01, timeout=20.0)
ONCE = replace(CHECK, interval=NEVER, fast_interval=NEVER)
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def bad(status: int) -> bytes:
    return b"HTTP/1.1 %d Bad\r\nContent-Length: 0\r\n\r\n" % status


class Changes(list[tuple[str, Health]]):
    """What a prober told, as it was then."""

    def __call__(self, name: str, health: Health) -> None:
        self.append((name, replace(health)))

    @property
    def verdicts(self) -> list[tuple[str, bool, str]]:
        return [(name, health.up, health.why) for name, health in self]


def at(server: ScriptedServer, check: HealthCheck = CHECK, name: str = "one") -> Target:
    return Target(name, server.addresses, None, None, check)


@asynccontextmanager
async def prober(changed: Callable[[str, Health], None]) -> AsyncIterator[Prober]:
    """One that leaves nothing behind."""
    before = asyncio.all_tasks()
    prober = Prober(changed, Random(1))
    try:
        yield prober
    finally:
        await prober.stop()
    assert not prober.health
    left = {task.get_coro().__qualname__ for task in asyncio.all_tasks() - before}
    assert left <= {ScriptedServer.serve.__qualname__}


# --- probing --------------------------------------------------------------------------------------


async def test_the_first_check_decides() -> None:
    changes = Changes()
    async with serving(GOOD) as good, serving(bad(503)) as failing, prober(changes) as watching:
        watching.watch([at(good, ONCE, "good"), at(failing, ONCE, "failing")])
        assert [health.known for health in watching.health.values()] == [False, False]
        assert [health.up for health in watching.health.values()] == [True, True]
        await until(lambda: len(changes) == 2, "two verdicts")
        assert sorted(changes.verdicts) == [("failing", False, "status 503"), ("good", True, "")]
        assert all(health.known for health in watching.health.values())
        assert all(health.took > 0 for health in watching.health.values())


async def test_a_server_goes_and_comes_back() -> None:
    changes = Changes()
    async with serving(GOOD) as server, prober(changes) as watching:
        watching.watch([at(server)])
        await until(lambda: changes, "the first verdict")
        server.script = bad(500)
        await until(lambda: len(changes) == 2, "the server to be down")
        server.script = bad(503)
        await until(lambda: len(changes) == 3, "another cause")
        server.script = GOOD
        await until(lambda: len(changes) == 4, "the server to be up")
    assert changes.verdicts == [
        ("one", True, ""),
        ("one", False, "status 500"),
        ("one", False, "status 503"),
        ("one", True, ""),
    ]
    assert [changes[1][1].failures, changes[3][1].successes] == [CHECK.fall, CHECK.rise]


async def test_a_listener_fails_and_is_told_of_again(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[bool] = []

    def changed(name: str, health: Health) -> None:
        calls.append(health.up)
        raise RuntimeError("told you so")

    async with serving(bad(503)) as server, prober(changed) as watching:
        watching.watch([at(server)])
        await until(lambda: calls, "the first verdict")
        server.script = GOOD
        await until(lambda: len(calls) == 2, "the second verdict")
    assert calls == [False, True]
    messages = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in messages] == [
        "the health of one was not passed on"
    ] * 2


# --- other targets --------------------------------------------------------------------------------


async def test_a_target_that_stays_goes_on() -> None:
    async with serving(GOOD) as server, serving(GOOD) as other, prober(Changes()) as watching:
        watching.watch([at(server, ONCE)])
        health = watching.health["one"]
        await until(lambda: health.known, "the first verdict")
        watching.watch([at(server, ONCE), at(other, ONCE, "two")])
        await until(lambda: watching.health["two"].known, "the verdict on another")
        assert watching.health["one"] is health
        assert (server.connections, health.successes) == (1, 1)


async def test_another_check_begins_at_once_and_keeps_the_state() -> None:
    changes = Changes()
    async with serving(bad(404)) as server, prober(changes) as watching:
        watching.watch([at(server, replace(ONCE, statuses=["404"]))])
        await until(lambda: changes, "the first verdict")
        watching.watch([at(server, replace(ONCE, path="/health"))])
        health = watching.health["one"]
        await until(lambda: health.failures, "the check of /health")
        assert (health.up, health.known, health.why) == (True, True, "status 404")
    assert server.requests[1].startswith(b"GET /health ")
    assert len(changes) == 1


async def test_another_address_is_checked_at_once() -> None:
    changes = Changes()
    async with serving(bad(503)) as old, serving(GOOD) as new, prober(changes) as watching:
        watching.watch([at(old, ONCE)])
        await until(lambda: changes, "the first verdict")
        watching.watch([at(new, replace(ONCE, rise=1))])
        await until(lambda: len(changes) == 2, "the second verdict")
    assert changes.verdicts == [("one", False, "status 503"), ("one", True, "")]
    assert (old.connections, new.connections) == (1, 1)


async def test_failures_of_another_check_do_not_count() -> None:
    changes = Changes()
    async with serving(bad(503)) as server, prober(changes) as watching:
        watching.watch([at(server, ONCE)])
        await until(lambda: changes, "the first verdict")
        server.script = bad(500)
        watching.watch([at(server, replace(ONCE, path="/health"))])
        await until(lambda: len(changes) == 2, "another cause")
    assert [health.failures for _, health in changes] == [1, 1]


async def test_a_target_that_goes_is_forgotten() -> None:
    changes = Changes()
    async with (
        serving(never_answers) as hanging,
        serving(GOOD) as good,
        prober(changes) as watching,
    ):
        watching.watch([at(hanging, CHECK, "gone"), at(good, CHECK, "stays")])
        await until(lambda: hanging.connections, "a check to begin")
        watching.watch([at(good, CHECK, "stays")])
        assert list(watching.health) == ["stays"]
        await until(lambda: hanging.left, "the check to end")
        watching.watch([at(good, ONCE, "gone"), at(good, CHECK, "stays")])
        assert watching.health["gone"].known is False
        await until(lambda: watching.health["gone"].known, "a first verdict again")
    assert {name: up for name, up, _ in changes.verdicts} == {"stays": True, "gone": True}


async def test_a_listener_may_choose_other_targets() -> None:
    async with serving(bad(503)) as server:

        def changed(name: str, health: Health) -> None:
            watching.watch([target for target in targets if target.name != name])

        targets = [at(server, CHECK, "one")]
        async with prober(changed) as watching:
            watching.watch(targets)
            await until(lambda: not watching.health, "the target to be forgotten")


# --- bounds and endings ---------------------------------------------------------------------------


class Gate:
    """A script that answers once the gate is open, and counts who waits there."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0
        self.most = 0

    async def __call__(self, connection: Connection) -> None:
        await connection.request()
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await self.open.wait()
        self.waiting -= 1
        await connection.send(GOOD)


async def test_the_number_of_checks_under_way_is_bounded() -> None:
    gate = Gate()
    check = replace(ONCE, interval=0.1, timeout=60.0)
    async with serving(gate) as server, prober(Changes()) as watching:
        watching.watch(at(server, check, f"server {number}") for number in range(3 * AT_ONCE))
        await until(lambda: gate.waiting == AT_ONCE, "as many checks as there may be")
        gate.open.set()
        await until(
            lambda: all(health.known for health in list(watching.health.values())), "all verdicts"
        )
    assert gate.most == AT_ONCE


async def test_many_checks_do_not_begin_at_once() -> None:
    slow = replace(CHECK, interval=100.0)
    async with serving(GOOD) as server, prober(Changes()) as watching:
        watching.watch(at(server, slow, f"server {number}") for number in range(AT_ONCE + 1))
        await until(lambda: server.connections, "the first of them")
        assert server.connections < AT_ONCE


@pytest.mark.parametrize("kind", ["tcp", "http"])
async def test_it_stops_amid_checks(kind: Any) -> None:
    check = replace(CHECK, kind=kind, interval=0.001, fast_interval=0.001)
    async with serving(never_answers) as hanging, serving(bad(503)) as failing:
        async with prober(Changes()) as watching:
            for number in range(30):
                watching.watch([at(hanging, check, "hangs"), at(failing, check, str(number))])
                await until(lambda: failing.connections >= number, "checks to go on")  # noqa: B023
        await until(lambda: hanging.left == hanging.connections, "the connections to end")


async def test_it_stops_while_checks_wait_for_their_turn() -> None:
    async with serving(never_answers) as server, prober(Changes()) as watching:
        watching.watch(at(server, CHECK, f"server {number}") for number in range(3 * AT_ONCE))
        await until(lambda: server.connections == AT_ONCE, "as many checks as there may be")


async def test_it_stops_before_anything_began() -> None:
    async with serving(GOOD) as server, prober(Changes()) as watching:
        await watching.stop()
        watching.watch([at(server)])
    assert server.connections == 0
