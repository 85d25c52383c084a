"""Figures of one server in one lane, and the comparison of servers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from bench.lanes import OBJECT_BYTES_TARGET, Lane

OURS = "caching-proxy"


@dataclass
class Figures:
    """Medians over the rounds."""

    cpu_us: float  # CPU microseconds of the server per answered request
    requests_per_second: float
    p99_ms: float
    resident_mb: float
    object_bytes: float | None = None  # memory per cached object, where the lane tells it


@dataclass
class LaneResult:
    """What one lane showed: every server is in one of the three."""

    lane: Lane
    servers: dict[str, Figures] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)  # what it did wrong
    absent: dict[str, str] = field(default_factory=dict)  # why it was not started

    def ratio(self, peer: str) -> float | None:
        """The peer's cost over ours; above 1 we are cheaper. None where one of them has none."""
        ours, other = self.servers.get(OURS), self.servers.get(peer)
        return other.cpu_us / ours.cpu_us if ours and other else None

    def verdict(self, peer: str) -> str:
        """The target for this peer with ``met`` or ``missed``; empty where there is none."""
        target, ratio = self.lane.targets.get(peer), self.ratio(peer)
        if target is None or ratio is None:
            return ""
        return f">= {target} {'met' if ratio >= target else 'missed'}"

    def memory_verdict(self) -> str:
        """Our memory per cached object against its target; empty where it was not measured."""
        ours = self.servers.get(OURS)
        if ours is None or ours.object_bytes is None:
            return ""
        met = "met" if ours.object_bytes <= OBJECT_BYTES_TARGET else "missed"
        return f"<= {OBJECT_BYTES_TARGET} bytes {met}"

    def as_json(self) -> dict[str, Any]:
        return {
            "lane": self.lane.name,
            "about": self.lane.about,
            "failed": self.failed,
            "absent": self.absent,
            "servers": {
                name: {
                    **{key: _rounded(value) for key, value in asdict(figures).items()},
                    "cost_over_ours": _rounded(self.ratio(name)),
                    "target": self.lane.targets.get(name),
                }
                for name, figures in self.servers.items()
            },
        }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
