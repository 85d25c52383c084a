"""What the fixtures hand to a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .clock import Clock
from .proxy import ProxyProcess
from .scripted_origin import ScriptedOrigin

StartProxy = Callable[..., ProxyProcess]
StartOrigin = Callable[..., ScriptedOrigin]


@dataclass
class Stand:
    """A scripted origin with a proxy in front of it."""

    origin: ScriptedOrigin
    proxy: ProxyProcess


@dataclass
class TimedStand(Stand):
    """A stand whose proxy goes by a clock that the test moves."""

    clock: Clock
