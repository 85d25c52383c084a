"""What every server must do right before (and after) it is measured.

A server that answers wrongly answers fast; its figures would mean nothing.
"""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count

from bench.lanes import OBJECTS, PREFIX, Lane, Paths
from bench.results import OURS
from bench.servers import Origin, Server

SAMPLES = 10
_serial = count()


@dataclass(frozen=True)
class Answer:
    """A response as far as it is checked."""

    status: int
    body: bytes
    x_cache: str | None
    etag: str | None


class Asker:
    """Asks one server over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str, tag: str | None = None) -> Answer:
        """GET a path with the fields that wrk sends, since others may select another variant."""
        self._connection.putrequest("GET", path, skip_accept_encoding=True)
        if tag:
            self._connection.putheader("If-None-Match", tag)
        self._connection.endheaders()
        response = self._connection.getresponse()
        body = response.read()
        return Answer(response.status, body, response.headers["X-Cache"], response.headers["ETag"])


def entity_tag(lane: Lane, server: Server) -> str | None:
    """Bring a lane's object into the server's cache; its entity tag."""
    with closing(Asker(server.port)) as asker:
        return asker.get(lane.path).etag


def faults(lane: Lane, server: Server, origin: Origin, body: bytes, tag: str | None) -> list[str]:
    """What the server does wrong in this lane; empty when all is well."""
    found = []
    before = origin.settled_requests()
    try:
        with closing(Asker(server.port)) as asker:
            for path in _paths(lane):
                answer = asker.get(path, tag if lane.conditional else None)
                found += _answer_faults(lane, answer, body, server.name)
            if lane.paths is Paths.NEW and not found:
                found += _answer_faults(_STORED, asker.get(path), body, server.name)
    except (OSError, http.client.HTTPException) as error:
        return [f"no answer: {error!r}"]
    if server.name != "floor":
        found += _origin_faults(lane, origin.requests() - before)
    return list(dict.fromkeys(found))


# How the `miss` lane's object must be answered when it is asked for again.
_STORED = Lane("stored", "an object that was stored a moment ago")


def _paths(lane: Lane) -> Iterator[str]:
    for _ in range(SAMPLES):
        if lane.paths is Paths.ONE:
            yield lane.path
        elif lane.paths is Paths.MANY:
            yield f"{PREFIX}{random.randrange(OBJECTS)}"
        else:
            yield f"/verify/{next(_serial)}"


def _answer_faults(lane: Lane, answer: Answer, body: bytes, name: str) -> list[str]:
    status, expected = (304, b"") if lane.conditional else (200, body)
    found = []
    if answer.status != status:
        found.append(f"status {answer.status} instead of {status}")
    if answer.body != expected:
        found.append(f"a wrong body of {len(answer.body)} bytes instead of {len(expected)}")
    x_cache = "HIT" if lane.from_cache else "MISS"
    if name == OURS and answer.x_cache != x_cache:
        found.append(f"X-Cache: {answer.x_cache} instead of {x_cache}")
    return found


def _origin_faults(lane: Lane, seen: int) -> list[str]:
    expected = 0 if lane.from_cache else SAMPLES
    if seen == expected:
        return []
    return [f"{seen} of {SAMPLES} requests reached the origin instead of {expected}"]
