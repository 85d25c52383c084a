from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.directives import (
    NO_DIRECTIVES,
    Directives,
    parse_cache_control,
)
from caching_proxy.cache_manager.rfc9111.reuse import (
    Reuse,
    judge_miss,
    judge_reuse,
    may_serve_on_error,
)

LIFETIME = 60
WINDOW = 30


def judge(
    wanted: bytes,
    age: int,
    *,
    must_revalidate: bool = False,
    no_cache: bool = False,
    window: int = 0,
) -> Reuse:
    directives = parse_cache_control(wanted)
    return judge_reuse(directives, LIFETIME, age, must_revalidate, no_cache, window)


@pytest.mark.parametrize(
    ("wanted", "age", "verdict"),
    [
        (b"", 0, Reuse.FRESH),
        (b"", 59, Reuse.FRESH),
        (b"", 60, Reuse.STALE),
        (b"no-cache", 0, Reuse.REFUSED),
        (b"no-cache", 60, Reuse.STALE),
        (b"no-cache, max-stale", 60, Reuse.STALE),
        (b"no-store", 0, Reuse.PASS),
        (b"no-store", 60, Reuse.PASS),
        (b"max-age=10", 10, Reuse.FRESH),
        (b"max-age=10", 11, Reuse.REFUSED),
        (b"max-age=0", 0, Reuse.REFUSED),
        (b"max-age=0", 1, Reuse.REFUSED),
        (b"max-age=10", 60, Reuse.STALE),
        (b"max-age=90", 60, Reuse.STALE),
        (b"max-age=65, max-stale", 65, Reuse.STALE_ALLOWED),
        (b"max-age=65, max-stale", 66, Reuse.STALE),
        (b"min-fresh=10", 50, Reuse.FRESH),
        (b"min-fresh=10", 51, Reuse.REFUSED),
        (b"min-fresh=0", 60, Reuse.STALE),
        (b"min-fresh=0, max-stale", 60, Reuse.STALE_ALLOWED),
        (b"min-fresh=0, max-stale", 61, Reuse.STALE),
        (b"max-stale", 10**9, Reuse.STALE_ALLOWED),
        (b"max-stale=5", 65, Reuse.STALE_ALLOWED),
        (b"max-stale=5", 66, Reuse.STALE),
        (b"max-stale=x", 61, Reuse.STALE),
        (b"only-if-cached", 0, Reuse.FRESH),
        (b"only-if-cached", 60, Reuse.UNSATISFIABLE),
        (b"only-if-cached, max-stale", 60, Reuse.STALE_ALLOWED),
        (b"only-if-cached, no-cache", 0, Reuse.UNSATISFIABLE),
        (b"only-if-cached, max-age=5", 6, Reuse.UNSATISFIABLE),
        (b"only-if-cached, no-store", 0, Reuse.FRESH),
        (b"only-if-cached, no-store", 60, Reuse.UNSATISFIABLE),
        (b"immutable, stale-if-error=9, private", 59, Reuse.FRESH),
        (b"stale-while-revalidate=90, stale-if-error=90", 60, Reuse.STALE),
    ],
)
def test_a_stored_response(wanted: bytes, age: int, verdict: Reuse) -> None:
    assert judge(wanted, age) is verdict


@pytest.mark.parametrize("wanted", [b"max-stale", b"max-stale=100", b""])
def test_must_revalidate_forbids_stale_answers(wanted: bytes) -> None:
    assert judge(wanted, 59, must_revalidate=True, window=WINDOW) is Reuse.FRESH
    assert judge(wanted, 60, must_revalidate=True, window=WINDOW) is Reuse.STALE


@pytest.mark.parametrize(
    ("wanted", "verdict"),
    [
        (b"", Reuse.STALE),
        (b"max-stale", Reuse.STALE),
        (b"max-age=60", Reuse.STALE),
        (b"no-cache", Reuse.STALE),
        (b"no-store", Reuse.PASS),
        (b"only-if-cached", Reuse.UNSATISFIABLE),
    ],
)
@pytest.mark.parametrize("must_revalidate", [False, True])
@pytest.mark.parametrize("age", [0, 60, 61])
def test_no_cache_is_validated_each_time(
    wanted: bytes, verdict: Reuse, must_revalidate: bool, age: int
) -> None:
    found = judge(wanted, age, must_revalidate=must_revalidate, no_cache=True, window=WINDOW)
    assert found is verdict


@pytest.mark.parametrize(
    ("wanted", "age", "verdict"),
    [
        (b"", 59, Reuse.FRESH),
        (b"", 60, Reuse.STALE_WHILE_REVALIDATE),
        (b"", 89, Reuse.STALE_WHILE_REVALIDATE),
        (b"", 90, Reuse.STALE),
        (b"no-cache", 60, Reuse.STALE),
        (b"no-store", 60, Reuse.PASS),
        (b"max-age=100", 60, Reuse.STALE),
        (b"max-age=60", 61, Reuse.STALE),
        (b"min-fresh=0", 60, Reuse.STALE),
        (b"min-fresh=5", 60, Reuse.STALE),
        (b"max-stale", 89, Reuse.STALE_WHILE_REVALIDATE),
        (b"max-stale", 90, Reuse.STALE_ALLOWED),
        (b"max-stale=5", 65, Reuse.STALE_WHILE_REVALIDATE),
        (b"max-stale=5", 66, Reuse.STALE),
        (b"max-age=100, max-stale", 89, Reuse.STALE_WHILE_REVALIDATE),
        (b"only-if-cached", 89, Reuse.STALE_WHILE_REVALIDATE),
        (b"only-if-cached", 90, Reuse.UNSATISFIABLE),
    ],
)
def test_stale_while_revalidate(wanted: bytes, age: int, verdict: Reuse) -> None:
    assert judge(wanted, age, window=WINDOW) is verdict


def test_a_response_may_be_stale_from_the_start() -> None:
    assert judge_reuse(NO_DIRECTIVES, 0, 0, False, False, 0) is Reuse.STALE
    assert judge_reuse(NO_DIRECTIVES, 0, 0, False, False, 1) is Reuse.STALE_WHILE_REVALIDATE


@pytest.mark.parametrize(
    ("wanted", "verdict"),
    [
        (b"", Reuse.MISS),
        (b"no-cache, max-age=0, min-fresh=5", Reuse.MISS),
        (b"no-store", Reuse.PASS),
        (b"only-if-cached", Reuse.UNSATISFIABLE),
        (b"only-if-cached, no-store", Reuse.UNSATISFIABLE),
    ],
)
def test_nothing_stored(wanted: bytes, verdict: Reuse) -> None:
    assert judge_miss(parse_cache_control(wanted)) is verdict


@pytest.mark.parametrize(
    ("staleness", "granted", "default", "expected"),
    [
        (9, 10, 0, True),
        (10, 10, 3600, False),
        (0, 0, 3600, False),
        (-1, 0, 0, True),
        (9, -1, 10, True),
        (10, -1, 10, False),
        (0, -1, 0, False),
    ],
)
def test_on_error(staleness: int, granted: int, default: int, expected: bool) -> None:
    assert may_serve_on_error(staleness, False, granted, default) is expected
    assert not may_serve_on_error(staleness, True, granted, default)


SECONDS = st.integers(0, 2**31)
DIRECTIVES = st.builds(
    Directives,
    no_cache=st.booleans(),
    only_if_cached=st.booleans(),
    max_age=st.none() | SECONDS,
    max_stale=st.none() | SECONDS,
    min_fresh=st.none() | SECONDS,
)


@given(SECONDS, SECONDS, st.booleans(), st.booleans(), SECONDS)
def test_without_directives_freshness_decides(
    age: int, lifetime: int, must_revalidate: bool, no_cache: bool, window: int
) -> None:
    verdict = judge_reuse(NO_DIRECTIVES, lifetime, age, must_revalidate, no_cache, window)
    if age < lifetime and not no_cache:
        assert verdict is Reuse.FRESH
    elif age < lifetime + window and not must_revalidate and not no_cache:
        assert verdict is Reuse.STALE_WHILE_REVALIDATE
    else:
        assert verdict is Reuse.STALE


@given(DIRECTIVES, SECONDS, SECONDS, st.booleans(), SECONDS)
def test_nothing_forbidden_is_served(
    wanted: Directives, age: int, lifetime: int, must_revalidate: bool, window: int
) -> None:
    verdict = judge_reuse(wanted, lifetime, age, must_revalidate, False, window)
    served_stale = verdict in (Reuse.STALE_ALLOWED, Reuse.STALE_WHILE_REVALIDATE)
    if served_stale:
        assert age >= lifetime
        assert not must_revalidate
    if served_stale or verdict is Reuse.FRESH:
        assert not wanted.no_cache
        assert wanted.max_age is None or age <= wanted.max_age
    assert (verdict is Reuse.UNSATISFIABLE) <= wanted.only_if_cached
