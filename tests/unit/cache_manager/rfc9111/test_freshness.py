from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.directives import FOREVER, Directives
from caching_proxy.cache_manager.rfc9111.freshness import (
    Lifetime,
    LifetimeSource,
    TimeToLive,
    assigned_lifetime,
    expires_lifetime,
    initial_age,
    response_date,
    stated_lifetime,
)
from caching_proxy.http.dates import format_http_date
from tests.unit.sections import Section

NOW = 1_700_000_000
FAR = b"Fri, 31 Dec 9999 23:59:59 GMT"
TTL = TimeToLive(positive=3600, negative=10)
HEURISTIC = TimeToLive(positive=0, negative=10)


@pytest.mark.parametrize(
    ("directives", "expires", "lifetime"),
    [
        (Directives(), None, None),
        (Directives(max_age=60), None, Lifetime(60, LifetimeSource.MAX_AGE)),
        (Directives(max_age=0), FAR, Lifetime(0, LifetimeSource.MAX_AGE)),
        (Directives(max_age=60, s_maxage=5), FAR, Lifetime(5, LifetimeSource.S_MAXAGE)),
        (Directives(max_age=60, s_maxage=0), None, Lifetime(0, LifetimeSource.S_MAXAGE)),
        (Directives(), FAR, Lifetime(FOREVER, LifetimeSource.EXPIRES)),
        (Directives(), format_http_date(NOW + 90), Lifetime(100, LifetimeSource.EXPIRES)),
        (Directives(), format_http_date(NOW - 11), Lifetime(0, LifetimeSource.EXPIRES)),
        (Directives(), b"0", Lifetime(0, LifetimeSource.EXPIRES)),
        (Directives(), b"", Lifetime(0, LifetimeSource.EXPIRES)),
        (Directives(), FAR + b", " + FAR, Lifetime(0, LifetimeSource.EXPIRES)),
    ],
)
def test_explicit_lifetime(
    directives: Directives, expires: bytes | None, lifetime: Lifetime | None
) -> None:
    found = stated_lifetime(directives) or expires_lifetime(expires, NOW - 10, NOW)
    assert found == lifetime


@pytest.mark.parametrize("status", [200, 203, 204, 206, 300, 301, 308])
def test_cache_ttl(status: int) -> None:
    expected = Lifetime(3600, LifetimeSource.CACHE_TTL)
    assert assigned_lifetime(status, False, format_http_date(0), NOW, TTL) == expected


@pytest.mark.parametrize("status", [404, 405, 410, 414, 501])
def test_negative_ttl(status: int) -> None:
    expected = Lifetime(10, LifetimeSource.NEGATIVE_TTL)
    assert assigned_lifetime(status, False, None, NOW, TTL) == expected


@pytest.mark.parametrize(
    "status", [201, 202, 205, 302, 303, 307, 400, 403, 500, 502, 503, 504, 299]
)
@pytest.mark.parametrize("ttl", [TTL, HEURISTIC])
def test_no_other_status_gets_a_lifetime(status: int, ttl: TimeToLive) -> None:
    assert assigned_lifetime(status, False, format_http_date(0), NOW, ttl) is None


@pytest.mark.parametrize("status", [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501])
def test_the_heuristic_is_used_without_cache_ttl(status: int) -> None:
    lifetime = assigned_lifetime(status, False, format_http_date(NOW - 1000), NOW, HEURISTIC)
    assert lifetime == Lifetime(100, LifetimeSource.HEURISTIC)


@pytest.mark.parametrize(
    ("last_modified", "seconds"),
    [
        (format_http_date(NOW - 9), 0),
        (format_http_date(NOW), 0),
        (format_http_date(NOW + 1000), 0),
        (b"Mon, 01 Jan 0001 00:00:00 GMT", FOREVER),
    ],
)
def test_the_heuristic_has_bounds(last_modified: bytes, seconds: int) -> None:
    lifetime = assigned_lifetime(200, False, last_modified, NOW, HEURISTIC)
    assert lifetime == Lifetime(seconds, LifetimeSource.HEURISTIC)


@pytest.mark.parametrize("last_modified", [None, b"yesterday"])
def test_the_heuristic_needs_a_modification_date(last_modified: bytes | None) -> None:
    assert assigned_lifetime(200, False, last_modified, NOW, HEURISTIC) is None


def test_public_opens_the_heuristic_to_any_status() -> None:
    lifetime = assigned_lifetime(302, True, format_http_date(NOW - 1000), NOW, HEURISTIC)
    assert lifetime == Lifetime(100, LifetimeSource.HEURISTIC)
    assert assigned_lifetime(302, True, format_http_date(NOW - 1000), NOW, TTL) is None


def test_the_shortest_cache_ttl_counts() -> None:
    lifetime = assigned_lifetime(200, False, None, NOW, TimeToLive(1, 0))
    assert lifetime == Lifetime(1, LifetimeSource.CACHE_TTL)


def test_a_negative_ttl_of_zero_leaves_no_freshness() -> None:
    lifetime = assigned_lifetime(404, False, None, NOW, TimeToLive(3600, 0))
    assert lifetime == Lifetime(0, LifetimeSource.NEGATIVE_TTL)


@pytest.mark.parametrize(
    ("fields", "date"),
    [
        ({}, NOW),
        ({b"date": format_http_date(NOW - 5)}, NOW - 5),
        ({b"date": format_http_date(NOW + 5)}, NOW + 5),
        ({b"date": b"today"}, NOW),
        ({b"date": b""}, NOW),
    ],
)
def test_response_date(fields: dict[bytes, bytes], date: int) -> None:
    assert response_date(Section(fields), NOW) == date


@pytest.mark.parametrize(
    ("age_lines", "date", "requested_at", "age"),
    [
        ([], NOW, NOW, 0),
        ([], NOW - 30, NOW, 30),
        ([], NOW + 30, NOW, 0),
        ([], NOW, NOW - 2, 2),
        ([], NOW, NOW + 2, 0),
        ([b"10"], NOW, NOW, 10),
        ([b"10"], NOW, NOW - 2, 12),
        ([b"10"], NOW - 30, NOW - 2, 30),
        ([b"0"], NOW - 30, NOW, 30),
        ([b"10", b"20"], NOW, NOW, 10),
        ([b"10", b"x"], NOW, NOW, 10),
        ([b"x", b"10"], NOW, NOW, FOREVER),
        ([b"10, 20"], NOW, NOW, FOREVER),
        ([b"-1"], NOW, NOW, FOREVER),
        ([b"1.5"], NOW, NOW, FOREVER),
        ([b""], NOW, NOW, FOREVER),
        ([b"99999999999"], NOW, NOW - 5, FOREVER),
    ],
)
def test_initial_age(age_lines: list[bytes], date: int, requested_at: int, age: int) -> None:
    response = Section(None, *((b"age", line) for line in age_lines))
    assert initial_age(response, date, requested_at, NOW) == age


TIMES = st.integers(-(2**40), 2**40)


@given(TIMES, TIMES, TIMES, st.binary(max_size=20))
def test_ages_are_bounded(date: int, requested_at: int, received_at: int, age: bytes) -> None:
    response = Section({b"age": age})
    assert 0 <= initial_age(response, date, requested_at, received_at) <= FOREVER
