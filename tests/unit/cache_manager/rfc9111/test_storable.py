from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.directives import FOREVER
from caching_proxy.cache_manager.rfc9111.freshness import LifetimeSource, TimeToLive
from caching_proxy.cache_manager.rfc9111.rules import Rules
from caching_proxy.cache_manager.rfc9111.storable import Storable, judge_storing
from caching_proxy.cache_manager.rfc9111.terms import NotStorable
from caching_proxy.cache_manager.rfc9111.validation import unstored_fields
from caching_proxy.http.dates import format_http_date
from tests.unit.sections import Section

NOW = 1_700_000_000
TAG = b'"a"'
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
    assert judge(fields) == Storable(
        60, LifetimeSource.MAX_AGE, 8, NOW - 5, False, False, 0, -1, unstored_fields(None)
    )
    fields = cc(b"no-cache, stale-while-revalidate=5, stale-if-error=9", etag=b'"a"')
    assert judge(fields) == Storable(
        3600, LifetimeSource.CACHE_TTL, 1, NOW, True, True, 5, 9, unstored_fields(None)
    )


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
        (b"max-age=60, no-cache", True),
        (b'max-age=60, no-cache="a"', False),
    ],
)
def test_what_forbids_stale_answers_is_noted(value: bytes, must_revalidate: bool) -> None:
    assert stored(judge(cc(value, etag=TAG))).must_revalidate is must_revalidate


@pytest.mark.parametrize("method", [b"HEAD", b"POST", b"PUT", b"get", b""])
def test_only_responses_to_get_are_stored(method: bytes) -> None:
    assert judge(cc(b"public, max-age=60"), method=method) is NotStorable.METHOD


def test_the_operator_may_name_other_methods() -> None:
    rules = Rules(RULES.ttl, methods=frozenset({b"GET", b"QUERY"}))
    for method in (b"GET", b"QUERY"):
        assert stored(judge(cc(b"max-age=60"), method=method, rules=rules)).lifetime == 60
    assert judge(cc(b"max-age=60"), method=b"POST", rules=rules) is NotStorable.METHOD


@pytest.mark.parametrize("method", [b"POST", b"PUT"])
def test_unsafe_methods_need_stated_freshness(method: bytes) -> None:
    """RFC 9110 9.3.3."""
    rules = Rules(RULES.ttl, methods=frozenset({b"GET", method}))
    assert stored(judge(cc(b"max-age=60"), method=method, rules=rules)).lifetime == 60
    assert judge({}, method=method, rules=rules) is NotStorable.NO_LIFETIME


def test_a_requests_no_store_counts_where_requests_are_obeyed() -> None:
    request = {b"cache-control": b"no-store"}
    ignoring = Rules(RULES.ttl, obeys_requests=False)
    assert judge(cc(b"max-age=60"), request) is NotStorable.REQUEST_NO_STORE
    assert stored(judge(cc(b"max-age=60"), request, rules=ignoring)).lifetime == 60


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"no-store", NotStorable.NO_STORE),
        (b"no-store, max-age=60", NotStorable.NO_STORE),
        (b"private, max-age=60", NotStorable.PRIVATE),
        (b'private="x-user", private, max-age=60', NotStorable.PRIVATE),
        (b'private="x user", max-age=60', NotStorable.PRIVATE),
        (b"no-cache", NotStorable.NO_CACHE),
        (b"no-cache, max-age=60, stale-while-revalidate=60", NotStorable.NO_CACHE),
        (b'no-cache="x-user", no-cache, max-age=60', NotStorable.NO_CACHE),
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


@pytest.mark.parametrize("name", [b"Vary", b"content-type", b"Content-Encoding", b"content-range"])
def test_without_some_fields_nothing_is_stored(name: bytes) -> None:
    assert judge(cc(b'max-age=60, private="x, %b"' % name)) is NotStorable.PRIVATE
    assert judge(cc(b'max-age=60, no-cache="x, %b"' % name)) is NotStorable.NO_CACHE


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, set()),
        (cc(b'private="X-User, set-cookie"'), {b"x-user", b"set-cookie"}),
        (cc(b'no-cache="X-User"'), {b"x-user"}),
        (cc(b"private=a, no-cache=b"), {b"a", b"b"}),
        ({b"connection": b"close, X-Hop"}, {b"close", b"x-hop"}),
        ({b"cdn-cache-control": b'private="a"', **cc(b"private=b")}, {b"a"}),
    ],
)
def test_fields_that_are_not_stored(fields: Fields, names: set[bytes]) -> None:
    excluded = stored(judge(fields)).excluded
    assert excluded == unstored_fields(None) | names
    assert b"proxy-authenticate" in excluded


PART = {b"content-range": b"bytes 0-4/10", b"etag": TAG}
MONDAY = {b"content-range": b"bytes 5-9/10", b"last-modified": format_http_date(NOW - 1000)}


@pytest.mark.parametrize("fields", [PART, MONDAY, {**PART, b"content-type": b"text/html"}])
def test_a_part_is_stored_like_the_whole(fields: Fields) -> None:
    assert judge(fields, status=206) == judge(fields)
    whole = judge({**fields, **cc(b"no-cache, max-age=60")})
    assert judge({**fields, **cc(b"no-cache, max-age=60")}, status=206) == whole
    assert stored(judge({**fields, **cc(b"must-understand")}, status=206)).lifetime == 3600


@pytest.mark.parametrize(
    "changes",
    [
        {b"content-range": b"bytes 0-4/*"},
        {b"content-range": b"bytes */10"},
        {b"content-range": b"lines 0-4/10"},
        {b"content-range": b"bytes 0-10/10"},
        {b"content-range": b""},
        {b"content-type": b"Multipart/ByteRanges; boundary=a"},
        {b"etag": b'W/"a"'},
        {b"etag": b""},
        {b"cache-control": b"max-age=60, private=etag"},
    ],
)
def test_parts_that_cannot_be_combined_are_not_stored(changes: Fields) -> None:
    fields = {**cc(b"max-age=60"), **PART, **changes}
    assert judge(fields, status=206) is NotStorable.PARTIAL


def test_a_part_needs_content_range_and_a_strong_validator() -> None:
    fresh = cc(b"max-age=60")
    assert judge({**fresh, b"etag": TAG}, status=206) is NotStorable.PARTIAL
    assert judge({**fresh, b"content-range": b"bytes 0-4/10"}, status=206) is NotStorable.PARTIAL
    just_now = {**fresh, **MONDAY, b"last-modified": format_http_date(NOW)}
    assert judge(just_now, status=206) is NotStorable.PARTIAL


def test_parts_are_parts_of_what_get_brings() -> None:
    rules = Rules(RULES.ttl, methods=frozenset({b"QUERY"}))
    fields = {**cc(b"max-age=60"), **PART}
    assert judge(fields, status=206, method=b"QUERY", rules=rules) is NotStorable.PARTIAL


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
    tagged = stored(judge({b"etag": TAG}, rules=rules))
    assert (tagged.lifetime, tagged.source) == (0, LifetimeSource.NONE)


@pytest.mark.parametrize("status", [201, 299, 302, 403, 500])
@pytest.mark.parametrize("value", [b"no-cache", b"stale-while-revalidate=9", b"must-revalidate"])
def test_some_statuses_need_a_word_from_the_origin(status: int, value: bytes) -> None:
    reason = NotStorable.NO_CACHE if value == b"no-cache" else NotStorable.NO_LIFETIME
    assert judge(cc(value, etag=TAG), status=status) is reason


@pytest.mark.parametrize("status", [201, 299])
def test_public_is_such_a_word(status: int) -> None:
    verdict = stored(judge(cc(b"public", etag=TAG), status=status))
    assert (verdict.lifetime, verdict.source) == (0, LifetimeSource.NONE)
    assert stored(judge(cc(b"public, no-cache", etag=TAG), status=status)).no_cache


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
    assert set(understood) == {*UNDERSTOOD, 206}


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
        (b", *", False),
        (b"user-agent", True),
        (b"accept-encoding, Cookie", True),
        (b"accept encoding", False),
    ],
)
def test_vary(vary: bytes, storable: bool) -> None:
    verdict = judge(cc(b"max-age=60", vary=vary))
    assert isinstance(verdict, Storable) if storable else verdict is NotStorable.VARY


def test_all_lines_of_vary_count() -> None:
    lines = Section(cc(b"max-age=60", vary=b"accept"), (b"vary", b"*"))
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
    "value", [b"max-age=0", b"no-cache", b"no-cache, max-age=60", b"max-age=0, stale-if-error=9"]
)
def test_set_cookie_is_not_stored_with_what_has_to_be_validated(value: bytes) -> None:
    fields = cc(value, etag=TAG)
    assert isinstance(judge(fields), Storable)
    assert judge({**fields, b"set-cookie": b"a=b"}) is NotStorable.SET_COOKIE


@pytest.mark.parametrize("value", [b"private=set-cookie", b'no-cache="Set-Cookie", max-age=0'])
def test_a_cookie_that_is_not_stored_does_not_matter(value: bytes) -> None:
    verdict = stored(judge(cc(value, etag=TAG, set_cookie=b"a=b")))
    assert b"set-cookie" in verdict.excluded


@pytest.mark.parametrize(
    ("value", "granted"),
    [
        (b"no-cache", 0),
        (b"max-age=60, no-cache", 0),
        (b"max-age=0", 0),
        (b"max-age=0, stale-if-error=9", 9),
        (b"max-age=60", -1),
        (b"max-age=60, stale-if-error=9", 9),
    ],
)
def test_answers_to_cookies_stay_unused_on_errors(value: bytes, granted: int) -> None:
    cookie = {b"cookie": b"a=b"}
    assert stored(judge(cc(value, etag=TAG), cookie)).stale_if_error == granted
    assert stored(judge(cc(value, etag=TAG))).stale_if_error == (granted or -1)


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
def test_what_is_stale_on_arrival_has_to_be_validated(fields: Fields) -> None:
    assert judge(fields) is NotStorable.STALE
    verdict = stored(judge({**fields, b"etag": TAG}))
    assert verdict.age >= verdict.lifetime
    assert not verdict.no_cache


USELESS: list[Fields] = [
    {b"etag": b""},
    {b"etag": b"*"},
    {b"last-modified": b""},
    {b"last-modified": b"yesterday"},
]


@pytest.mark.parametrize("value", [b"max-age=0", b"no-cache, max-age=60", b"no-cache"])
@pytest.mark.parametrize("status", [200, 203, 204, 299])
def test_what_has_to_be_validated_needs_a_validator(value: bytes, status: int) -> None:
    fields = cc(value if status != 299 else value + b", public")
    reason = NotStorable.NO_CACHE if b"no-cache" in value else NotStorable.STALE
    assert judge(fields, status=status) is reason
    for useless in USELESS:
        assert judge({**fields, **useless}, status=status) is reason
    for validator in (TAG, b'W/"a"', b"a"):
        assert isinstance(judge({**fields, b"etag": validator}, status=status), Storable)
    dated = {**fields, b"last-modified": format_http_date(NOW - 9)}
    assert isinstance(judge(dated, status=status), Storable)
    both = {b"etag": b"", b"last-modified": format_http_date(NOW)}
    assert isinstance(judge({**fields, **both}, status=status), Storable)


def test_a_validator_that_is_not_stored_does_not_help() -> None:
    fields = cc(b"max-age=0, private=etag", etag=TAG)
    assert judge(fields) is NotStorable.STALE
    dated = {**fields, b"last-modified": format_http_date(NOW)}
    assert isinstance(judge(dated), Storable)
    neither = {**dated, **cc(b"max-age=0, private=etag, no-cache=last-modified")}
    assert judge(neither) is NotStorable.STALE


@pytest.mark.parametrize("status", [300, 301, 404, 503])
def test_only_successful_responses_can_be_validated(status: int) -> None:
    assert judge(cc(b"max-age=0", etag=TAG), status=status) is NotStorable.STALE
    assert judge(cc(b"max-age=60, no-cache", etag=TAG), status=status) is NotStorable.NO_CACHE


@pytest.mark.parametrize("directive", [b"stale-while-revalidate", b"stale-if-error"])
@pytest.mark.parametrize("status", [200, 404])
def test_what_may_be_served_stale_needs_no_validator(directive: bytes, status: int) -> None:
    # The response is a second old on arrival.
    value = b"max-age=0, " + directive
    assert isinstance(judge(cc(value + b"=2"), status=status), Storable)
    assert judge(cc(value + b"=1"), status=status) is NotStorable.STALE
    assert judge(cc(value + b"=0"), status=status) is NotStorable.STALE
    assert judge(cc(value + b"=9, must-revalidate"), status=status) is NotStorable.STALE
    unstated = Rules(TimeToLive(0, 0))
    verdict = stored(judge(cc(directive + b"=9"), status=status, rules=unstated))
    assert (verdict.lifetime, verdict.source) == (0, LifetimeSource.NONE)


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
    [
        *(b"cache-control", b"expires", b"date", b"age", b"vary", b"last-modified", b"etag"),
        *(b"cdn-cache-control", b"content-range", b"connection"),
    ]
)
VALUES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            *(b"max-age=60", b"public", b"accept", format_http_date(NOW), b"bytes 0-4/10"),
            *(b"stale-if-error=9", b"stale-while-revalidate=9", b"no-cache", b"private=a"),
        ]
    ),
)


@given(st.dictionaries(NAMES, VALUES), st.integers(100, 999))
def test_any_octets_are_borne(fields: Fields, status: int) -> None:
    verdict = judge(fields, status=status)
    if isinstance(verdict, Storable):
        assert 0 <= verdict.age <= FOREVER
        assert 0 <= verdict.lifetime <= FOREVER
        assert verdict.no_cache <= verdict.must_revalidate
        assert verdict.stale_while_revalidate >= 0
        assert verdict.stale_if_error >= -1
