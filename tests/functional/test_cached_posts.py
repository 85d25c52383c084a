"""POST and PUT where --cache-method names them: what they change, and what is sent with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from .support.clock import Clock
from .support.proxy import ProxyProcess
from .support.raw_client import NO_FIELDS
from .support.scripted_origin import Exchange, Script, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy
from .support.validated import preconditions

BOTH = ("--cache-method", "POST", "--cache-method", "PUT")


@pytest.fixture(scope="module")
def posting() -> Iterator[Stand]:
    """One origin and one proxy that may store answers to POST and PUT; targets are the test's."""
    origin = ScriptedOrigin()
    proxy = ProxyProcess(origin.url, *BOTH)
    yield Stand(origin, proxy)
    proxy.stop()
    origin.close()
    assert not origin.faults, "\n".join(origin.faults)


# --- what is no query changes what is stored ------------------------------------------------------


def check_changed(
    stand: Stand,
    target: str,
    method: str,
    done: bytes,
    fields: Mapping[str, str] = NO_FIELDS,
) -> None:
    """A GET after a request with these fields, which the origin answers so, is fetched anew."""
    stand.origin.on(target, fresh(b"before"), done, fresh(b"after"))
    assert stand.proxy.get(target).body == b"before"
    assert stand.proxy.get(target).cache == "HIT"
    response = stand.proxy.request(method, target, fields, b"change")
    assert (response.status, response.body) == (200, b"done")
    response = stand.proxy.get(target)
    assert (response.cache, response.body) == ("MISS", b"after")


LOGIN = {"Authorization": "Bearer x"}
WHO: dict[str, Mapping[str, str]] = {"login": LOGIN, "login-cookie": {**LOGIN, "Cookie": "id=1"}}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("case", WHO)
def test_a_change_by_one_who_is_logged_in_invalidates(
    posting: Stand, case: str, method: str
) -> None:
    """RFC 9111 4.4: what the request says tells nothing about whether it was a query."""
    done = answer("200 OK", {}, b"done")
    check_changed(posting, f"/login/{case}/{method}", method, done, WHO[case])


# Answers that can be stored, and must not be used again unasked: nobody would say so of a query's.
NOT_REUSABLE = {
    "no-cache": {"Cache-Control": "no-cache, max-age=0"},
    "no-cache-for-long": {"Cache-Control": "no-cache, max-age=600"},
    "max-age": {"Cache-Control": "max-age=0"},
    "expires": {"Expires": "0"},
    "expired": {"Expires": "Thu, 01 Jan 1970 00:00:00 GMT"},
    "aged": {"Cache-Control": "max-age=60", "Age": "60"},
}


@pytest.mark.parametrize("fields", [{}, LOGIN], ids=["all", "login"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("case", NOT_REUSABLE)
def test_a_change_whose_answer_may_not_be_used_again_invalidates(
    posting: Stand, case: str, method: str, fields: dict[str, str]
) -> None:
    target = f"/not-reusable/{case}/{method}/{len(fields)}"
    done = answer("200 OK", {**NOT_REUSABLE[case], "ETag": '"x"'}, b"done")
    check_changed(posting, target, method, done, fields)


# --- conditions of ours ---------------------------------------------------------------------------


def careful(method: str) -> Script:
    """RFC 9110 13.1.2: If-None-Match that holds not, with other methods than GET, is 412."""

    def reply(exchange: Exchange) -> None:
        exchange.read_body()
        fields = {"Cache-Control": "max-age=60", "ETag": '"1"', "X-Method": method}
        if preconditions(exchange.request):
            exchange.send(answer("412 Precondition Failed", fields, b"no"))
        else:
            exchange.send(answer("200 OK", fields, b"result"))

    return reply


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_no_condition_of_ours_goes_out_with_an_unsafe_method(
    start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock, method: str
) -> None:
    """A stale answer is not validated but asked for again, once."""
    proxy = start_proxy(*BOTH, clock=clock)
    origin.on("/query", careful(method))
    assert proxy.request(method, "/query", {}, b"query").status == 200
    assert proxy.request(method, "/query", {}, b"query").cache == "HIT"
    clock.advance(60)
    response = proxy.request(method, "/query", {}, b"query")
    assert (response.status, response.cache, response.body) == (200, "MISS", b"result")
    assert proxy.request(method, "/query", {}, b"query").cache == "HIT"
    assert [preconditions(request) for request in origin.seen("/query")] == [{}, {}]
    assert {request.body for request in origin.seen("/query")} == {b"query"}


def test_no_tag_of_another_variant_goes_out_with_a_post(posting: Stand) -> None:
    def by_flavour(exchange: Exchange) -> None:
        exchange.read_body()
        flavour = exchange.request.fields["x-flavour"]
        fields = {"Cache-Control": "max-age=60", "ETag": f'"{flavour}"', "Vary": "X-Flavour"}
        exchange.send(answer("200 OK", fields, flavour.encode()))

    posting.origin.on("/flavours", by_flavour)
    for flavour in ("salt", "sweet", "sour"):
        response = posting.proxy.request("POST", "/flavours", {"X-Flavour": flavour}, b"query")
        assert (response.cache, response.body) == ("MISS", flavour.encode())
    seen = posting.origin.seen("/flavours")
    assert [preconditions(request) for request in seen] == [{}, {}, {}]
