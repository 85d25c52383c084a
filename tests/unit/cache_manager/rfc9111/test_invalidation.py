from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.rfc9111.invalidation import SAFE_METHODS, invalidated_targets
from tests.unit.sections import Section

ORIGINS = [(b"https", b"api.example"), (b"http", b"shop.example:3000")]
TARGET = b"/a/b?c=d"


def after(method: bytes, status: int, fields: dict[bytes, bytes] | None = None) -> list[bytes]:
    return invalidated_targets(method, status, TARGET, Section(fields), ORIGINS)


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"MKCOL", b"FOO", b"get"])
@pytest.mark.parametrize("status", [200, 201, 204, 299, 301, 303, 399])
def test_an_unsafe_method_invalidates_its_target(method: bytes, status: int) -> None:
    assert after(method, status) == [TARGET]


@pytest.mark.parametrize("status", [101, 199, 400, 404, 500, 503])
def test_an_error_invalidates_nothing(status: int) -> None:
    assert after(b"POST", status, {b"location": b"/x"}) == []


@pytest.mark.parametrize("method", sorted(SAFE_METHODS))
def test_a_safe_method_invalidates_nothing(method: bytes) -> None:
    assert after(method, 200, {b"content-location": b"/x"}) == []


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        (b"/x?y=z", b"/x?y=z"),
        (b"/x#fragment", b"/x"),
        (b"/x/../y/./z", b"/y/z"),
        (b"x", b"/a/x"),
        (b"../x", b"/x"),
        (b"?y", b"/a/b?y"),
        (b"x:y", None),
        (b"./x:y", b"/a/x:y"),
        (b"https://api.example/x", b"/x"),
        (b"HTTPS://API.example:443/x", b"/x"),
        (b"https://api.example", b"/"),
        (b"http://shop.example:3000/x", b"/x"),
        (b"//api.example/x", b"/x"),
        (b"//shop.example:3000/x", b"/x"),
        (b"//shop.example/x", None),
        (b"http://api.example/x", None),
        (b"https://api.example:8443/x", None),
        (b"https://other.example/x", None),
        (b"https://user@api.example/x", None),
        (b"//other.example/x", None),
        (b"mailto:a@b", None),
        (b"https:x", None),
        (b"", None),
        (b"#fragment", None),
    ],
)
@pytest.mark.parametrize("name", [b"location", b"content-location"])
def test_what_the_response_names(name: bytes, reference: bytes, named: bytes | None) -> None:
    assert after(b"POST", 201, {name: reference}) == [TARGET, *([named] if named else [])]


def test_both_fields_count_once() -> None:
    fields = {b"location": b"/x", b"content-location": b"/y"}
    assert after(b"PUT", 200, fields) == [TARGET, b"/x", b"/y"]
    fields = {b"location": b"/x", b"content-location": TARGET}
    assert after(b"PUT", 200, fields) == [TARGET, b"/x"]


def test_of_several_lines_the_first_counts() -> None:
    response = Section({b"location": b"/x"}, (b"location", b"/y"))
    assert invalidated_targets(b"PUT", 201, TARGET, response, ORIGINS) == [TARGET, b"/x"]


@given(st.binary(max_size=40))
def test_any_octets_are_borne(reference: bytes) -> None:
    targets = after(b"POST", 200, {b"location": reference})
    assert targets[0] == TARGET
    assert all(target.startswith(b"/") for target in targets)
