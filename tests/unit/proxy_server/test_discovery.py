"""Who the servers of an origin are: addresses, names with one and with several, names that fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from caching_proxy.load_balancer.server_address import parse_server
from caching_proxy.proxy_server.discovery import Discovery, Member, grouped, server_origin
from caching_proxy.proxy_server.names import RETRY_PAUSE, Address
from caching_proxy.proxy_server.origin import Origin

ORIGIN = Origin.parse("https://site.example:8443/base")
V4, V6 = ("10.0.0.1", 80), ("fd00::1", 80)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], []),
        ([V4], [(V4,)]),
        ([V6, V4], [(V6, V4)]),  # one server that both lead to, in the resolver's order
        ([V4, ("10.0.0.2", 80)], [(V4,), (("10.0.0.2", 80),)]),
        ([("10.0.0.2", 80), V6, V4], [(V4,), (("10.0.0.2", 80),)]),
        ([V6, ("fd00::2", 80), V4], [(V6,), (("fd00::2", 80),)]),
        ([V6, ("fd00::2", 80), V4, ("10.0.0.2", 80)], [(V4,), (("10.0.0.2", 80),)]),
    ],
)
def test_which_addresses_are_servers(
    found: list[Address], expected: list[tuple[Address, ...]]
) -> None:
    assert grouped(found) == expected


@pytest.mark.parametrize(
    ("text", "authority", "port", "secure"),
    [
        ("a:1", "a:8443", 8443, True),
        ("a:9001:1", "a:9001", 9001, True),
        ("http://a", "a", 80, False),
        ("https://a", "a:8443", 8443, True),
        ("http://[fd00::1]:81", "[fd00::1]:81", 81, False),
    ],
)
def test_what_a_server_does_not_say_is_the_origins(
    text: str, authority: str, port: int, secure: bool
) -> None:
    place = server_origin(parse_server(text), ORIGIN)
    assert (place.authority, place.port, place.secure) == (authority.encode(), port, secure)
    assert (place.host, place.base_path) == ("site.example", b"/base")


class Names:
    """A DNS that answers what the test says, and counts who asks."""

    def __init__(self, **names: list[Address] | Exception) -> None:
        self.names = names
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[Address]:
        self.asked += 1
        await asyncio.sleep(0)
        found = self.names[host]
        if isinstance(found, Exception):
            raise found
        return found


async def discovered(
    names: Names,
    *servers: str,
    until: Callable[[list[list[Member]]], bool],
    interval: float = 0.001,
    quiet: bool = False,
) -> list[list[Member]]:
    """All that is told until that is so."""
    told: list[list[Member]] = []
    parsed = [parse_server(server) for server in servers]
    discovery = Discovery(ORIGIN, parsed, names, interval, told.append, quiet)
    discovery.start()
    try:
        while not until(told):  # noqa: ASYNC110 - a turn of the loop at a time
            await asyncio.sleep(0)
    finally:
        discovery.stop()
    return told


def named(members: list[Member]) -> list[str]:
    return [member.name for member in members]


def test_at_the_start_all_are_told_together() -> None:
    names = Names(a=[V4])
    told = asyncio.run(discovered(names, "10.0.0.9:80:2", "a:80:3", until=bool))
    assert [named(members) for members in told] == [["10.0.0.9:80", "a:80"]]
    assert [member.server.weight for member in told[0]] == [2, 3]


def test_a_name_that_takes_long_holds_up_no_other() -> None:
    class Slow(Names):
        async def __call__(self, host: str, port: int) -> list[Address]:
            if host == "slow":
                await asyncio.Event().wait()
            return await super().__call__(host, port)

    told = asyncio.run(discovered(Slow(a=[V4]), "slow:80:1", "a:80:1", until=bool))
    assert named(told[0]) == ["a:80"]


def test_addresses_alone_need_no_looking_up() -> None:
    names = Names()
    told = asyncio.run(discovered(names, "10.0.0.9", "[fd00::9]:80:1", until=bool))
    assert named(told[0]) == ["10.0.0.9:8443", "[fd00::9]:80"] and names.asked == 0


def test_a_name_with_several_addresses_is_several_servers() -> None:
    names = Names(a=[("10.0.0.2", 80), V4])
    told = asyncio.run(discovered(names, "a:80:5", until=bool))
    assert named(told[0]) == ["10.0.0.1:80", "10.0.0.2:80"]
    assert {member.server.weight for member in told[0]} == {5}


def test_what_changes_is_told_and_only_that() -> None:
    names = Names(a=[V4])

    def change(told: list[list[Member]]) -> bool:
        if names.asked > 5:
            names.names["a"] = [V4, ("10.0.0.2", 80)]
        return len(told) == 2

    told = asyncio.run(discovered(names, "a:80:1", until=change))
    assert [named(members) for members in told] == [["a:80"], ["10.0.0.1:80", "10.0.0.2:80"]]


def test_a_name_that_fails_keeps_its_last_addresses(caplog: pytest.LogCaptureFixture) -> None:
    names = Names(a=[V4], b=[("10.0.0.2", 80)])

    def fail(told: list[list[Member]]) -> bool:
        if told:
            names.names["a"] = OSError("no such name")
        return names.asked > 20

    told = asyncio.run(discovered(names, "a:80:1", "b:80:1", until=fail))
    assert named(told[-1]) == ["a:80", "b:80"]
    complaints = [record.getMessage() for record in caplog.records]
    assert complaints == ["a does not resolve, its last addresses hold: no such name"]


def test_a_name_that_never_resolves_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    names = Names(a=OSError("no such name"), b=[V4])
    told = asyncio.run(discovered(names, "a:80:1", "b:80:1", until=lambda told: names.asked > 9))
    assert [named(members) for members in told] == [["b:80"]]
    complaints = [record.getMessage() for record in caplog.records]
    assert complaints == ["a does not resolve: no such name"]


def test_when_no_name_resolves_that_is_told_each_time() -> None:
    names = Names(a=OSError("no such name"))
    told = asyncio.run(discovered(names, "a:80:1", until=lambda told: len(told) == 3))
    assert told == [[], [], []]


def test_when_no_name_resolves_the_next_look_up_is_soon() -> None:
    """Not at once, nor only after the interval."""
    names = Names(a=OSError("no such name"))
    times: list[float] = []

    def mend(told: list[list[Member]]) -> bool:
        if told and not times:
            names.names["a"] = [V4]
            times.append(time.monotonic())
        return len(told) == 2

    told = asyncio.run(discovered(names, "a:80:1", until=mend, interval=3600))
    assert [named(members) for members in told] == [[], ["a:80"]]
    assert names.asked == 2
    assert RETRY_PAUSE * 0.9 < time.monotonic() - times[0] < RETRY_PAUSE + 5


def test_where_another_tells_of_failures_the_log_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    names = Names(a=OSError("no such name"))

    def mend(told: list[list[Member]]) -> bool:
        if told:
            names.names["a"] = [V4]
        return told[-1:] not in ([], [[]])

    asyncio.run(discovered(names, "a:80:1", until=mend, quiet=True))
    assert not caplog.records


@pytest.mark.parametrize(
    "failure", [UnicodeError("label too long"), RuntimeError("no threads"), KeyError("a")]
)
def test_whatever_goes_wrong_a_name_is_looked_up_again(failure: Exception) -> None:
    names = Names(a=failure)

    def resolve_again(told: list[list[Member]]) -> bool:
        if names.asked > 2:
            names.names["a"] = [V4]
        return told[-1:] not in ([], [[]])

    told = asyncio.run(discovered(names, "a:80:1", until=resolve_again))
    assert named(told[-1]) == ["a:80"]


def test_two_names_for_one_place_are_one_server() -> None:
    names = Names(a=[V4, ("10.0.0.2", 80)])
    told = asyncio.run(discovered(names, "10.0.0.1:80:7", "a:80:1", until=bool))
    assert sorted(named(told[0])) == ["10.0.0.1:80", "10.0.0.2:80"]
    assert {member.name: member.server.weight for member in told[0]}["10.0.0.1:80"] == 7
