"""What the operator decides about storing: lifetimes by response, and whose word counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.freshness import LifetimeSource, TimeToLive
from caching_proxy.cache_manager.rfc9111.rules import Lifetimes, ResponseRule, Rules
from caching_proxy.cache_manager.rfc9111.storable import Storable, judge_storing
from caching_proxy.cache_manager.rfc9111.terms import NotStorable
from caching_proxy.http.dates import format_http_date
from tests.unit.sections import Section

NOW = 1_700_000_000
TAG = b'"a"'
TTL = TimeToLive(positive=3600, negative=10)
RULES = Rules(TTL)
SEVEN, EIGHT = Lifetimes(ttl=7), Lifetimes(ttl=8)
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


def lifetime(verdict: Storable | NotStorable) -> tuple[int, LifetimeSource]:
    found = stored(verdict)
    return found.lifetime, found.source


def cc(value: bytes, **more: bytes) -> Fields:
    others = {name.replace("_", "-").encode(): text for name, text in more.items()}
    return {b"cache-control": value, **others}


def overriding(seconds: int, ttl: TimeToLive = TTL) -> Rules:
    return Rules(ttl, lifetimes=Lifetimes(override=seconds))


def giving(seconds: int, ttl: TimeToLive = TTL) -> Rules:
    return Rules(ttl, lifetimes=Lifetimes(ttl=seconds))


def windows(revalidating: int | None = None, if_error: int | None = None) -> Rules:
    chosen = Lifetimes(stale_while_revalidate=revalidating, stale_if_error=if_error)
    return Rules(TTL, lifetimes=chosen)


# -- which rule is for a response


@pytest.mark.parametrize(
    ("statuses", "status", "fits"),
    [
        (None, 200, True),
        (None, 599, True),
        ({404}, 404, True),
        ({404, 410}, 410, True),
        ({404}, 200, False),
        (set(), 200, False),
    ],
)
@pytest.mark.parametrize("content_type", [None, b"text/html"])
def test_a_rule_is_for_some_statuses_or_any(
    statuses: set[int] | None, status: int, fits: bool, content_type: bytes | None
) -> None:
    chosen = None if statuses is None else frozenset(statuses)
    assert ResponseRule(chosen, None, SEVEN).fits(status, content_type) is fits


@pytest.mark.parametrize(
    ("types", "content_type", "fits"),
    [
        ((b"image/png",), b"image/png", True),
        ((b"image/png",), b"Image/PNG", True),
        ((b"text/html",), b"text/html; charset=utf-8", True),
        ((b"text/html",), b"text/html\t ;charset=utf-8", True),
        ((b"text/html",), b" \ttext/html", True),
        ((b"text/html",), b"text/htmlx", False),
        ((b"text/html",), b"text/htm", False),
        ((b"text/html",), b"application/xml; text/html", False),
        ((b"text/html",), b"\x0btext/html", False),
        ((b"image/",), b"image/png", True),
        ((b"image/",), b"IMAGE/webp; q=1", True),
        ((b"image/",), b"images/png", False),
        ((b"image/",), b"text/html", False),
        ((b"image/", b"font/woff2"), b"font/woff2", True),
        ((b"image/", b"font/woff2"), b"font/woff", False),
        ((b"image/",), None, False),
        ((b"image/",), b"", False),
        ((), b"image/png", False),
        (None, None, True),
        (None, b"x", True),
    ],
)
def test_a_rule_is_for_some_types_or_any(
    types: tuple[bytes, ...] | None, content_type: bytes | None, fits: bool
) -> None:
    assert ResponseRule(None, types, SEVEN).fits(200, content_type) is fits
    assert ResponseRule(frozenset({200}), types, SEVEN).fits(200, content_type) is fits


def test_both_status_and_type_have_to_fit() -> None:
    rule = ResponseRule(frozenset({404}), (b"image/",), SEVEN)
    assert rule.fits(404, b"image/png")
    assert not rule.fits(200, b"image/png")
    assert not rule.fits(404, b"text/html")


def test_the_first_rule_that_fits_counts() -> None:
    rules = Rules(
        TTL,
        lifetimes=Lifetimes(ttl=1),
        by_response=(
            ResponseRule(frozenset({404}), None, SEVEN),
            ResponseRule(None, (b"image/",), EIGHT),
            ResponseRule(frozenset({404, 410}), None, Lifetimes(ttl=9)),
        ),
    )
    assert rules.lifetimes_of(404, b"image/png") is SEVEN
    assert rules.lifetimes_of(410, b"image/png") is EIGHT
    assert rules.lifetimes_of(200, b"image/png") is EIGHT
    assert rules.lifetimes_of(410, b"text/html").ttl == 9
    assert rules.lifetimes_of(200, b"text/html").ttl == 1
    assert rules.lifetimes_of(200, None).ttl == 1


def test_a_rule_takes_the_place_of_what_is_for_all() -> None:
    """What it leaves open is not filled in from there."""
    rules = Rules(
        TTL,
        lifetimes=Lifetimes(override=5, stale_while_revalidate=6, stale_if_error=7),
        by_response=(ResponseRule(frozenset({200}), None, Lifetimes(stale_if_error=9)),),
    )
    assert judge(cc(b"max-age=60"), rules=rules) == judge(
        cc(b"max-age=60"), rules=windows(if_error=9)
    )
    assert lifetime(judge(cc(b"max-age=60"), status=404, rules=rules)) == (
        5,
        LifetimeSource.OVERRIDE_TTL,
    )


def test_with_no_rules_all_is_as_for_all() -> None:
    assert Rules(TTL).lifetimes_of(200, Section()) == Lifetimes()
    assert Lifetimes() == Lifetimes(None, None, None, None)


def test_rules_by_response_reach_the_verdict() -> None:
    by_response = (
        ResponseRule(frozenset({503}), None, Lifetimes(ttl=2)),
        ResponseRule(None, (b"font/",), Lifetimes(override=99)),
    )
    rules = Rules(TTL, by_response=by_response)
    font = {b"content-type": b"font/woff2"}
    assert lifetime(judge({}, status=503, rules=rules)) == (2, LifetimeSource.ROUTE_TTL)
    assert judge({}, status=503) is NotStorable.NO_LIFETIME
    assert lifetime(judge({**cc(b"max-age=5"), **font}, rules=rules)) == (
        99,
        LifetimeSource.OVERRIDE_TTL,
    )
    assert lifetime(judge(cc(b"max-age=5"), rules=rules)) == (5, LifetimeSource.MAX_AGE)


# -- a lifetime where the origin states none


@pytest.mark.parametrize("status", [200, 201, 299, 302, 404, 410, 500, 503, 999])
@pytest.mark.parametrize("ttl", [TTL, TimeToLive(0, 0)])
def test_a_lifetime_is_given_to_any_status(status: int, ttl: TimeToLive) -> None:
    rules = giving(7, ttl)
    assert lifetime(judge({}, status=status, rules=rules)) == (7, LifetimeSource.ROUTE_TTL)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (cc(b"max-age=60"), (60, LifetimeSource.MAX_AGE)),
        (cc(b"s-maxage=60"), (60, LifetimeSource.S_MAXAGE)),
        ({b"expires": format_http_date(NOW + 60)}, (60, LifetimeSource.EXPIRES)),
        ({b"cdn-cache-control": b"max-age=60"}, (60, LifetimeSource.MAX_AGE)),
        (cc(b"public"), (7, LifetimeSource.ROUTE_TTL)),
        ({b"last-modified": format_http_date(NOW - 1000)}, (7, LifetimeSource.ROUTE_TTL)),
    ],
)
def test_what_the_origin_states_goes_before_a_lifetime_given(
    fields: Fields, expected: tuple[int, LifetimeSource]
) -> None:
    assert lifetime(judge(fields, rules=giving(7))) == expected


def test_a_given_lifetime_of_zero_is_one() -> None:
    assert judge({}, rules=giving(0)) is NotStorable.STALE
    assert lifetime(judge({b"etag": TAG}, rules=giving(0))) == (0, LifetimeSource.ROUTE_TTL)


def test_an_expired_response_gets_none() -> None:
    assert judge({b"expires": b"0"}, rules=giving(7)) is NotStorable.STALE
    assert judge(cc(b"max-age=0"), rules=giving(7)) is NotStorable.STALE


@pytest.mark.parametrize("method", [b"POST", b"PUT"])
def test_a_given_lifetime_is_not_the_origins_word(method: bytes) -> None:
    rules = Rules(TTL, methods=frozenset({b"GET", method}), lifetimes=Lifetimes(ttl=7))
    assert judge({}, method=method, rules=rules) is NotStorable.NO_LIFETIME
    assert judge({}, {b"cookie": b"a=b"}, rules=rules) is NotStorable.COOKIE
    assert judge({b"set-cookie": b"a=b"}, rules=rules) is NotStorable.SET_COOKIE
    assert judge({}, {b"authorization": b"Basic YTpi"}, rules=rules) is NotStorable.AUTHORIZATION


# -- a lifetime whatever the origin states


@pytest.mark.parametrize(
    "fields",
    [
        {},
        cc(b"max-age=60"),
        cc(b"max-age=0"),
        cc(b"s-maxage=60"),
        cc(b"no-cache"),
        cc(b"no-cache, max-age=0"),
        {b"expires": b"0"},
        {b"expires": format_http_date(NOW + 60)},
        {b"cdn-cache-control": b"max-age=60"},
        {b"cdn-cache-control": b"no-cache"},
        {b"last-modified": format_http_date(NOW - 1000)},
    ],
)
@pytest.mark.parametrize("ttl", [TTL, TimeToLive(0, 0)])
@pytest.mark.parametrize("status", [200, 201, 302, 404, 503, 999])
def test_an_override_goes_before_all(fields: Fields, ttl: TimeToLive, status: int) -> None:
    verdict = stored(judge(fields, status=status, rules=overriding(7, ttl)))
    assert (verdict.lifetime, verdict.source) == (7, LifetimeSource.OVERRIDE_TTL)
    assert not verdict.no_cache


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"no-store", NotStorable.NO_STORE),
        (b"private", NotStorable.PRIVATE),
        (b"private=vary", NotStorable.PRIVATE),
        (b"no-cache=vary", NotStorable.NO_CACHE),
    ],
)
def test_an_override_is_for_what_may_be_stored(value: bytes, reason: NotStorable) -> None:
    assert judge(cc(value), rules=overriding(7)) is reason


@pytest.mark.parametrize("status", [304, 416, 429])
def test_an_override_changes_no_status(status: int) -> None:
    assert judge({}, status=status, rules=overriding(7)) is NotStorable.STATUS


def test_an_override_gives_nobody_the_answer_to_credentials() -> None:
    credentials = {b"authorization": b"Basic YTpi"}
    rules = overriding(7)
    assert judge(cc(b"max-age=60"), credentials, rules=rules) is NotStorable.AUTHORIZATION
    assert lifetime(judge(cc(b"public"), credentials, rules=rules))[0] == 7
    assert judge(cc(b"max-age=60", vary=b"*"), rules=rules) is NotStorable.VARY


def test_no_cache_does_not_forbid_stale_answers_where_it_does_not_count() -> None:
    verdict = stored(judge(cc(b"no-cache, max-age=60", etag=TAG), rules=overriding(7)))
    assert (verdict.must_revalidate, verdict.no_cache) == (False, False)
    for value in (b"must-revalidate", b"proxy-revalidate", b"s-maxage=5"):
        assert stored(judge(cc(b"no-cache, " + value), rules=overriding(7))).must_revalidate


def test_fields_that_no_cache_names_are_still_left_out() -> None:
    verdict = stored(judge(cc(b'no-cache="x-user", private=x-name'), rules=overriding(7)))
    assert {b"x-user", b"x-name"} <= verdict.excluded


def test_an_override_of_zero_is_one() -> None:
    rules = overriding(0)
    assert judge(cc(b"max-age=60"), rules=rules) is NotStorable.STALE
    assert lifetime(judge(cc(b"max-age=60", etag=TAG), rules=rules)) == (
        0,
        LifetimeSource.OVERRIDE_TTL,
    )
    verdict = stored(judge(cc(b"max-age=60, no-cache", etag=TAG), rules=rules))
    assert not verdict.no_cache


def test_an_override_goes_before_a_lifetime_given() -> None:
    rules = Rules(TTL, lifetimes=Lifetimes(override=5, ttl=7))
    assert lifetime(judge({}, rules=rules)) == (5, LifetimeSource.OVERRIDE_TTL)


def test_age_counts_with_an_override() -> None:
    verdict = stored(judge({b"age": b"3"}, rules=overriding(7)))
    assert (verdict.age, verdict.lifetime) == (4, 7)
    assert judge({b"age": b"6"}, rules=overriding(7)) is NotStorable.STALE


def test_answers_with_cookies_are_not_kept_for_validation() -> None:
    fields = {b"set-cookie": b"a=b", b"etag": TAG}
    assert judge(fields, rules=overriding(0)) is NotStorable.SET_COOKIE
    assert judge({**fields, b"age": b"7"}, rules=overriding(7)) is NotStorable.SET_COOKIE


# -- how long it may be stale


@pytest.mark.parametrize(
    ("value", "given_window", "expected"),
    [
        (b"", None, 0),
        (b"", 0, 0),
        (b"", 9, 9),
        (b"stale-while-revalidate=5", None, 5),
        (b"stale-while-revalidate=5", 9, 5),
        (b"stale-while-revalidate=0", 9, 0),
        (b"stale-if-error=5", 9, 9),
    ],
)
def test_the_window_of_revalidation(value: bytes, given_window: int | None, expected: int) -> None:
    verdict = stored(judge(cc(b"max-age=60, " + value), rules=windows(given_window)))
    assert verdict.stale_while_revalidate == expected


@pytest.mark.parametrize(
    ("value", "given_window", "expected"),
    [
        (b"", None, -1),
        (b"", 0, 0),
        (b"", 9, 9),
        (b"stale-if-error=5", None, 5),
        (b"stale-if-error=5", 9, 5),
        (b"stale-if-error=0", 9, 0),
        (b"stale-while-revalidate=5", 9, 9),
    ],
)
def test_the_window_of_errors(value: bytes, given_window: int | None, expected: int) -> None:
    verdict = stored(judge(cc(b"max-age=60, " + value), rules=windows(None, given_window)))
    assert verdict.stale_if_error == expected


def test_each_window_is_its_own() -> None:
    verdict = stored(judge({}, rules=windows(4, 5)))
    assert (verdict.stale_while_revalidate, verdict.stale_if_error) == (4, 5)
    assert (verdict.lifetime, verdict.source) == (3600, LifetimeSource.CACHE_TTL)


@pytest.mark.parametrize("rules", [windows(2), windows(None, 2)])
def test_what_the_operator_lets_be_stale_needs_no_validator(rules: Rules) -> None:
    # The response is a second old on arrival.
    assert stored(judge(cc(b"max-age=0"), rules=rules)).lifetime == 0
    assert judge(cc(b"max-age=0", age=b"1"), rules=rules) is NotStorable.STALE
    for value in (b"must-revalidate", b"proxy-revalidate", b"no-cache"):
        verdict = judge(cc(b"max-age=0, " + value), rules=rules)
        assert verdict in (NotStorable.STALE, NotStorable.NO_CACHE)
    assert judge(cc(b"s-maxage=0"), rules=rules) is NotStorable.STALE


def test_windows_of_zero_let_nothing_be_stale() -> None:
    assert judge(cc(b"max-age=0"), rules=windows(0, 0)) is NotStorable.STALE


# -- the origin's word not heeded


IGNORING = Rules(TTL, obeys_origin=False)


@pytest.mark.parametrize(
    "fields",
    [
        cc(b"no-store"),
        cc(b"private"),
        cc(b"private=vary, no-cache=content-type"),
        cc(b"no-cache"),
        cc(b"must-understand, no-store"),
        cc(b"max-age=0"),
        cc(b"max-age=60, s-maxage=5, must-revalidate, stale-while-revalidate=9, stale-if-error=9"),
        {b"expires": b"0"},
        {b"expires": format_http_date(NOW + 60)},
        {b"cdn-cache-control": b"no-store"},
        {b"cdn-cache-control": b"max-age=60, no-cache"},
    ],
)
def test_what_the_origin_states_need_not_count(fields: Fields) -> None:
    assert judge(fields, rules=IGNORING) == judge({})


def test_then_it_gives_no_permission_either() -> None:
    credentials = {b"authorization": b"Basic YTpi"}
    cookie = {b"cookie": b"a=b"}
    stated = cc(b"public, max-age=60, s-maxage=60, must-revalidate")
    assert judge(stated, credentials, rules=IGNORING) is NotStorable.AUTHORIZATION
    assert judge(stated, cookie, rules=IGNORING) is NotStorable.COOKIE
    assert judge({**stated, b"set-cookie": b"a=b"}, rules=IGNORING) is NotStorable.SET_COOKIE
    for status in (201, 302, 503):
        assert judge(stated, status=status, rules=IGNORING) is NotStorable.NO_LIFETIME


def test_then_fields_are_stored_that_it_names() -> None:
    fields = cc(b'private="x-user", no-cache=x-name, max-age=60')
    assert stored(judge(fields, rules=IGNORING)).excluded == stored(judge({})).excluded


def test_the_rest_of_http_counts_all_the_same() -> None:
    assert judge({b"vary": b"*"}, rules=IGNORING) is NotStorable.VARY
    assert judge({}, status=304, rules=IGNORING) is NotStorable.STATUS
    assert judge({}, status=206, rules=IGNORING) is NotStorable.PARTIAL
    assert judge({}, cc(b"no-store"), rules=IGNORING) is NotStorable.REQUEST_NO_STORE
    verdict = stored(judge({b"age": b"7", b"date": format_http_date(NOW - 5)}, rules=IGNORING))
    assert (verdict.age, verdict.date) == (8, NOW - 5)


def test_then_the_operators_lifetimes_count() -> None:
    heuristic = Rules(TimeToLive(0, 0), obeys_origin=False)
    old = cc(b"max-age=60", last_modified=format_http_date(NOW - 1000))
    assert lifetime(judge(old, rules=heuristic)) == (100, LifetimeSource.HEURISTIC)
    chosen = Lifetimes(ttl=7, stale_while_revalidate=8, stale_if_error=9)
    rules = Rules(TTL, obeys_origin=False, lifetimes=chosen)
    verdict = stored(judge(cc(b"no-store, stale-if-error=1"), rules=rules))
    assert (verdict.lifetime, verdict.source) == (7, LifetimeSource.ROUTE_TTL)
    assert (verdict.stale_while_revalidate, verdict.stale_if_error) == (8, 9)
    assert not verdict.must_revalidate
    overridden = Rules(TTL, obeys_origin=False, lifetimes=Lifetimes(override=5))
    assert lifetime(judge(cc(b"private"), rules=overridden)) == (5, LifetimeSource.OVERRIDE_TTL)


WINDOW = st.none() | st.integers(0, 100)
VALUES = st.lists(
    st.sampled_from(
        [
            *(b"max-age=0", b"max-age=60", b"s-maxage=5", b"no-cache", b"must-revalidate"),
            *(b"public", b"stale-while-revalidate=9", b"stale-if-error=9"),
        ]
    ),
    max_size=4,
    unique=True,
)


@given(VALUES, st.builds(Lifetimes, WINDOW, WINDOW, WINDOW, WINDOW), st.sampled_from([200, 404]))
def test_a_stored_response_has_the_operators_lifetime_or_the_origins(
    directives: list[bytes], chosen: Lifetimes, status: int
) -> None:
    rules = Rules(TTL, lifetimes=chosen)
    verdict = judge(cc(b", ".join(directives), etag=TAG), status=status, rules=rules)
    if not isinstance(verdict, Storable):
        return
    stated = [text for text in directives if b"max" in text]
    if chosen.override is not None:
        assert verdict.lifetime == chosen.override
        assert verdict.source is LifetimeSource.OVERRIDE_TTL
    elif stated:
        assert verdict.source in (LifetimeSource.MAX_AGE, LifetimeSource.S_MAXAGE)
    elif chosen.ttl is not None:
        assert (verdict.lifetime, verdict.source) == (chosen.ttl, LifetimeSource.ROUTE_TTL)
    else:
        assert verdict.lifetime == (10 if status == 404 else 3600)
    if b"stale-if-error=9" not in directives:
        expected = -1 if chosen.stale_if_error is None else chosen.stale_if_error
        assert verdict.stale_if_error == expected
    if b"stale-while-revalidate=9" not in directives:
        assert verdict.stale_while_revalidate == (chosen.stale_while_revalidate or 0)


# -- whose word counts where cookies are

COOKIE = {b"cookie": b"id=alice"}


@pytest.mark.parametrize("value", [b"", b"no-cache", b"max-age=0"])
def test_an_override_gives_nobody_anothers_cookie(value: bytes) -> None:
    """Only the origin can say that a cookie is for everybody."""
    response = cc(value, set_cookie=b"id=alice", etag=TAG)
    assert judge(response, rules=overriding(60)) is NotStorable.SET_COOKIE


def test_the_origin_may_give_everybody_a_cookie_under_an_override() -> None:
    response = cc(b"max-age=5", set_cookie=b"theme=dark")
    assert lifetime(judge(response, rules=overriding(60))) == (60, LifetimeSource.OVERRIDE_TTL)


def test_an_override_holds_for_answers_to_requests_with_a_cookie() -> None:
    assert lifetime(judge({}, COOKIE, rules=overriding(60))) == (60, LifetimeSource.OVERRIDE_TTL)
    assert judge({}, COOKIE, rules=giving(60)) is NotStorable.COOKIE


def test_unsafe_methods_are_queries_by_the_origins_word_alone() -> None:
    rules = Rules(TTL, methods=frozenset({b"POST"}), lifetimes=Lifetimes(override=60))
    assert judge({}, method=b"POST", rules=rules) is NotStorable.NO_LIFETIME
    assert lifetime(judge(cc(b"max-age=5"), method=b"POST", rules=rules))[0] == 60


@pytest.mark.parametrize("value", [b"max-age=0", b"no-cache"])
def test_windows_of_the_operator_do_not_serve_one_users_answer_to_others(value: bytes) -> None:
    found = stored(judge(cc(value, etag=TAG), COOKIE, rules=windows(60, 70)))
    assert (found.stale_while_revalidate, found.stale_if_error) == (0, 0)
    other = stored(judge(cc(value, etag=TAG), rules=windows(60, 70)))
    assert (other.stale_while_revalidate, other.stale_if_error) == (60, 70)


def test_windows_of_the_origin_do() -> None:
    told = cc(b"max-age=0, stale-while-revalidate=5, stale-if-error=6", etag=TAG)
    found = stored(judge(told, COOKIE, rules=windows(60, 70)))
    assert (found.stale_while_revalidate, found.stale_if_error) == (5, 6)


@pytest.mark.parametrize(("age", "everybodys"), [(b"3", True), (b"4", False)])
def test_the_origins_word_for_a_cookie_lasts_as_long_as_it_says(
    age: bytes, everybodys: bool
) -> None:
    """The answer took a second: with 4 it is five seconds old."""
    response = cc(b"max-age=5", set_cookie=b"theme=dark", age=age)
    verdict = judge(response, rules=overriding(60))
    assert isinstance(verdict, Storable) is everybodys
    assert everybodys or verdict is NotStorable.SET_COOKIE
