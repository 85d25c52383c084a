"""Whatever happens, in whatever order: what is in flight is counted exactly."""

from __future__ import annotations

from time import monotonic

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caching_proxy.load_balancer.load_balancer import Attempt, LoadBalancer
from caching_proxy.load_balancer.server import Server
from caching_proxy.load_balancer.strategies import STRATEGIES

from .balanced import settings, tell

NAMES = "abcdef"
LIMIT = 3


class Accounting(RuleBasedStateMachine):
    """Requests begin, are answered, fail and end while servers come, go, fall ill and recover."""

    def __init__(self) -> None:
        super().__init__()
        self.now = monotonic()
        self.held: list[Attempt] = []
        self.all: set[Server] = set()
        self.found: LoadBalancer | None = None

    @precondition(lambda self: self.found is None)
    @rule(strategy=st.sampled_from(sorted(STRATEGIES)), number=st.integers(1, len(NAMES)))
    def start(self, strategy: str, number: int) -> None:
        given = settings(circuit_min_requests=3, eject_after=2, slow_start=1, circuit_trials=2)
        self.found = LoadBalancer("x", given, strategy, seed=number)
        self.have(set(NAMES[:number]))

    @precondition(lambda self: self.found is not None)
    @rule(names=st.sets(st.sampled_from(NAMES)))
    def have(self, names: set[str]) -> None:
        assert self.found is not None
        known = {server.name: server for server in self.found.servers}
        servers = [
            known.get(name)
            or self.found.server(
                name, weight=ord(name) - 96, backup=name == "f", limit=LIMIT * (name in "ac")
            )
            for name in sorted(names)
        ]
        self.all |= set(servers)
        self.found.set_servers(servers)

    @precondition(lambda self: self.found is not None)
    @rule(key=st.integers(0, 2**64 - 1), again=st.booleans())
    def begin(self, key: int, again: bool) -> None:
        assert self.found is not None
        tried = [one.server for one in self.held[-2:]] if again and self.held else None
        attempt = self.found.attempt(key, tried)
        if attempt is not None:
            assert tried is None or attempt.server not in tried
            assert attempt.server in self.found.servers
            self.held.append(attempt)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), status=st.sampled_from([200, 404, 500, 502, 503]))
    def hear(self, data: st.DataObject, status: int) -> None:
        data.draw(st.sampled_from(self.held)).hear(status)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.held)).fail()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        attempt = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        attempt.finish()
        attempt.finish()

    @precondition(lambda self: self.found is not None)
    @rule(name=st.sampled_from(NAMES), up=st.booleans())
    def check(self, name: str, up: bool) -> None:
        assert self.found is not None
        tell(self.found, name, up, "" if up else "no answer")

    @precondition(lambda self: self.found is not None)
    @rule(name=st.sampled_from(NAMES), order=st.sampled_from(["ready", "drain", "disabled"]))
    def order(self, name: str, order: str) -> None:
        assert self.found is not None
        tell(self.found, name, order=order)

    @precondition(lambda self: self.found is not None)
    @rule(seconds=st.sampled_from([0.25, 1, 5, 70]))
    def wait(self, seconds: float) -> None:
        assert self.found is not None
        self.now += seconds
        self.found.look(self.now)

    @invariant()
    def every_server_has_what_is_held(self) -> None:
        for server in self.all:
            held = sum(one.server is server for one in self.held)
            assert server.in_flight == held
            assert server.limit == 0 or held <= server.limit
            assert server.requests >= server.in_flight

    def teardown(self) -> None:
        for attempt in self.held:
            attempt.finish()
        assert all(server.in_flight == 0 for server in self.all)
        if self.found is not None:
            self.found.look(self.now + 1)
            told = self.found.report(self.now)
            assert told["waiting"] == 0
            assert {one["server"] for one in told["servers"]} == {
                server.name for server in self.found.servers
            }


TestAccounting = Accounting.TestCase
TestAccounting.settings = hypothesis_settings(
    max_examples=150, stateful_step_count=60, deadline=None
)
