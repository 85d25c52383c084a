"""Cache-Status (RFC 9211), as far as the tests need it."""

from __future__ import annotations

import re

from .messages import Response

_MEMBER = re.compile(r'\s*(?:"(?:[^"\\]|\\.)*"|[^,"]+)+')
_PARAMETER = re.compile(r';\s*([a-z*][a-z0-9_.*-]*)(?:=("(?:[^"\\]|\\.)*"|[^;,"\s]+))?')


def ours(response: Response, name: str = "caching-proxy") -> dict[str, str]:
    """The parameters of our own, last member; a parameter without a value is true: `?1`."""
    value = response.fields["cache-status"]
    member = _MEMBER.findall(value)[-1].strip()
    cache, _, _ = member.partition(";")
    assert cache.strip() in (name, f'"{name}"'), value
    found = _PARAMETER.findall(member)
    return {key: given.strip('"') or "?1" for key, given in found}


def check_error(response: Response, *statuses: int, method: str = "GET") -> None:
    """A short plain answer of our own that tells why."""
    assert response.status in statuses, response
    assert response.fields["content-type"].startswith("text/plain")
    assert 0 < response.size < 1000
    assert method == "POST" or response.cache == "MISS"
    assert "date" in response.fields
    status = ours(response)
    assert "hit" not in status and status.get("detail"), status
