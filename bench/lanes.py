"""The lanes: what is asked for, how the origin answers, and what is to be reached.

The targets are ratios (a peer's cost over ours, measured in the same run), since times differ from
machine to machine and from hour to hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

OBJECTS = 100_000  # distinct objects of a lane that asks for many
PREFIX = "/object/"  # what their paths begin with
OBJECT_BYTES_TARGET = 2048  # memory per cached 1 KB object, everything included


class Paths(Enum):
    """Which objects a lane asks for."""

    ONE = "one"  # always the same
    MANY = "many"  # one of OBJECTS, uniformly chosen
    NEW = "new"  # never the same twice


@dataclass(frozen=True)
class Lane:
    """One kind of traffic."""

    name: str
    about: str
    paths: Paths = Paths.ONE
    size: int = 1024  # bytes of a body
    connections: int = 64
    cache_control: str = "max-age=3600"
    conditional: bool = False  # ask with If-None-Match, expect 304
    from_cache: bool = True  # the origin sees none of the requests, else all of them
    floor: bool = False  # the bare epoll loop can play this lane
    targets: Mapping[str, float] = field(default_factory=dict)  # peer -> its cost over ours
    unfit: Mapping[str, str] = field(default_factory=dict)  # peer -> why it cannot play this lane

    @property
    def path(self) -> str:
        """The path of a single object (of the first one where there are many)."""
        return f"{PREFIX}0"


LANES: dict[str, Lane] = {
    lane.name: lane
    for lane in (
        Lane(
            "hit",
            "one cached 1 KB object, 64 connections",
            floor=True,
            targets={"nginx": 1.7, "HAProxy": 1.3},
        ),
        Lane("hit-one", "the same over 1 connection", connections=1, floor=True),
        Lane(
            "hit-many",
            f"{OBJECTS:,} cached 1 KB objects, uniformly chosen",
            paths=Paths.MANY,
            targets={"nginx": 1.8},
        ),
        Lane(
            "big",
            "one cached 1 MB object, 8 connections",
            size=2**20,
            connections=8,
            targets={"Varnish": 1.0},
        ),
        Lane(
            "conditional",
            "If-None-Match on one cached object: 304",
            conditional=True,
            unfit={"HAProxy": "its 304 has a Content-Length, and wrk then waits for a body"},
        ),
        Lane(
            "forward",
            "1 KB with no-store: every request is forwarded",
            cache_control="no-store",
            from_cache=False,
            targets={"nginx": 0.6},
        ),
        Lane(
            "miss",
            "every URL is new: 1 KB forwarded and stored",
            paths=Paths.NEW,
            from_cache=False,
            targets={"nginx": 1.7},
        ),
    )
}
