"""Backends that fail in every way while clients ask: who notices, and for how long."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from .support.backend_process import Behaviour, body_of
from .support.backends import Backend, backends
from .support.balancing import DELAY, NAMED, OUT, QUICK, WELL, Balanced, balanced
from .support.cache_status import ours
from .support.configured import Configured
from .support.crowd import Crowd, crowd
from .support.faults import FAULTS, well
from .support.raw_client import Address
from .support.stand import StartProxy
from .support.waiting import wait_until

HEAD_TIMEOUT = 1.0  # seconds, of support.balancing.QUICK
EJECT_TIME = 0.5
SLACK = 2.0  # seconds that a busy machine may add
CLIENTS = 4  # of each kind
AFTER = 3  # failures in a row, after which a server is left out

# How many of three have it. That one is slow is no failure by default.
CASES = [(fault, number) for fault in FAULTS if fault != "slow" for number in (1, 2)]
CASES.remove(("errors", 2))  # takes up to 10 s where all went well before: has a proxy of its own


@pytest.fixture(scope="module", params=["weighted-round-robin", "least-connections"])
def shared(request: pytest.FixtureRequest) -> Iterator[Balanced]:
    """One proxy for all tests of a strategy: each leaves its servers as it has found them."""
    options = ("--strategy", request.param, "--eject-time-max", "500ms", "--health-check", "http")
    with balanced(*options) as stand:
        yield stand


ONE_STRATEGY = pytest.mark.parametrize("shared", ["weighted-round-robin"], indirect=True)


@pytest.fixture
def stand(shared: Balanced) -> Iterator[Balanced]:
    yield shared
    shared.wait_idle()
    for server in shared.servers:
        shared.wait_state(server, "up")


@contextmanager
def both(address: Address) -> Iterator[tuple[Crowd, Crowd]]:
    """Clients whose requests may be sent again, and others."""
    with crowd(address, CLIENTS) as gets, crowd(address, CLIENTS, "POST") as posts:
        yield gets, posts


def check_well(*loads: Crowd) -> None:
    """All were answered as if nothing were wrong."""
    for load in loads:
        assert not load.wrong, (load.method, len(load.wrong), load.wrong[:3])


def check_posts(load: Crowd, servers: Sequence[Backend]) -> None:
    """None was seen twice, and one that was answered well exactly once."""
    seen = Counter(post for server in servers for post in server.posts)
    for answer in load.answers:
        number = seen[answer.id]
        assert number == 1 if answer.status == 200 else number <= 1, (answer, number)


def check_left_alone(stand: Balanced, backend: Backend, load: Crowd) -> None:
    """Once it is out it gets nothing, unless the time for which it is left out ends."""
    stand.wait_state(backend, *OUT)
    begun, before = time.monotonic(), stand.server(backend)["requests"]
    load.go_on(5)
    more = stand.server(backend)["requests"] - before
    periods = int((time.monotonic() - begun) / EJECT_TIME)
    assert more <= (AFTER + 2 * CLIENTS) * periods, (more, periods, stand.origin())


def wait_time(end: float) -> None:
    """Until then, in monotonic seconds."""
    wait_until(lambda: time.monotonic() >= end, "time to pass")


# --- some of them ---


@pytest.mark.parametrize(("fault", "number"), CASES)
def test_who_can_be_sent_again_notices_nothing(stand: Balanced, fault: str, number: int) -> None:
    """Not even before it is detected; what cannot be sent again reaches one backend at most."""
    bad = stand.servers[:number]
    with both(stand.proxy.address) as (gets, posts):
        for backend in bad:
            FAULTS[fault].begin(backend)
        for backend in bad:
            check_left_alone(stand, backend, gets)
        for backend in bad:
            FAULTS[fault].end(backend)
        for backend in bad:
            gets.wait_for(backend.name)
    check_well(gets)
    assert gets.slowest < (number * HEAD_TIMEOUT if fault == "hung" else 0) + SLACK
    check_posts(posts, stand.servers)


def test_two_of_three_fail_now_and_then() -> None:
    """The third is enough to tell that."""
    with balanced("--eject-time", "10s") as stand, both(stand.proxy.address) as (gets, posts):
        for backend in stand.servers[:2]:
            FAULTS["errors"].begin(backend)
        for backend in stand.servers[:2]:
            stand.wait_state(backend, "ejected")
    check_well(gets)
    check_posts(posts, stand.servers)


@ONE_STRATEGY
def test_a_body_too_long_to_be_held_breaks_off(stand: Balanced) -> None:
    """Who gets it learns of that: it never looks whole. The server is left alone all the same."""
    bad, *good = stand.servers
    errors = [stand.server(backend)["errors"] for backend in good]
    with crowd(stand.proxy.address, CLIENTS, size=100_000) as gets:
        bad.behave(Behaviour(DELAY, reset="body", after=70_000))
        check_left_alone(stand, bad, gets)
        well(bad)
        gets.wait_for(bad.name)
    assert gets.wrong
    assert {answer.status for answer in gets.wrong} == {0}
    assert [stand.server(backend)["errors"] for backend in good] == errors


def test_a_slow_one_gets_less_where_connections_count() -> None:
    with balanced("--strategy", "least-connections") as stand, crowd(stand.proxy.address) as gets:
        slow, *others = stand.servers
        slow.behave(Behaviour(10 * DELAY))
        before = {backend: gets.count(backend.name) for backend in stand.servers}
        gets.go_on(25)
        found = {backend: gets.count(backend.name) - before[backend] for backend in stand.servers}
        slow.behave(WELL)
    check_well(gets)
    assert gets.slowest < 10 * DELAY + SLACK
    assert 3 * found[slow] < min(found[other] for other in others), found.values()


def test_a_slow_one_is_left_alone_where_that_is_a_failure() -> None:
    options = ("--circuit-latency", "70ms", "--circuit-min-requests", "10")
    with balanced(*options) as stand, both(stand.proxy.address) as (gets, posts):
        slow = stand.servers[0]
        slow.behave(Behaviour(10 * DELAY))
        stand.wait_state(slow, "circuit open")
        assert "took over 0.07 s" in stand.server(slow)["why"]
        slow.behave(WELL)
        gets.wait_for(slow.name)
    check_well(gets, posts)
    assert gets.slowest < 10 * DELAY + SLACK


@ONE_STRATEGY
def test_one_after_the_other_is_restarted(stand: Balanced) -> None:
    """Connections that were kept are found closed, and new ones refused for a while."""
    with both(stand.proxy.address) as (gets, posts):
        for backend in stand.servers:
            backend.kill()
            gets.go_on(2)
            backend.start()
            gets.wait_for(backend.name)
    check_well(gets)
    check_posts(posts, stand.servers)


@ONE_STRATEGY
def test_flapping_every_second(stand: Balanced) -> None:
    flapping = stand.servers[0]
    with both(stand.proxy.address) as (gets, posts):
        begun = time.monotonic()
        for second, change in enumerate([Backend.kill, Backend.start] * 2, 1):
            change(flapping)
            wait_time(begun + second)
        gets.wait_for(flapping.name)
    check_well(gets)
    check_posts(posts, stand.servers)


# --- all of them ---


class Asker:
    """Asks a proxy whose servers may all be down: it says what it should even then."""

    def __init__(self, stand: Balanced) -> None:
        self._proxy = stand.proxy
        self._asked = 0

    def new(self) -> int:
        """Ask for what is not stored; the status."""
        self._asked += 1
        response = self._proxy.get(f"/new/{self._asked}")
        assert response.status in (200, 502, 503, 504), response
        assert response.status != 503 or int(response.fields["retry-after"]) > 0
        return response.status

    def stale(self) -> bool:
        """Ask for what is stored for a second; whether the answer is older than that."""
        response = self._proxy.get("/stored?age=1")
        assert (response.status, response.body) == (200, body_of("/stored?age=1")), response
        return int(ours(response).get("ttl", "1")) < 0


@pytest.mark.parametrize("fault", ["killed", "hung"])
def test_all_down_and_back(fault: str) -> None:
    """What is stored answers at once, the rest fails with a status that says so."""
    circuits = ("--eject-after", "0", "--circuit-min-requests", "5", "--circuit-open-time", "2s")
    with balanced(*circuits, "--stale-if-error", "1m") as stand:
        asker = Asker(stand)
        assert not asker.stale()
        for backend in stand.servers:
            FAULTS[fault].begin(backend)
        with crowd(stand.proxy.address, 16) as gets:
            wait_until(
                lambda: {each["circuit"] for each in stand.origin()["servers"]} == {"open"},
                "all circuits to be open",
            )
        failed = {answer.status for answer in gets.answers} - {200, 503}
        assert failed == {{"killed": 502, "hung": 504}[fault]}
        wait_until(asker.stale, "what is stored to be stale")
        begun = time.monotonic()
        for _ in range(5):
            assert asker.stale()
        assert time.monotonic() - begun < HEAD_TIMEOUT
        assert asker.new() == 503
        for backend in stand.servers:
            FAULTS[fault].end(backend)
        wait_until(lambda: asker.new() == 200, "what is new to be answered")
        with crowd(stand.proxy.address) as gets:
            for backend in stand.servers:
                gets.wait_for(backend.name)
        assert not asker.stale()


# --- what operators do ---


@ONE_STRATEGY
@pytest.mark.parametrize("order", ["drain", "disabled"])
def test_a_server_ends_what_it_has_and_gets_no_more(stand: Balanced, order: str) -> None:
    going = stand.servers[0]
    with both(stand.proxy.address) as (gets, posts):
        going.behave(Behaviour(0.3))

        def is_left_with_some() -> bool:
            stand.order(going, "ready")
            wait_until(lambda: stand.server(going)["in_flight"], "it to get requests")
            stand.order(going, order)
            stand.wait_state(going, order)
            return bool(stand.server(going)["in_flight"])

        wait_until(is_left_with_some, "it to go while it has requests")
        before = stand.server(going)["requests"]
        gets.go_on(5)
        wait_until(lambda: not stand.server(going)["in_flight"], "what it has to end")
        assert stand.server(going)["requests"] == before
        well(going)
        stand.order(going, "ready")
        gets.wait_for(going.name)
    check_well(gets, posts)


def test_servers_are_added_and_taken_away_by_reload(
    start_proxy: StartProxy, tmp_path: Path
) -> None:
    """Nothing is dropped, not even what cannot be sent again."""
    with backends(["127.0.0.1"] * 3) as servers:
        for backend in servers:
            backend.behave(Behaviour(0.1))  # so that requests are under way at any time

        def text(number: int) -> str:
            names = [f"{backend.name}:1" for backend in servers[:number]]
            return f'origin = "{NAMED}"\nload_balance = true\nservers = {json.dumps(names)}'

        configured = Configured(start_proxy, tmp_path, text(2), *QUICK)
        with both(configured.proxy.address) as loads:
            for number in (3, 1, 2, 3):
                configured.reload(text(number))
                for load in loads:
                    load.go_on(1)  # those that were under way
                    before = {answer.id for answer in load.answers}
                    load.go_on(2)
                    found = {each.backend for each in load.answers if each.id not in before}
                    assert found == {backend.name for backend in servers[:number]}
        check_well(*loads)
        check_posts(loads[1], servers)
