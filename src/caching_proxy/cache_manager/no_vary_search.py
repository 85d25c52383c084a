"""No-Vary-Search: differences in a query that the origin calls meaningless.

After draft-ietf-httpbis-no-vary-search; `params` as a boolean, which browsers know from earlier
drafts, is understood as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from http_sf import StructuredFieldError, parse

from caching_proxy.http.memo import memoised

FIELD_SIZE_MAX = 4096  # octets; longer values are not parsed


@dataclass(frozen=True, slots=True)
class NoVarySearch:
    """A rule other than the default.

    `any_order`: parameters of different names may change places. `names` are decoded names of
    parameters: the only ones that count (`only`), or else the ones that don't.
    """

    any_order: bool
    names: frozenset[bytes]
    only: bool


@memoised
def parse_no_vary_search(value: bytes) -> NoVarySearch | None:
    """The rule in a combined field value.

    None where every difference counts: by default, for an invalid value, for one that is longer
    than FIELD_SIZE_MAX. Members of other names, and parameters, are ignored.
    """
    if len(value) > FIELD_SIZE_MAX:
        return None
    try:
        dictionary = parse(value, tltype="dictionary")
    except StructuredFieldError:
        return None
    if not isinstance(dictionary, dict):
        return None
    members = {
        key: member[0] if isinstance(member, tuple) else member
        for key, member in dictionary.items()
    }
    any_order = members.get("key-order", False)
    if not isinstance(any_order, bool):
        return None
    excepted = members.get("except")
    params = members.get("params", excepted is not None)  # the draft has `except` stand alone
    names, only = _read_names(params, excepted)
    if names is None or not (any_order or names or only):
        return None
    return NoVarySearch(any_order, names, only)


def _read_names(params: object, excepted: object) -> tuple[frozenset[bytes] | None, bool]:
    """The names and whether only they count; None for the names where the rule is invalid."""
    if params is True:
        return _read_list([] if excepted is None else excepted), True
    if excepted is not None:
        return None, False
    return _read_list([] if params is False else params), False


def _read_list(value: object) -> frozenset[bytes] | None:
    """The decoded strings of an inner list, None for anything else."""
    if not isinstance(value, list):
        return None
    items = [item[0] if isinstance(item, tuple) else item for item in value]
    if not all(isinstance(item, str) for item in items):
        return None
    return frozenset([_decode(item.encode("ascii")) for item in items])


def canonical_query(query: bytes, rule: NoVarySearch) -> bytes:
    """`query` (without `?`) so that queries are equal where the rule calls them equivalent.

    Parameters are compared decoded (application/x-www-form-urlencoded), octet by octet: those that
    are no UTF-8, which the draft takes for one another, stay apart, since an origin may not.
    """
    parameters: list[tuple[bytes, bytes]] = []
    for text in query.split(b"&"):
        name, _, value = text.partition(b"=")
        name = _decode(name)
        if text and (name in rule.names) is rule.only:
            parameters.append((name, _decode(value)))
    if rule.any_order:
        parameters.sort(key=lambda parameter: parameter[0])
    return b"&".join([_encode(name) + b"=" + _encode(value) for name, value in parameters])


def _decode(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _encode(text: bytes) -> bytes:
    return quote_from_bytes(text, safe="").encode("ascii")
