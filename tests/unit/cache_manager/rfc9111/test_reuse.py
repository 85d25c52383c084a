from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.directives import NO_DIRECTIVES, parse_cache_control
from caching_proxy.cache_manager.rfc9111.reuse import Reuse, judge_miss, judge_reuse

LIFETIME = 60


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
        (b"max-age=0", 1, Reuse.REFUSED),
        (b"max-age=10", 60, Reuse.STALE),
        (b"max-age=90", 60, Reuse.STALE),
        (b"max-age=65, max-stale", 65, Reuse.STALE_ALLOWED),
        (b"max-age=65, max-stale", 66, Reuse.STALE),
        (b"min-fresh=10", 50, Reuse.FRESH),
        (b"min-fresh=10", 51, Reuse.REFUSED),
        (b"min-fresh=0, max-stale", 61, Reuse.STALE),
        (b"max-stale", 10**9, Reuse.STALE_ALLOWED),
        (b"max-stale=5", 65, Reuse.STALE_ALLOWED),
        (b"max-stale=5", 66, Reuse.STALE),
        (b"max-stale=x", 61, Reuse.STALE),
        (b"only-if-cached", 0, Reuse.FRESH),
        (b"only-if-cached", 60, Reuse.UNSATISFIABLE),
        (b"only-if-cached, max-stale", 60, Reuse.STALE_ALLOWED),
        (b"only-if-cached, no-cache", 0, Reuse.UNSATISFIABLE),
        (b"only-if-cached, no-store", 0, Reuse.FRESH),
        (b"only-if-cached, no-store", 60, Reuse.UNSATISFIABLE),
    ],
)
def test_a_stored_response(wanted: bytes, age: int, verdict: Reuse) -> None:
    assert judge_reuse(parse_cache_control(wanted), LIFETIME, age, False) is verdict


@pytest.mark.parametrize("wanted", [b"max-stale", b"max-stale=100", b""])
def test_must_revalidate_forbids_stale_answers(wanted: bytes) -> None:
    directives = parse_cache_control(wanted)
    assert judge_reuse(directives, LIFETIME, 59, True) is Reuse.FRESH
    assert judge_reuse(directives, LIFETIME, 60, True) is Reuse.STALE


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


@given(st.integers(0, 2**32), st.integers(0, 2**31), st.booleans())
def test_without_directives_freshness_decides(age: int, lifetime: int, must: bool) -> None:
    verdict = judge_reuse(NO_DIRECTIVES, lifetime, age, must)
    assert verdict is (Reuse.FRESH if age < lifetime else Reuse.STALE)
