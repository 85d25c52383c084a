"""What the fixtures hand to a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .proxy import ProxyProcess
from .scripted_origin import ScriptedOrigin

StartProxy = Callable[..., ProxyProcess]
StartOrigin = Callable[..., ScriptedOrigin]


@dataclass
class Stand:
    """A scripted origin with a proxy in front of it."""

    origin: ScriptedOrigin
    proxy: ProxyProcess
