from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.directives import FOREVER
from caching_proxy.cache_manager.rfc9111.freshness import LifetimeSource, TimeToLive
from caching_proxy.cache_manager.rfc9111.storable import (
    NotStorable,
    Rules,
    Storable,
    judge_storing,
)
from caching_proxy.http.dates import format_http_date
from tests.unit.sections import Section

NOW = 1_700_000_000
RULES = Rules(TimeToLive(positive=3600, negative=10))
Fields = dict[bytes, bytes]


def judge(
    response: Fields,
    request: Fields | None = None,
    status: int = 200,
    *,
    method: bytes = b"GET",
    rules: Rules = RULES,
) -> Storable | NotStorable:
    return judge_storing(method, Section(request), status, Section(response), rules, NOW - 1, NOW)


def stored(verdict: Storable | NotStorable) -> Storable:
    assert isinstance(verdict, Storable), verdict
    return verdict


def cc(value: bytes, **more: bytes) -> Fields:
    others = {name.replace("_", "-").encode(): text for name, text in more.items()}
    return {b"cache-control": value, **others}


def test_what_is_known_of_a_stored_response() -> None:
    fields = cc(b"max-age=60", date=format_http_date(NOW - 5), age=b"7")
    assert judge(fields) == Storable(60, LifetimeSource.MAX_AGE, 8, NOW - 5, False)


@pytest.mark.parametrize(
    ("fields", "lifetime", "source"),
    [
        ({}, 3600, LifetimeSource.CACHE_TTL),
        (cc(b"public"), 3600, LifetimeSource.CACHE_TTL),
        (cc(b"max-age=60, s-maxage=5"), 5, LifetimeSource.S_MAXAGE),
        ({b"expires": format_http_date(NOW + 60)}, 60, LifetimeSource.EXPIRES),
        (cc(b"max-age=99999999999"), FOREVER, LifetimeSource.MAX_AGE),
    ],
)
def test_lifetimes(fields: Fields, lifetime: int, source: LifetimeSource) -> None:
    verdict = stored(judge(fields))
    assert (verdict.lifetime, verdict.source) == (lifetime, source)


@pytest.mark.parametrize(
    ("value", "must_revalidate"),
    [
        (b"max-age=60", False),
        (b"max-age=60, must-revalidate", True),
        (b"max-age=60, proxy-revalidate", True),
        (b"s-maxage=60", True),
    ],
)
def test_what_forbids_stale_answers_is_noted(value: bytes, must_revalidate: bool) -> None:
    assert stored(judge(cc(value))).must_revalidate is must_revalidate


@pytest.mark.parametrize("method", [b"HEAD", b"POST", b"PUT", b"get", b""])
def test_only_responses_to_get_are_stored(method: bytes) -> None:
    assert judge(cc(b"public, max-age=60"), method=method) is NotStorable.METHOD


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"no-store", NotStorable.NO_STORE),
        (b"no-store, max-age=60", NotStorable.NO_STORE),
        (b"private, max-age=60", NotStorable.PRIVATE),
        (b'private="x-user", max-age=60', NotStorable.PRIVATE),
        (b"no-cache", NotStorable.NO_CACHE),
        (b'no-cache="x-user", max-age=60', NotStorable.NO_CACHE),
        (b"max-age=0", NotStorable.STALE),
        (b"max-age=60, s-maxage=0", NotStorable.STALE),
        (b"max-age=x", NotStorable.STALE),
    ],
)
def test_directives_that_forbid(value: bytes, reason: NotStorable) -> None:
    assert judge(cc(value, expires=format_http_date(NOW + 60))) is reason


@pytest.mark.parametrize("status", [100, 103, 199, 304, 407, 412, 416, 417, 428, 429, 431, 511])
def test_statuses_that_are_never_stored(status: int) -> None:
    assert judge(cc(b"max-age=60"), status=status) is NotStorable.STATUS


def test_partial_content_is_not_stored() -> None:
    assert judge(cc(b"max-age=60"), status=206) is NotStorable.PARTIAL


@pytest.mark.parametrize(
    "status", [200, 204, 299, 302, 307, 400, 403, 404, 499, 500, 503, 599, 999]
)
def test_any_other_status_with_explicit_freshness_is_stored(status: int) -> None:
    assert stored(judge(cc(b"max-age=60"), status=status)).lifetime == 60


@pytest.mark.parametrize("status", [201, 299, 302, 400, 403, 500, 503])
def test_without_it_only_some_are(status: int) -> None:
    assert judge({}, status=status) is NotStorable.NO_LIFETIME
    assert judge(cc(b"public"), status=status) is NotStorable.NO_LIFETIME


def test_negative_responses_are_stored_for_a_moment() -> None:
    verdict = stored(judge({}, status=404))
    assert (verdict.lifetime, verdict.source) == (10, LifetimeSource.NEGATIVE_TTL)


def test_without_cache_ttl_the_heuristic_decides() -> None:
    rules = Rules(TimeToLive(positive=0, negative=10))
    old = {b"last-modified": format_http_date(NOW - 1000)}
    assert stored(judge(old, rules=rules)).lifetime == 100
    assert stored(judge(old, status=404, rules=rules)).lifetime == 100
    assert judge({}, rules=rules) is NotStorable.NO_LIFETIME
    assert judge({}, status=404, rules=rules) is NotStorable.NO_LIFETIME


@pytest.mark.parametrize(
    ("value", "status", "expected"),
    [
        (b"must-understand, no-store, max-age=60", 200, None),
        (b"must-understand, max-age=60", 404, None),
        (b"must-understand, no-store, max-age=60", 299, NotStorable.NOT_UNDERSTOOD),
        (b"must-understand, max-age=60", 599, NotStorable.NOT_UNDERSTOOD),
        (b"must-understand, no-store, private, max-age=60", 200, NotStorable.PRIVATE),
    ],
)
def test_must_understand(value: bytes, status: int, expected: NotStorable | None) -> None:
    verdict = judge(cc(value), status=status)
    assert verdict is expected if expected else isinstance(verdict, Storable)


UNDERSTOOD = [
    *(200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308),
    *(400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 421, 422, 426),
    *(500, 501, 502, 503, 504, 505),
]


def test_the_statuses_of_rfc_9110_are_understood() -> None:
    fields = cc(b"must-understand, max-age=60")
    verdicts = {status: judge(fields, status=status) for status in range(200, 600)}
    understood = [s for s, verdict in verdicts.items() if verdict is not NotStorable.NOT_UNDERSTOOD]
    assert understood == UNDERSTOOD


def test_a_request_may_forbid_to_store() -> None:
    assert judge(cc(b"max-age=60"), cc(b"no-store")) is NotStorable.REQUEST_NO_STORE
    assert isinstance(judge(cc(b"max-age=60"), cc(b"no-cache, max-age=0")), Storable)


@pytest.mark.parametrize(
    ("value", "storable"),
    [
        (b"max-age=60", False),
        (b"max-age=60, proxy-revalidate", False),
        (b"max-age=60, public", True),
        (b"max-age=60, must-revalidate", True),
        (b"s-maxage=60", True),
    ],
)
@pytest.mark.parametrize("credentials", [b"Basic YTpi", b""])
def test_authorization(value: bytes, storable: bool, credentials: bytes) -> None:
    verdict = judge(cc(value), {b"authorization": credentials})
    assert isinstance(verdict, Storable) if storable else verdict is NotStorable.AUTHORIZATION


@pytest.mark.parametrize(
    ("vary", "storable"),
    [
        (b"", True),
        (b"Accept-Encoding", True),
        (b"accept, ACCEPT-LANGUAGE ,,accept-encoding", True),
        (b"*", False),
        (b"accept, *", False),
        (b"user-agent", False),
        (b"accept-encoding, Cookie", False),
        (b"accept encoding", False),
    ],
)
def test_vary(vary: bytes, storable: bool) -> None:
    verdict = judge(cc(b"max-age=60", vary=vary))
    assert isinstance(verdict, Storable) if storable else verdict is NotStorable.VARY


def test_all_lines_of_vary_count() -> None:
    lines = Section(cc(b"max-age=60", vary=b"accept"), (b"vary", b"origin"))
    verdict = judge_storing(b"GET", Section(), 200, lines, RULES, NOW, NOW)
    assert verdict is NotStorable.VARY


def test_cookies_need_explicit_freshness() -> None:
    cookie, set_cookie = {b"cookie": b"a=b"}, {b"set-cookie": b"a=b"}
    assert judge({}, cookie) is NotStorable.COOKIE
    assert judge(set_cookie) is NotStorable.SET_COOKIE
    assert judge({b"cache-control": b"public", **set_cookie}) is NotStorable.SET_COOKIE
    assert isinstance(judge({**cc(b"max-age=60"), **set_cookie}, cookie), Storable)
    assert isinstance(judge({b"expires": format_http_date(NOW + 9), **set_cookie}), Storable)


@pytest.mark.parametrize(
    "fields",
    [
        cc(b"max-age=60", age=b"60"),
        cc(b"max-age=60", age=b"x"),
        cc(b"max-age=60", date=format_http_date(NOW - 60)),
        {b"expires": format_http_date(NOW)},
        {b"expires": b"0"},
        {b"age": b"3600"},
    ],
)
def test_what_is_stale_on_arrival_is_not_stored(fields: Fields) -> None:
    assert judge(fields) is NotStorable.STALE


def test_a_targeted_field_makes_cache_control_and_expires_void() -> None:
    cdn = {b"cdn-cache-control": b"max-age=600"}
    assert stored(judge({**cc(b"no-store", expires=b"0"), **cdn})).lifetime == 600
    none = {b"cdn-cache-control": b"none"}
    verdict = stored(judge({**cc(b"no-store", expires=b"0"), **none}))
    assert verdict.source is LifetimeSource.CACHE_TTL
    no_store = {b"cdn-cache-control": b"no-store"}
    assert judge({**cc(b"max-age=60"), **no_store}) is NotStorable.NO_STORE
    invalid = {b"cdn-cache-control": b"MAX-AGE=5"}
    assert stored(judge({**cc(b"max-age=60"), **invalid})).lifetime == 60
    untargeted = Rules(RULES.ttl, targets=())
    assert stored(judge({**cc(b"max-age=60"), **cdn}, rules=untargeted)).lifetime == 60


def test_reasons_are_tokens() -> None:
    for reason in NotStorable:
        assert reason.value.replace(b"-", b"").isalpha()


NAMES = st.sampled_from(
    [b"cache-control", b"expires", b"date", b"age", b"vary", b"last-modified", b"cdn-cache-control"]
)
VALUES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"max-age=60", b"public", b"accept", format_http_date(NOW)]),
)


@given(st.dictionaries(NAMES, VALUES), st.integers(100, 999))
def test_any_octets_are_borne(fields: Fields, status: int) -> None:
    verdict = judge(fields, status=status)
    if isinstance(verdict, Storable):
        assert 0 <= verdict.age < verdict.lifetime <= FOREVER
