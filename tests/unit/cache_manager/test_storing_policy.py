"""What is remembered of the policy of storing is what the policy says."""

from __future__ import annotations

from itertools import chain, product

import pytest

from caching_proxy.cache_manager.rfc9111.freshness import TimeToLive
from caching_proxy.cache_manager.rfc9111.rules import Lifetimes, ResponseRule, Rules
from caching_proxy.cache_manager.rfc9111.storable import Storable, judge_storing
from caching_proxy.cache_manager.storing_policy import StoringPolicy
from caching_proxy.http.dates import format_http_date
from caching_proxy.http.fields import Fields

NOW = 1_700_000_000
TTL = TimeToLive(positive=3600, negative=10)
METHODS = frozenset({b"GET", b"POST"})
BY_TYPE = (ResponseRule(None, (b"image/",), Lifetimes(ttl=7)),)
RULES = [
    Rules(TTL),
    Rules(TTL, methods=METHODS, by_response=BY_TYPE),
    Rules(TTL, targets=(b"surrogate-control", b"cdn-cache-control")),
    Rules(TTL, obeys_requests=False, lifetimes=Lifetimes(override=5)),
    Rules(TTL, targets=(), obeys_origin=False),
]
NO_FIELDS = Fields.of([])

# What decides, each absent and present.
RESPONSE = [
    [(), ((b"Cache-Control", b"max-age=60"),), ((b"Cache-Control", b"no-cache"),)],
    [(), ((b"CDN-Cache-Control", b"s-maxage=5"),)],
    [(), ((b"Surrogate-Control", b"private"),)],
    [(), ((b"Vary", b"*"),)],
    [(), ((b"Connection", b"etag"),)],
    [(), ((b"Set-Cookie", b"a=b"),)],
    [(), ((b"Content-Type", b"image/png"),)],
]
REQUEST = [
    [(), ((b"Cache-Control", b"no-store"),)],
    [(), ((b"Cookie", b"a=b"),)],
    [(), ((b"Authorization", b"Basic eDp5"),)],
]
VALIDATORS = ((b"ETag", b'"a"'), (b"Date", format_http_date(NOW - 9)))
RANGES = (b"bytes 0-3/10", b"bytes 0-3/*")


def sections(fields: list[list[tuple[tuple[bytes, bytes], ...]]]) -> list[Fields]:
    return [Fields.of(chain(*lines, VALIDATORS)) for lines in product(*fields)]


@pytest.mark.parametrize("rules", RULES)
def test_what_is_remembered_is_what_is_read(rules: Rules) -> None:
    policy = StoringPolicy(rules)
    ways = ((b"GET", b"POST"), sections(REQUEST), (200, 599), sections(RESPONSE))
    # Each dimension varies fastest once: what differs in one thing alone is asked for in a row.
    asked = [*product(*ways), *(each[::-1] for each in product(*ways[::-1]))]
    for method, request, status, response in asked:
        expected = judge_storing(method, request, status, response, rules, NOW - 1, NOW)
        assert policy.judge(method, request, status, response, NOW - 1, NOW) == expected


@pytest.mark.parametrize("content_type", [b"text/plain", b"multipart/byteranges; boundary=a"])
def test_parts_are_read_each(content_type: bytes) -> None:
    policy = StoringPolicy(RULES[0])
    for value in RANGES + RANGES:
        part = Fields.of((*VALIDATORS, (b"Content-Range", value), (b"Content-Type", content_type)))
        expected = judge_storing(b"GET", NO_FIELDS, 206, part, RULES[0], NOW, NOW)
        assert policy.judge(b"GET", NO_FIELDS, 206, part, NOW, NOW) == expected


def test_long_values_are_read_whole() -> None:
    policy = StoringPolicy(RULES[0])
    for number in (1, 2):
        value = b"x=" + b"y" * 2000 + b", max-age=%d" % number
        section = Fields.of([(b"Cache-Control", value)])
        verdict = policy.judge(b"GET", NO_FIELDS, 200, section, NOW, NOW)
        assert isinstance(verdict, Storable)
        assert verdict.lifetime == number


def test_many_kinds_are_borne() -> None:
    policy = StoringPolicy(Rules(TTL))
    for number in range(1000):
        section = Fields.of([(b"Cache-Control", b"max-age=%d" % number)])
        verdict = policy.judge(b"GET", NO_FIELDS, 200, section, NOW, NOW)
        assert isinstance(verdict, Storable) is (number > 0)
