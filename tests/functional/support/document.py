"""An origin's document that comes whole or in parts, and what such answers must be."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator, Mapping

from .messages import FieldLines, Response
from .scripted_origin import NO_FIELDS, Exchange, answer
from .stand import Stand

DOC = bytes(range(33, 123))
"""90 octets, each of which tells its place."""
NEW = DOC[::-1]
V1, V2, WEAK = '"v1"', '"v2"', 'W/"v1"'
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Document:
    """A script: a representation that is served as a whole and in single parts."""

    def __init__(self, body: bytes = DOC, etag: str | None = V1, **fields: str) -> None:
        """Fields are named as in `Cache_Control`."""
        self.body, self.etag = body, etag
        self.fields = {"Cache-Control": "max-age=600", "Content-Type": "text/plain"}
        if etag is not None:
            self.fields["ETag"] = etag
        self.fields.update(_named(fields))

    def __call__(self, exchange: Exchange) -> None:
        exchange.send(self.reply(exchange.request.fields))

    def reply(self, asked: FieldLines) -> bytes:
        """The answer to a GET with these fields."""
        if self.etag is not None and asked.get("if-none-match") == self.etag:
            return answer("304 Not Modified", {**self.fields, "Cache-Control": "max-age=600"})
        place = self._selected(asked.get("range") or "")
        unchanged = asked.get("if-range") in (None, self.etag, self.fields.get("Last-Modified"))
        if place is None or not unchanged:
            return answer("200 OK", self.fields, self.body)
        if place[0] > place[1]:
            unsatisfied = {**self.fields, "Content-Range": f"bytes */{len(self.body)}"}
            return answer("416 Range Not Satisfiable", unsatisfied)
        return self.part(*place)

    def _selected(self, value: str) -> tuple[int, int] | None:
        """First and last position; None where Range is to be ignored."""
        found = _RANGE.fullmatch(value)
        if found is None or (not found[1] and not found[2]):
            return None
        end = len(self.body) - 1
        if not found[1]:
            return max(0, end + 1 - int(found[2])), end
        first, last = int(found[1]), int(found[2] or end)
        return (first, min(last, end)) if first <= last or first > end else None

    def part(self, first: int, last: int, body: bytes | None = None, **fields: str) -> bytes:
        """A 206 with these octets, or with what is given instead of its body and fields."""
        place = {"Content-Range": f"bytes {first}-{last}/{len(self.body)}"}
        return answer(
            "206 Partial Content",
            {**self.fields, **place, **_named(fields)},
            self.body[first : last + 1] if body is None else body,
        )


def _named(fields: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in fields.items()}


def ranged(
    stand: Stand, target: str, value: str, fields: Mapping[str, str] = NO_FIELDS
) -> Response:
    """GET with `Range: bytes=value`."""
    return stand.proxy.get(target, {"Range": f"bytes={value}", **fields})


def check_part(response: Response, first: int, last: int, doc: bytes = DOC) -> None:
    """A single part (RFC 9110 15.3.7.1); its framing was checked when it was read."""
    assert (response.status, response.body) == (206, doc[first : last + 1])
    assert response.fields["content-range"] == f"bytes {first}-{last}/{len(doc)}"
    assert response.fields.all("content-length") == [str(last - first + 1)]


def check_whole(response: Response, doc: bytes = DOC) -> None:
    """A 200 with all of it."""
    assert (response.status, response.body) == (200, doc)
    assert response.fields.all("content-length") in ([], [str(len(doc))])
    assert "content-range" not in response.fields


def parts(response: Response) -> Iterator[tuple[int, int]]:
    """First and last position of each part of a multipart response, found to be right."""
    assert response.status == 206
    assert "content-range" not in response.fields
    assert "content-length" in response.fields
    head = f"Content-Type: {response.fields['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + response.body, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/byteranges"
    assert not message.defects
    for part in message.iter_parts():
        assert not part.defects
        assert part.get_all("content-type") == ["text/plain"]
        (place,) = part.get_all("content-range", [])
        found = re.fullmatch(r"bytes (\d+)-(\d+)/90", place)
        assert found is not None, place
        first, last = int(found[1]), int(found[2])
        assert part.get_payload(decode=True) == DOC[first : last + 1]
        yield first, last
