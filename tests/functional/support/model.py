"""What a shared cache may serve and what it may not: RFC 9111 and 5861 in plain words.

Written from the standards alone; it shares no code with the product. A model keeps every copy that
a cache may hold, and asks of a stored response that some copy allows it. Where the standard leaves
a choice, both outcomes stay possible; what is certain to be stored is marked so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate, parsedate_to_datetime

from .scripted_origin import answer

Fields = Mapping[str, str]
"""Names in lower case."""

HEURISTIC = {200: 3600, 204: 3600, 301: 3600, 404: 10}
"""Lifetimes in seconds without explicit freshness, as the settings have them."""
STALE_IF_ERROR = 3600
FAILURES = (500, 502, 503, 504)
KEYED = "accept-language"
"""Part of the key whatever Vary says."""
FORBID_STALE = {"must-revalidate", "proxy-revalidate", "s-maxage"}
SHAREABLE = {"must-revalidate", "public", "s-maxage"}
_OLD = 1_735_689_600  # Wed, 01 Jan 2025 00:00:00 GMT
_DIRECTIVE = re.compile(r'([a-z-]+)(?:=(?:"([^"]*)"|([^\s,"]+)))?')


def directives(value: str) -> dict[str, str]:
    """Cache directives with their arguments (RFC 9111 5.2)."""
    return {name: quoted or token for name, quoted, token in _DIRECTIVE.findall(value)}


def wishes(asked: Fields) -> dict[str, str]:
    """A request's directives; Pragma counts where there are none (RFC 9111 5.4)."""
    pragma = asked.get("pragma", "")
    return directives(asked.get("cache-control", pragma))


def body(number: int, status: int) -> bytes:
    """The content of a version: each of another length."""
    return b"" if status == 204 else b"%d:" % number + b"." * (20 + number)


def seconds(date: str) -> int | None:
    """Since 1970; None where it is no date."""
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except ValueError:
        return None


def when(date: str) -> int:
    """Since 1970, of what is a date."""
    found = seconds(date)
    assert found is not None, date
    return found


def opaque(tag: str) -> str:
    """An entity tag for weak comparison (RFC 9110 8.8.3.2)."""
    return tag.strip().removeprefix("W/")


def tags(value: str) -> set[str]:
    """A list of entity tags for weak comparison."""
    return set(map(opaque, value.split(",")))


def slice_of(value: str, content: bytes) -> tuple[int, int]:
    """First and last position of a satisfiable single range (RFC 9110 14.1.2)."""
    first, last = value.removeprefix("bytes=").split("-")
    end = len(content) - 1
    if not first:
        return max(0, end + 1 - int(last)), end
    return int(first), min(int(last or end), end)


@dataclass(frozen=True)
class Copy:
    """A response as a cache may hold it."""

    number: int
    """The origin's version; its body follows from it."""
    url: str
    status: int
    asked: Fields
    """The request that brought it."""
    fields: Fields
    received: int
    certain: bool = False
    """A cache that stores what it may has this one."""
    invalid: bool = False
    stale_since: int | None = None
    """When it was marked stale."""

    @property
    def rules(self) -> dict[str, str]:
        """RFC 9213 2.2: a targeted field goes before Cache-Control and Expires."""
        targeted = self.fields.get("cdn-cache-control")
        return directives(self.fields.get("cache-control", "") if targeted is None else targeted)

    @property
    def date(self) -> int:
        return when(self.fields["date"])

    @property
    def vary(self) -> set[str]:
        return {name.strip().lower() for name in self.fields.get("vary", "").split(",")} - {""}

    def age(self, now: int) -> int:
        """RFC 9111 4.2.3; the answers of these tests take no time."""
        apparent = max(0, self.received - self.date)
        return max(apparent, int(self.fields.get("age", 0))) + now - self.received

    def explicit(self) -> int | None:
        """The lifetime that the origin gave (RFC 9111 4.2.1)."""
        for name in ("s-maxage", "max-age"):
            if name in self.rules:
                return int(self.rules[name])
        if "expires" in self.fields and "cdn-cache-control" not in self.fields:
            expires = seconds(self.fields["expires"])
            return 0 if expires is None else max(0, expires - self.date)
        return None

    def lifetime(self) -> int:
        explicit = self.explicit()
        return HEURISTIC.get(self.status, 0) if explicit is None else explicit

    def staleness(self, now: int) -> int:
        """Seconds since it went stale; negative while it is fresh."""
        staleness = self.age(now) - self.lifetime()
        return staleness if self.stale_since is None else max(staleness, now - self.stale_since)

    def storable(self) -> bool:
        """RFC 9111 3, 3.5."""
        rules = self.rules
        if "no-store" in rules or rules.get("private") == "" or "*" in self.vary:
            return False
        if "authorization" in self.asked and not SHAREABLE & rules.keys():
            return False
        return "no-store" not in wishes(self.asked)

    def plain(self, now: int) -> bool:
        """Nothing speaks against storing and using it."""
        unusual = "range" in self.asked or "authorization" in self.asked
        usable = self.storable() and self.rules.get("no-cache") != ""
        return usable and not unusual and self.status in HEURISTIC and self.staleness(now) < 0

    def selects(self, asked: Fields) -> bool:
        """RFC 9111 4.1."""
        return all(self.asked.get(name) == asked.get(name) for name in {KEYED, *self.vary})

    def may_serve(self, asked: Fields, now: int, failed: bool) -> bool:
        """Without validation; `failed`: the origin was asked and did not answer (RFC 9111 4)."""
        wanted, rules = wishes(asked), self.rules
        if not self.storable() or self.invalid or not self.selects(asked):
            return False
        if "no-cache" in wanted or rules.get("no-cache") == "":
            return False
        staleness = self.staleness(now)
        if staleness >= 0 and FORBID_STALE & rules.keys():
            return False
        if failed and staleness <= int(rules.get("stale-if-error", STALE_IF_ERROR)):
            return True
        return self._willing(wanted, now) and self._granted(wanted, staleness)

    def _willing(self, wanted: Mapping[str, str], now: int) -> bool:
        """RFC 9111 5.2.1.1, 5.2.1.3."""
        limit = int(wanted.get("max-age", 2**31))
        return limit > 0 and self.age(now) <= limit

    def _granted(self, wanted: Mapping[str, str], staleness: int) -> bool:
        """RFC 9111 4.2.4, 5.2.1.2, 5.2.1.3; RFC 5861 3."""
        if "min-fresh" in wanted or staleness < 0:
            return -staleness >= int(wanted.get("min-fresh", 1))
        if "max-stale" in wanted and staleness <= int(wanted["max-stale"] or 2**31):
            return True
        return staleness <= int(self.rules.get("stale-while-revalidate", -1))

    def unchanged(self, asked: Fields) -> bool:
        """A client with these conditions has it already (RFC 9110 13.2.2)."""
        if "if-none-match" in asked:
            return opaque(self.fields.get("etag", "-")) in tags(asked["if-none-match"])
        known = seconds(asked.get("if-modified-since", ""))
        return (
            known is not None
            and when(self.fields.get("last-modified", self.fields["date"])) <= known
        )


@dataclass
class Model:
    """Every copy that may be stored, in the order of their arrival."""

    copies: list[Copy] = field(default_factory=list)

    def matching(self, url: str, asked: Fields) -> list[Copy]:
        """The copies that answer such a request as far as their key goes."""
        return [copy for copy in self.copies if copy.url == url and copy.selects(asked)]

    def may_answer(self, url: str, asked: Fields, now: int, failed: bool) -> list[Copy]:
        """The copies that may be served unvalidated; the most recent goes first (RFC 9111 4)."""
        found = self.matching(url, asked)
        newest = max((copy.date for copy in found if copy.certain), default=0)
        return [c for c in found if c.date >= newest and c.may_serve(asked, now, failed)]

    def must_answer(self, url: str, asked: Fields, now: int) -> bool:
        """A plainly fresh copy is stored, and nothing else could be meant."""
        found = self.matching(url, asked)
        if not found or not found[-1].certain or {"authorization", "pragma"} & asked.keys():
            return False
        last = found[-1]
        usual = wishes(asked).keys() <= {"max-age", "min-fresh", "max-stale", "only-if-cached"}
        fresh = last.staleness(now) < 0 and last.may_serve(asked, now, False)
        others = [copy for copy in self.copies if copy.url == url and copy is not last]
        alike = all(copy.vary == last.vary or copy.date < last.date for copy in others)
        return usual and fresh and alike and all(copy.date <= last.date for copy in found)

    def arrived(self, new: Copy) -> None:
        """The origin's answer to GET, whole or partial."""
        new = replace(new, certain=new.plain(new.received))
        kept = [_beside(old, new) for old in self.copies]
        self.copies = [old for old in kept if old is not None] + [new]

    def confirmed(self, number: int, asked: Fields, fields: Fields, now: int, sure: bool) -> None:
        """The origin says that a version still holds, with these fields (RFC 9111 3.2, 4.3.4).

        `sure`: it was said to a cache that has then answered the request from its store.
        """
        known = [copy for copy in self.copies if copy.number == number]
        merged = [updated(copy, fields, now) for copy in known]
        for_all = "authorization" not in asked and "no-store" not in wishes(asked)
        if sure and for_all and len(known) == 1:
            self.copies.remove(known[0])
            self.arrived(replace(merged[0], asked=asked))
            return
        self.copies = [replace(c, certain=False) if c in known else c for c in self.copies]
        self.copies += merged + [replace(copy, asked=asked) for copy in merged]

    def headed(self, url: str, new: Copy) -> None:
        """The origin's 200 to HEAD (RFC 9111 4.3.5)."""
        found = [copy for copy in self.matching(url, new.asked) if copy.status == 200]
        for copy in found:
            marked = replace(copy, certain=False)
            last = copy is found[-1] and copy.number != new.number
            if last and new.storable() and copy.certain and copy.stale_since is None:
                marked = replace(marked, stale_since=new.received)
            self.copies[self.copies.index(copy)] = marked
        self.confirmed(new.number, new.asked, new.fields, new.received, False)

    def invalidated(self, url: str) -> None:
        """RFC 9111 4.4."""
        self.copies = [
            replace(copy, invalid=True, certain=False) if copy.url == url else copy
            for copy in self.copies
        ]

    def purged(self, selected: Callable[[Copy], bool], soft: bool, now: int) -> bool:
        """Drop copies, or mark them stale; tells whether one was certain to be there."""
        found = any(copy.certain for copy in self.copies if selected(copy))
        kept = [copy for copy in self.copies if not selected(copy)]
        marked = [_stale(c, now) if selected(c) else c for c in self.copies]
        self.copies = marked if soft else kept
        return found


def _stale(copy: Copy, now: int) -> Copy:
    since = now if copy.stale_since is None else copy.stale_since
    return replace(copy, certain=False, stale_since=since)


def updated(copy: Copy, fields: Fields, now: int) -> Copy:
    """A copy that is confirmed with these fields."""
    old = {name: value for name, value in copy.fields.items() if name != "age"}
    merged = {**old, **fields}
    return replace(
        copy, fields=merged, received=now, certain=False, invalid=False, stale_since=None
    )


def _beside(old: Copy, new: Copy) -> Copy | None:
    """What a new copy leaves of an old one, which it replaces where both have the same key."""
    if old.url != new.url or not (old.selects(new.asked) or new.selects(old.asked)):
        return old
    same_key = old.vary == new.vary and old.selects(new.asked)
    if new.certain and same_key and old.date <= new.date:
        return None
    return replace(old, certain=False)


# --- the origin's side ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How the origin answers next."""

    status: int
    fields: Fields
    tag: str
    """Before the opaque part of ETag; "-" for none."""
    dated: bool
    """With Last-Modified."""
    skew: int
    """Seconds that Date lies back."""
    expires: int | None
    """Seconds from Date."""
    unchanged: bool
    """A validator of a version that the request selects is confirmed."""
    breaks: bool

    def head(self, number: int, now: int) -> dict[str, str]:
        """The fields of this version."""
        date = now - self.skew
        fields = {**self.fields, "date": formatdate(date, usegmt=True), "x-version": str(number)}
        if self.expires is not None:
            fields["expires"] = formatdate(date + self.expires, usegmt=True)
        if self.tag != "-":
            fields["etag"] = f'{self.tag}"v{number}"'
        if self.dated:
            fields["last-modified"] = formatdate(_OLD + 60 * number, usegmt=True)
        return fields

    def update(self, known: Copy, now: int) -> dict[str, str]:
        """The fields by which this version is confirmed."""
        new = self.head(known.number, now)
        kept = {"etag", "last-modified", "vary", "x-own"}
        fields = {name: value for name, value in new.items() if name not in kept}
        same = {name: known.fields[name] for name in kept - {"x-own"} if name in known.fields}
        return {**fields, **same}


def whole(copy: Copy) -> bytes:
    """A version as the origin sends it."""
    return answer(f"{copy.status} x", copy.fields, body(copy.number, copy.status))


def part(copy: Copy, asked: str) -> bytes:
    """A range of it."""
    content = body(copy.number, 200)
    first, last = slice_of(asked, content)
    place = {"content-range": f"bytes {first}-{last}/{len(content)}"}
    return answer("206 Partial Content", {**copy.fields, **place}, content[first : last + 1])


def confirms(asked: Fields, copy: Copy) -> bool:
    """The request names this version's validators."""
    tag, date = copy.fields.get("etag", "-"), copy.fields.get("last-modified", "-")
    if "if-none-match" in asked:
        return opaque(tag) in tags(asked["if-none-match"])
    return asked.get("if-range") in (tag, date) or asked.get("if-modified-since") == date
