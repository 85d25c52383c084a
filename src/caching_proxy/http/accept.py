"""Canonical text for Accept, Accept-Encoding and Accept-Language (RFC 9110 12.5).

Two values that mean the same get the same text: names in lower case, members by falling weight and
then by text, repeated members once, weight 1 left out. A value outside the grammar, one that gives
the same member different weights included, comes back as it is but for outer white space.
The time taken grows with the length of the value, no faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from caching_proxy.http.memo import memoised

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QVALUE = rb"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)"
_WEIGHT = rb"(?:[ \t]*;[ \t]*[Qq]=(" + _QVALUE + rb"))?"

_SEPARATOR = re.compile(rb"[ \t]*(?:,|\Z)")
_CODING = re.compile(rb"[ \t]*(" + _TOKEN + rb")" + _WEIGHT)
_LANGUAGE_RANGE = re.compile(rb"[ \t]*([A-Za-z0-9*-]+)" + _WEIGHT)
_MEDIA_RANGE = re.compile(rb"[ \t]*(" + _TOKEN + rb"/" + _TOKEN + rb")")
_PARAMETER = re.compile(
    rb"[ \t]*;[ \t]*(?:(" + _TOKEN + rb")=(?:(" + _TOKEN + rb')|"((?:[^"\\]|\\.)*)"))?', re.DOTALL
)
_IS_TOKEN = re.compile(_TOKEN)
_IS_QVALUE = re.compile(_QVALUE)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_TO_QUOTE = re.compile(rb'(["\\])')

_CODINGS = frozenset({b"br", b"dcb", b"dcz", b"deflate", b"gzip", b"zstd"})
_ALIASES = {b"x-gzip": b"gzip", b"x-compress": b"compress"}  # RFC 9110 8.4.1
_IDENTITY, _ANY = b"identity", b"*"

_Members = dict[bytes, int]  # text without weight -> weight in thousandths


@memoised
def normalise_accept(value: bytes) -> bytes:
    """Canonical Accept: `text/html, application/json;q=0.9`.

    Parameters are sorted by name, quoted only where they must be; what they say keeps its case.
    """
    members = _read_media_ranges(value)
    return value.strip(b" \t") if members is None else _write(members.items())


@memoised
def normalise_accept_language(value: bytes) -> bytes:
    """Canonical Accept-Language: `de-ch, en;q=0.7`."""
    members = _read_members(value, _LANGUAGE_RANGE, {})
    return value.strip(b" \t") if members is None else _write(members.items())


@memoised
def normalise_accept_encoding(value: bytes) -> bytes:
    """Canonical Accept-Encoding, reduced to the codings that matter; made to be sent to the origin.

    Codings not in use on the web and refused codings go, unless `*` is there, whose meaning rests
    on what stands beside it. When nothing remains only `identity` is acceptable, and it is said.
    """
    members = _read_members(value, _CODING, _ALIASES)
    if members is None:
        return value.strip(b" \t")
    if _ANY not in members:
        members = {
            coding: weight
            for coding, weight in members.items()
            if coding == _IDENTITY or (coding in _CODINGS and weight)
        }
    return _write(members.items()) or _IDENTITY


def _read_members(
    value: bytes, member: re.Pattern[bytes], aliases: Mapping[bytes, bytes]
) -> _Members | None:
    """Members that are a name and at most a weight."""
    members: _Members = {}
    at = 0
    while at < len(value):
        if found := member.match(value, at):
            name = found[1].lower()
            weight = _thousandths(found[2])
            if members.setdefault(aliases.get(name, name), weight) != weight:
                return None
            at = found.end()
        end = _SEPARATOR.match(value, at)
        if end is None:
            return None
        at = end.end()
    return members


def _read_media_ranges(value: bytes) -> _Members | None:
    members: _Members = {}
    at = 0
    while at < len(value):
        if found := _MEDIA_RANGE.match(value, at):
            read = _read_parameters(value, found.end())
            if read is None:
                return None
            parameters, weight, at = read
            if members.setdefault(found[1].lower() + parameters, weight) != weight:
                return None
        end = _SEPARATOR.match(value, at)
        if end is None:
            return None
        at = end.end()
    return members


def _read_parameters(value: bytes, at: int) -> tuple[bytes, int, int] | None:
    """Canonical parameters, the weight among them (wherever it stands), and where they end."""
    parameters: list[tuple[bytes, bytes]] = []
    weight: int | None = None
    while found := _PARAMETER.match(value, at):
        at = found.end()
        name, token, quoted = found.groups()
        if name is None:
            continue
        if name not in (b"q", b"Q"):
            parameters.append((name.lower(), token or _requote(quoted)))
        elif weight is None and token and _IS_QVALUE.fullmatch(token):
            weight = _thousandths(token)
        else:
            return None
    parameters.sort(key=lambda parameter: parameter[0])
    text = b"".join([b";%b=%b" % parameter for parameter in parameters])
    return text, 1000 if weight is None else weight, at


def _requote(quoted: bytes) -> bytes:
    content = _QUOTED_PAIR.sub(rb"\1", quoted)
    if _IS_TOKEN.fullmatch(content):
        return content
    return b'"' + _TO_QUOTE.sub(rb"\\\1", content) + b'"'


def _thousandths(qvalue: bytes | None) -> int:
    if qvalue is None:
        return 1000
    whole, _, fraction = qvalue.partition(b".")
    return int(whole) * 1000 + int(fraction.ljust(3, b"0"))


def _write(members: Iterable[tuple[bytes, int]]) -> bytes:
    ordered = sorted(members, key=lambda member: (-member[1], member[0]))
    return b", ".join([text + _weight_text(weight) for text, weight in ordered])


def _weight_text(weight: int) -> bytes:
    if weight == 1000:
        return b""
    return b";q=" + (b"0.%03d" % weight).rstrip(b"0").rstrip(b".")
