"""What a purge has done, and whom it has reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Receipt(NamedTuple):
    """How many stored responses it was, and what there is to say of those that did it.

    `reach` has, as far as it is known: `workers` of this proxy; `processes` that share the cache
    in Redis, which has told them all; or `pending`, purges that wait until Redis is back.
    """

    number: int
    reach: Mapping[str, Any] = {}


def sum_of(receipts: Iterable[Receipt]) -> Receipt:
    """What several workers of a proxy have done."""
    parts = list(receipts)
    reach: dict[str, Any] = {"workers": len(parts)}
    pending = sum(part.reach.get("pending", 0) for part in parts)
    processes = max((part.reach.get("processes", 0) for part in parts), default=0)
    if pending:
        reach["pending"] = pending
    elif processes:
        reach["processes"] = processes
    return Receipt(sum(part.number for part in parts), reach)
