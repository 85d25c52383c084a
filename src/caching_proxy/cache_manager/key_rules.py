"""What the operator makes of the cache key: query parameters, fields, cookies, device class."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from caching_proxy.cache_manager.rfc9111.vary import normalise_selecting
from caching_proxy.http.memo import memoised
from caching_proxy.http.section import FieldSection

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_VISIBLE = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

_BOTS = re.compile(rb"(?<!cu)bot\b|crawl|spider|slurp|mediapartners-google|facebookexternalhit")
_TABLETS = re.compile(rb"ipad|tablet|playbook|kindle|silk/")
_MOBILES = re.compile(rb"mobi|iphone|ipod|windows phone|opera mini|blackberry")


class KeyRules:
    """The operator's rules for the cache key.

    `drop` and `keep` are names of query parameters, or their beginnings followed by `*`: those
    dropped, and, unless empty, the only ones kept; names are compared as RFC 3986 6.2.2 has it.
    `sort`: whether parameters are put in order by name. `headers` and `cookies` are names of
    request fields and of cookies, `device` the device class: further parts of the key.
    """

    def __init__(
        self,
        drop: Sequence[str] = (),
        sort: bool = False,
        keep: Sequence[str] = (),
        headers: Sequence[str] = (),
        cookies: Sequence[str] = (),
        device: bool = False,
    ) -> None:
        self._dropped = _Names(drop)
        self._kept = _Names(keep) if keep else None
        self._sort = sort
        self._headers = sorted({name.lower().encode() for name in headers})
        self._cookies = sorted({name.encode() for name in cookies})
        self._device = device
        self._changes_target = bool(drop or keep or sort)
        self._has_extra = bool(headers or cookies or device)
        self.enabled = self._changes_target or self._has_extra

    def target(self, target: bytes) -> bytes:
        """The origin-form `target` with its query after the rules; to be sent upstream as well.

        What stays keeps its text, and parameters of one name their order: origins heed it.
        """
        if not self._changes_target or b"?" not in target:
            return target
        path, _, query = target.partition(b"?")
        named = [(_parameter_name(text), text) for text in query.split(b"&")]
        left = [(name, text) for name, text in named if self._counts(name)]
        if self._sort:
            left.sort(key=lambda parameter: parameter[0])
        if left == named:
            return target
        query = b"&".join([text for _, text in left])
        return path + b"?" + query if query else path

    def _counts(self, name: bytes) -> bool:
        return name not in self._dropped and (self._kept is None or name in self._kept)

    def extra(self, request: FieldSection) -> bytes:
        """The further parts of the key as one text, b"" where the rules name none.

        Requests that differ in such a part have different texts; what is absent differs from what
        is empty.
        """
        if not self._has_extra:
            return b""
        parts = [_part(b"header", name, _field(name, request)) for name in self._headers]
        if self._cookies:
            sent = cookies(request)
            parts += [_part(b"cookie", name, sent.get(name, ())) for name in self._cookies]
        if self._device:
            parts.append(_part(b"device", b"", [device_class(request)]))
        return b"".join(parts)


class _Names:
    """Names, or their beginnings where they end in `*`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        texts = [_normal(quote(pattern, safe=_VISIBLE).encode("ascii")) for pattern in patterns]
        self._whole = frozenset([text for text in texts if not text.endswith(b"*")])
        self._beginnings = tuple([text[:-1] for text in texts if text.endswith(b"*")])

    def __contains__(self, name: bytes) -> bool:
        return name in self._whole or name.startswith(self._beginnings)


def _parameter_name(parameter: bytes) -> bytes:
    return _normal(parameter.partition(b"=")[0])


def _normal(text: bytes) -> bytes:
    return _PERCENT.sub(_normal_percent, text) if b"%" in text else text


def _normal_percent(found: re.Match[bytes]) -> bytes:
    octet = int(found[1], 16)
    return bytes((octet,)) if octet in _UNRESERVED else found[0].upper()


def _field(name: bytes, request: FieldSection) -> list[bytes]:
    values = request.values(name)
    return [normalise_selecting(name, values)] if values else []


def has_parameter(query: bytes, pattern: str) -> bool:
    """Whether the query has a parameter of this name, or with `*` one that begins so."""
    names = _Names([pattern])
    return any(_parameter_name(text) in names for text in query.split(b"&") if text)


def cookies(request: FieldSection) -> dict[bytes, list[bytes]]:
    """The values of each cookie, in order: a name may come more than once."""
    sent: dict[bytes, list[bytes]] = {}
    for line in request.values(b"cookie"):
        for pair in line.split(b";"):
            name, _, value = pair.partition(b"=")
            sent.setdefault(name.strip(b" \t"), []).append(value.strip(b" \t"))
    return sent


def _part(kind: bytes, name: bytes, values: Sequence[bytes]) -> bytes:
    """Each text after its length, so that no text can pass for another's end or beginning."""
    return _sized(b"".join([_sized(text) for text in (kind, name, *values)]))


def _sized(text: bytes) -> bytes:
    return b"%d:%b" % (len(text), text)


def device_class(request: FieldSection) -> bytes:
    """`bot`, `tablet`, `mobile` or `desktop`, after User-Agent and Sec-CH-UA-Mobile.

    The hint, where there is one, decides between mobile and desktop: it comes from the browser,
    the other is guessed from its name.
    """
    agent = _agent_class(request.combined(b"user-agent") or b"")
    hint = request.combined(b"sec-ch-ua-mobile")
    if agent in (b"bot", b"tablet") or hint not in (b"?0", b"?1"):
        return agent
    return b"mobile" if hint == b"?1" else b"desktop"


@memoised
def _agent_class(agent: bytes) -> bytes:
    agent = agent.lower()
    if _BOTS.search(agent):
        return b"bot"
    mobile = _MOBILES.search(agent) is not None
    if _TABLETS.search(agent) or (b"android" in agent and not mobile):
        return b"tablet"
    return b"mobile" if mobile else b"desktop"
