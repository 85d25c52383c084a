"""What backends can suffer: how it begins, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .backend_process import Behaviour
from .backends import Backend
from .balancing import DELAY, WELL


def well(backend: Backend) -> None:
    backend.behave(WELL)


def behaving(behaviour: Behaviour) -> Callable[[Backend], object]:
    return lambda backend: backend.behave(behaviour)


def restarted_to_reset(backend: Backend) -> None:
    """Connections that were kept are gone: new ones have to be made."""
    backend.kill()
    backend.start()
    backend.behave(Behaviour(reset="accept"))


class Fault(NamedTuple):
    """What to do with a backend that is in order, and what puts it in order again."""

    begin: Callable[[Backend], object]
    end: Callable[[Backend], object] = well


FAULTS = {
    "killed": Fault(Backend.kill, Backend.start),
    "hung": Fault(Backend.hang, Backend.go_on),
    "slow": Fault(behaving(Behaviour(10 * DELAY))),
    "errors": Fault(behaving(Behaviour(DELAY, share=0.3, status=500))),
    "reset at accept": Fault(restarted_to_reset),
    "reset before the head": Fault(behaving(Behaviour(DELAY, reset="head"))),
    "reset in the body": Fault(behaving(Behaviour(DELAY, reset="body", after=100))),
}
