"""Sequences of requests, answers, clock jumps and purges against a model of the standard.

Each example has URLs of its own, so that one proxy serves all of them.
"""

from __future__ import annotations

import itertools
import json
import threading
from dataclasses import dataclass, replace
from typing import ClassVar

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from .support.cache_status import ours
from .support.messages import Request, Response
from .support.model import (
    FAILURES,
    Copy,
    Fields,
    Model,
    Plan,
    body,
    confirms,
    part,
    slice_of,
    updated,
    whole,
    wishes,
)
from .support.scripted_origin import Exchange, answer
from .support.stand import TimedStand
from .support.waiting import DEADLINE

EXAMPLES, STEPS = 200, 40
_EXAMPLES = itertools.count()

CONTROL = [
    *["max-age=60"] * 6,
    *["", "", "max-age=10, stale-while-revalidate=30", "max-age=10, stale-if-error=30"] * 3,
    *["max-age=600", "s-maxage=20, max-age=600", "max-age=10, must-revalidate"] * 2,
    *("private", "no-store", "no-cache", "public", "max-age=0", "private, max-age=600"),
    *("no-cache, max-age=600", "no-store, max-age=600", "max-age=10, proxy-revalidate"),
    *('max-age=60, private="x-own"', 'max-age=60, no-cache="x-own"'),
    *("max-age=5, stale-while-revalidate=20, stale-if-error=40", "max-age=10, stale-if-error=0"),
    *("s-maxage=10, stale-while-revalidate=600", "must-revalidate, stale-while-revalidate=600"),
]
WISHES = [
    *("no-cache", "no-store", "max-age=0", "max-age=5", "max-age=30", "min-fresh=5"),
    *("min-fresh=100", "max-stale", "max-stale=5", "max-stale=5, max-age=30", "only-if-cached"),
    *("only-if-cached, max-stale", "max-age=30, min-fresh=5"),
]


@dataclass(frozen=True)
class Event:
    """What the origin did with one request."""

    name: str
    """One of "new", "confirmed" or "failed"."""
    copy: Copy | None
    partial: bool


@dataclass(frozen=True)
class Asked:
    """A client's request, what came back, and what the origin did for it."""

    method: str
    url: str
    asked: Fields
    response: Response
    events: list[Event]

    def failed(self) -> bool:
        """The origin gave no answer, or a server error."""
        copies = [event.copy for event in self.events]
        return any(copy is None or copy.status in FAILURES for copy in copies)


def often(usual: object, *others: object, weight: int = 4) -> st.SearchStrategy[object]:
    """The usual one most of the time."""
    return st.sampled_from([usual] * weight * len(others) + list(others))


def fields(**choices: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, str]]:
    """Fields of those values that are not empty; named as in `cache_control`."""
    return st.fixed_dictionaries(choices).map(
        lambda drawn: {n.replace("_", "-"): str(v) for n, v in drawn.items() if v != ""}
    )


PLANS = st.builds(
    Plan,
    status=often(200, 204, 301, 404, 500, 503, 503, weight=2),
    fields=fields(
        cache_control=st.sampled_from(CONTROL),
        cdn_cache_control=often("", "max-age=30", "no-store", "max-age=10", weight=8),
        vary=often("", "X-Flavour", "Accept-Language", "x-flavour, accept-language", "*", weight=1),
        age=often("", "5", "50"),
        cache_tag=st.sampled_from(["", "a", "a, b"]),
        x_own=often("", "mine", weight=1),
    ),
    tag=st.sampled_from(["", "", "W/", "-"]),
    dated=st.booleans(),
    skew=often(0, 3, 45, weight=1),
    expires=often(None, 0, 30, 600, weight=1),
    unchanged=st.booleans(),
    breaks=often(False, True, weight=12),
)
ASKED = fields(
    accept_language=often("", "de", weight=1),
    x_flavour=often("", "salt", weight=1),
    cache_control=st.one_of(st.just(""), st.just(""), st.sampled_from(WISHES)),
    pragma=often("", "no-cache", weight=20),
    authorization=often("", "Basic YQ==", weight=12),
    range=often("", "bytes=2-5", "bytes=-4", "bytes=3-"),
    connection=often("", "x", weight=2),
)
USUAL = fields(accept_language=often("", "de"), x_flavour=often("", "salt"))
JUMPS = st.sampled_from([1, 5, 9, 10, 11, 20, 25, 30, 31, 35, 60, 600, 3600, 3610])
TARGETS = st.sampled_from([0, 0, 0, 1])


class Machine(RuleBasedStateMachine):
    """One example: an origin whose next answer is set, clients, purges and the clock."""

    stand: ClassVar[TimedStand]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.urls = [f"/model/{next(_EXAMPLES)}/{name}" for name in "ab"]
        self.sent: list[Copy] = []
        """Every version that the origin has sent."""
        self.events: list[Event] = []
        """What it did since the last request."""
        self.answered = threading.Event()
        """It has sent what it did last."""
        self.plan = Plan(200, {}, "", False, 0, None, False, False)
        for url in self.urls:
            self.stand.origin.on(url, self.serve)

    def now(self) -> int:
        return self.stand.clock.now()

    # --- the origin -------------------------------------------------------------------------------

    def serve(self, exchange: Exchange) -> None:
        """Answer as planned; tell what that was once it is sent."""
        exchange.read_body()
        answered = self.answered
        asked = dict(exchange.request.fields.lines)
        if self.plan.breaks:
            self.events.append(Event("failed", None, False))
            exchange.send(b"HTTP/1.1 200 OK\r\n")  # or it would be asked a second time
            answered.set()
            exchange.close()
        known = self.confirmable(exchange.request.target, asked)
        copy = known or self.version(exchange.request)
        tag = copy.fields.get("etag", "W/")
        ranged = "range" in asked and exchange.request.method == "GET"
        partial = ranged and copy.status == 200 and not tag.startswith("W/")
        if known is not None and "if-range" not in asked:
            sent, partial = answer("304 Not Modified", copy.fields), False
        elif partial and self.plan.unchanged and asked.get("if-range", tag) == tag:
            sent = part(copy, asked["range"])
        else:
            sent, partial = whole(copy), False
        head, end, _ = sent.partition(b"\r\n\r\n")
        self.events.append(Event("confirmed" if known else "new", copy, partial))
        exchange.send(head + end if exchange.request.method == "HEAD" else sent)
        answered.set()

    def version(self, request: Request) -> Copy:
        """A new one."""
        fields = self.plan.head(len(self.sent) + 1, self.now())
        asked = dict(request.fields.lines)
        new = Copy(len(self.sent) + 1, request.target, self.plan.status, asked, fields, self.now())
        self.sent.append(new)
        return new

    def confirmable(self, url: str, asked: Fields) -> Copy | None:
        """The version that a condition of the request names and that is to be confirmed."""
        if not self.plan.unchanged or self.plan.status != 200:
            return None
        for copy in reversed(self.sent):
            current = copy.url == url and copy.status == 200 and copy.selects(asked)
            if current and confirms(asked, copy):
                return replace(copy, fields=self.plan.update(copy, self.now()))
        return None

    # --- clients ----------------------------------------------------------------------------------

    @rule(
        which=TARGETS,
        head=often(False, True, weight=6),
        asked=ASKED,
        condition=st.sampled_from(["", "", "", "tag", "date", "both"]),
        back=st.integers(1, 3),
        plan=PLANS,
    )
    def ask(
        self, which: int, head: bool, asked: Fields, condition: str, back: int, plan: Plan
    ) -> None:
        """GET or HEAD, perhaps with validators of a version that came `back` answers ago."""
        url = self.urls[which]
        seen = [copy for copy in self.sent if copy.url == url][-back:]
        asked = {**asked, **conditions(condition, seen)}
        self.exchange("HEAD" if head else "GET", url, asked, plan)

    def exchange(self, method: str, url: str, asked: Fields, plan: Plan) -> None:
        """Send a request, judge what comes, and learn from what the origin said."""
        must = self.model.must_answer(url, asked, self.now())
        self.plan, self.events = plan, []
        self.answered = threading.Event()
        response = self.stand.proxy.request(method, url, asked)
        behind = ours(response).get("detail") == "stale-while-revalidate"
        if behind:
            self.await_background()
        exchange = Asked(method, url, asked, response, [] if behind else list(self.events))
        note(shown(exchange))
        assert not must or (response.cache == "HIT" and not self.events), "a fresh one was stored"
        self.check(exchange)
        self.learn(exchange, list(self.events))

    def await_background(self) -> None:
        """Until the proxy has what the origin answers to its own request."""
        assert self.answered.wait(DEADLINE), "no request in the background"
        for _ in range(2):
            self.stand.proxy.barrier()

    def learn(self, exchange: Asked, events: list[Event]) -> None:
        """What the origin said is for the cache to know."""
        served = number_of(exchange, self.sent)
        for event in events:
            if event.copy is None:
                continue
            copy = replace(event.copy, asked=exchange.asked)
            if exchange.method == "HEAD" and exchange.response.cache == "MISS":
                if event.name == "new" and copy.status == 200:
                    self.model.headed(exchange.url, copy)
                elif event.name == "confirmed":
                    self.model.confirmed(copy.number, copy.asked, copy.fields, self.now(), False)
            elif event.name == "new":
                self.model.arrived(copy)
            else:
                from_store = exchange.response.cache == "HIT" and served == copy.number
                sure = from_store and not event.partial
                self.model.confirmed(copy.number, copy.asked, copy.fields, self.now(), sure)

    # --- what they get ----------------------------------------------------------------------------

    def check(self, exchange: Asked) -> None:
        """The response is one that the model allows."""
        number = number_of(exchange, self.sent)
        if number is None:
            self.check_failure(exchange)
            return
        told = [event for event in exchange.events if event.copy and event.copy.number == number]
        said = [event.copy for event in told if event.copy]
        if any(event.partial for event in told):
            held = [copy for copy in self.model.copies if copy.number == number]
            combined = [updated(copy, new.fields, self.now()) for copy in held for new in said]
            check_content(exchange, said + combined)
        elif any(event.name == "new" for event in told):
            self.check_forwarded(exchange, self.sent[number - 1])
        elif told and exchange.response.cache == "MISS":
            assert exchange.response.status == 304
            check_content(exchange, said)
        else:
            self.check_stored(exchange, number, said)

    def check_failure(self, exchange: Asked) -> None:
        """An answer of the proxy's own: nothing else was to be had."""
        cached_only = "only-if-cached" in wishes(exchange.asked)
        status, failed = exchange.response.status, exchange.failed()
        assert (failed and status in (502, 504)) or (cached_only and status == 504)
        assert exchange.response.cache == "MISS"
        assert failed or not exchange.events

    def check_forwarded(self, exchange: Asked, copy: Copy) -> None:
        """What the origin has just sent."""
        response, status = exchange.response, ours(exchange.response)
        assert response.cache == "MISS" and "hit" not in status and "fwd" in status
        check_content(exchange, [copy])
        assert response.fields.get("age") in (copy.fields.get("age"), str(copy.age(self.now())))

    def check_stored(self, exchange: Asked, number: int, confirmed: list[Copy]) -> None:
        """What came earlier, and may be used for this."""
        response, status, now = exchange.response, ours(exchange.response), self.now()
        held = [copy for copy in self.model.copies if copy.number == number]
        assert held, "dropped, or never to be stored"
        if confirmed:
            held = [updated(copy, c.fields, now) for copy in held for c in confirmed]
        else:
            found = self.model.may_answer(exchange.url, exchange.asked, now, exchange.failed())
            held = [copy for copy in held if copy in found]
            assert held, "not to be served without validation"
        assert response.cache == "HIT"
        assert ("hit" in status) != ("fwd" in status) and ("fwd" in status) == bool(exchange.events)
        check_content(exchange, held)
        age = int(response.fields["age"])
        ages = [copy.age(now) for copy in held]
        held = [copy for copy in held if age == copy.age(now) or not copy.storable()]
        assert held, f"the right age: {ages}"
        if "hit" in status and all(copy.certain for copy in held):
            assert status["ttl"] in [str(-copy.staleness(now)) for copy in held]

    # --- what changes on the origin, purges, the clock --------------------------------------------

    @rule(
        which=TARGETS,
        method=st.sampled_from(["POST", "PUT", "DELETE"]),
        status=st.sampled_from([200, 204, 303, 404, 500]),
        field=st.sampled_from(["", "location", "content-location"]),
    )
    def change(self, which: int, method: str, status: int, field: str) -> None:
        """An unsafe request, whose answer may point at the other URL."""
        url, other = self.urls[which], self.urls[1 - which]
        pointed = {field: other} if field else {}
        self.stand.origin.on(url, answer(f"{status} x", pointed))
        assert self.stand.proxy.request(method, url).status == status
        self.stand.origin.on(url, self.serve)
        if status < 400:
            for gone in (url, other) if field else (url,):
                self.model.invalidated(gone)

    @rule(head=often(False, True, weight=6), asked=USUAL, plan=PLANS)
    def ask_again(self, head: bool, asked: Fields, plan: Plan) -> None:
        """What most clients ask for."""
        self.exchange("HEAD" if head else "GET", self.urls[0], asked, plan)

    @rule(
        seconds=JUMPS,
        method=often("GET", "HEAD", weight=3),
        wanted=often("", "max-stale", "max-stale=5", weight=2),
        down=often(False, True, weight=2),
        plan=PLANS,
    )
    def ask_later(self, seconds: int, method: str, wanted: str, down: bool, plan: Plan) -> None:
        """A request after a while, when the origin may be down."""
        self.stand.clock.advance(seconds)
        asked = {"cache-control": wanted} if wanted else {}
        plan = replace(plan, status=503) if down else plan
        self.exchange(method, self.urls[0], asked, plan)

    @rule(which=TARGETS, soft=st.booleans(), by=st.sampled_from(["", "", "a", "b", "all"]))
    def purge(self, which: int, soft: bool, by: str) -> None:
        """By URL, by a tag in all of the store, or everything."""
        if by == "all":
            self.stand.proxy.clear()
            self.model.copies.clear()
            return
        url = self.urls[which]
        named = {"Cache-Tag": by} if by else {}
        response = self.stand.proxy.request(
            "PURGE", url, {**named, **({"Soft-Purge": "1"} if soft else {})}
        )
        assert response.status == 200
        receipt = json.loads(response.body)

        def selected(copy: Copy) -> bool:
            return by in listed(copy.fields.get("cache-tag", "")) if by else copy.url == url

        possible = any(map(selected, self.model.copies))
        certain = self.model.purged(selected, soft, self.now())
        assert receipt["soft"] == soft
        assert receipt["purged"] or not certain
        assert by or possible or not receipt["purged"]

    @rule(seconds=JUMPS)
    def wait(self, seconds: int) -> None:
        """The clock moves."""
        self.stand.clock.advance(seconds)


def conditions(kind: str, seen: list[Copy]) -> dict[str, str]:
    """A client's conditions with the validators of a version that it may have."""
    known = seen[0].fields if seen else {}
    found = {}
    if kind in ("tag", "both") and "etag" in known:
        found["if-none-match"] = known["etag"]
    if kind in ("date", "both") and "last-modified" in known:
        found["if-modified-since"] = known["last-modified"]
    return found


def number_of(exchange: Asked, sent: list[Copy]) -> int | None:
    """The version of which a response is; None for an answer of the proxy's own."""
    fields = exchange.response.fields
    if "x-version" in fields:
        return int(fields["x-version"])
    for copy in sent:
        for name in ("etag", "last-modified"):
            if (
                copy.url == exchange.url
                and name in fields
                and fields[name] == copy.fields.get(name)
            ):
                return copy.number
    return None


def check_content(exchange: Asked, possible: list[Copy]) -> None:
    """Status, body and fields are those of one of the copies."""
    assert any(is_content(exchange, copy) for copy in possible), possible


def is_content(exchange: Asked, copy: Copy) -> bool:
    """Status, body and fields are those of this copy."""
    response, asked = exchange.response, exchange.asked
    content = body(copy.number, copy.status)
    if copy.unchanged(asked) and copy.status == 200:
        return response.status == 304 and not response.body
    if response.status == 304:
        return copy.unchanged(asked) and copy.status == 204
    if response.status == 206 and exchange.method == "GET" and "range" in asked:
        first, last = slice_of(asked["range"], content)
        place = response.fields["content-range"] == f"bytes {first}-{last}/{len(content)}"
        return place and copy.status == 200 and response.body == content[first : last + 1]
    sent = b"" if exchange.method == "HEAD" else content
    found = (response.status, response.body)
    return found == (copy.status, sent) and same_fields(response, copy)


def same_fields(response: Response, copy: Copy) -> bool:
    """The stored fields come back, but for those that were not to be stored."""
    names = ("etag", "last-modified", "cache-control", "expires", "vary", "date")
    rules = copy.rules
    own = response.cache == "HIT" and "x-own" in (rules.get("private"), rules.get("no-cache"))
    same = all(response.fields.get(name) == copy.fields.get(name) for name in names)
    return same and not (own and "x-own" in response.fields)


def listed(value: str) -> set[str]:
    return {item.strip() for item in value.split(",")} - {""}


def shown(exchange: Asked) -> str:
    """What a report of a failure needs."""
    response, told = exchange.response, []
    for event in exchange.events:
        copy = event.copy
        told.append(f"{event.name} {copy and (copy.number, copy.status, copy.fields)}")
    found = (response.status, response.cache, response.fields.get("age"), ours(response))
    lead = f"{exchange.method} {exchange.url} {exchange.asked}"
    return f"{lead}: {found} {response.fields.get('x-version')}; the origin: {told}"


def test_what_the_proxy_does_is_what_the_model_allows(shared_timed_stand: TimedStand) -> None:
    class Bound(Machine):
        stand = shared_timed_stand

    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
