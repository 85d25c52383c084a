"""A stored site, and purging it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .cache_status import ours
from .messages import Response
from .proxy import ProxyProcess
from .raw_client import RawClient
from .scripted_origin import NO_FIELDS, Exchange, answer
from .stand import Stand

FRESH = {"Cache-Control": "max-age=600"}
ETAG = '"v1"'
Site = Mapping[str, Mapping[str, str]]  # target -> fields


class Validated:
    """A script: a fresh response that can be validated."""

    def __init__(self, fields: Mapping[str, str] = NO_FIELDS) -> None:
        self._fields = {**FRESH, "ETag": ETAG, **fields}

    def __call__(self, exchange: Exchange) -> None:
        if exchange.request.fields.get("if-none-match") == ETAG:
            exchange.send(answer("304 Not Modified", self._fields))
        else:
            exchange.send(answer("200 OK", self._fields, b"content"))


def fill(stand: Stand, site: Site) -> None:
    """Store exactly this."""
    stand.proxy.clear()
    for target, fields in site.items():
        stand.origin.on(target, Validated(fields))
        stand.proxy.get(target)
        assert stand.proxy.get(target).cache == "HIT"


def post(proxy: ProxyProcess, **selection: Any) -> Response:
    """Ask the control API to purge."""
    with RawClient(("127.0.0.1", proxy.admin_port)) as client:
        return client.request("POST", "/purge", {}, json.dumps(selection).encode())


def receipt(response: Response) -> tuple[int, bool]:
    """How many, and whether softly."""
    assert response.status == 200, response
    assert response.fields["content-type"].startswith("application/json")
    content = json.loads(response.body)
    assert content.keys() == {"purged", "soft"}
    return content["purged"], content["soft"]


def no_longer_fresh(stand: Stand, site: Site) -> set[str]:
    """The targets that the origin is asked for again, which fills the store again."""
    return {target for target in site if "hit" not in ours(stand.proxy.get(target))}
