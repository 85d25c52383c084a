"""If-None-Match and If-Modified-Since, answered from the cache (RFC 9110 13)."""

from __future__ import annotations

import pytest

from .support.scripted_origin import Exchange, answer
from .support.stand import Stand

PAST = "Wed, 01 Jan 2020 00:00:00 GMT"
FUTURE = "Thu, 01 Jan 2099 00:00:00 GMT"
ETAG = '"v1"'
VALIDATED = {
    "Cache-Control": "max-age=600",
    "ETag": ETAG,
    "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT",
    "Content-Type": "text/plain",
    "Content-Location": "/validated.txt",
    "Expires": FUTURE,
}
CONDITIONS = [
    ({"If-None-Match": ETAG}, 304),
    ({"If-None-Match": 'W/"v1"'}, 304),
    ({"If-None-Match": '"v0", "v1"'}, 304),
    ({"If-None-Match": '"v0",,W/"v1"'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"v2"'}, 200),
    ({"If-None-Match": '"V1"'}, 200),
    ({"If-None-Match": '"v1,"'}, 200),
    ({"If-Modified-Since": "Wed, 01 Jan 2025 00:00:00 GMT"}, 304),
    ({"If-Modified-Since": "Thu, 02 Jan 2025 00:00:00 GMT"}, 304),
    ({"If-Modified-Since": "Wednesday, 01-Jan-25 00:00:00 GMT"}, 304),
    ({"If-Modified-Since": "Wed Jan  1 00:00:00 2025"}, 304),
    ({"If-Modified-Since": "Tue, 31 Dec 2024 23:59:59 GMT"}, 200),
    ({"If-Modified-Since": "yesterday"}, 200),
    ({"If-None-Match": '"v2"', "If-Modified-Since": "Thu, 02 Jan 2025 00:00:00 GMT"}, 200),
    ({"If-None-Match": ETAG, "If-Modified-Since": PAST}, 304),
]


@pytest.mark.parametrize("lane", [{}, {"Connection": "x"}], ids=["hit lane", "llhttp lane"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("fields, status", CONDITIONS)
def test_conditional_request_for_a_stored_response(
    stand: Stand, fields: dict[str, str], status: int, method: str, lane: dict[str, str]
) -> None:
    """RFC 9110 13.1.2, 13.1.3, 13.2.2; the fields of a 304: 15.4.5."""
    stand.origin.on("/validated", answer("200 OK", VALIDATED, b"content"))
    stand.proxy.get("/validated")
    with stand.proxy.client() as client:
        response = client.request(method, "/validated", {**fields, **lane})
        assert (response.status, response.cache) == (status, "HIT")
        if status == 304:
            for name in ("cache-control", "content-location", "etag", "expires", "date"):
                assert name in response.fields
        assert client.get("/validated").body == b"content"
    assert len(stand.origin.requests) <= 1


def test_conditional_request_without_a_stored_response(stand: Stand) -> None:
    """Either side may answer it; an unconditional request must then get the content."""

    def conditional(exchange: Exchange) -> None:
        matches = exchange.request.fields.get("if-none-match") == ETAG
        exchange.send(
            answer("304 Not Modified", VALIDATED)
            if matches
            else answer("200 OK", VALIDATED, b"content")
        )

    stand.origin.on("/unstored", conditional)
    assert stand.proxy.get("/unstored", {"If-None-Match": ETAG}).status == 304
    response = stand.proxy.get("/unstored")
    assert (response.status, response.body) == (200, b"content")
