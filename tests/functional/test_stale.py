"""Stale answers: while a validation is under way, and when the origin fails (RFC 5861)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from .support.cache_status import ours
from .support.clock import Clock
from .support.messages import IncompleteError, Response
from .support.proxy import ProxyProcess
from .support.scripted_origin import Exchange, Script, ScriptedOrigin, answer
from .support.stand import StartProxy, TimedStand
from .support.validated import STRONG, go_stale, preconditions, unchanged
from .support.waiting import DEADLINE, wait_until

HOUR = 3600


def promising(promise: str, body: bytes = b"first", status: str = "200 OK") -> bytes:
    """A response that is fresh for a minute, with a further directive."""
    directives = f"max-age=60, {promise}".removesuffix(", ")
    return answer(status, {"Cache-Control": directives, **STRONG}, body)


def check_first(response: Response, age: int) -> None:
    """The stored response, of that age."""
    assert (response.status, response.cache, response.body) == (200, "HIT", b"first")
    assert response.fields.all("age") == [str(age)]


# --- stale-while-revalidate -----------------------------------------------------------------------

SWR = "stale-while-revalidate=30"


def check_meanwhile(response: Response, staleness: int) -> None:
    """The stale response, without waiting for the origin."""
    check_first(response, 60 + staleness)
    status = ours(response)
    assert status["hit"] == "?1" and "fwd" not in status
    assert status["ttl"] == str(-staleness)
    assert status["detail"] == "stale-while-revalidate"


class Gate:
    """An answer that waits for the test."""

    def __init__(self, given: bytes | Script) -> None:
        self.opened = threading.Event()
        self._given = given

    def __call__(self, exchange: Exchange) -> None:
        exchange.wait(self.opened, "the test to let the answer go")
        if isinstance(self._given, bytes):
            exchange.send(self._given)
        else:
            self._given(exchange)


def test_a_stale_answer_comes_at_once_while_the_origin_is_asked(timed: TimedStand) -> None:
    gate = Gate(unchanged(STRONG))
    go_stale(timed, "/meanwhile", promising(SWR), gate)
    timed.clock.advance(5)
    check_meanwhile(timed.proxy.get("/meanwhile"), 5)
    wait_until(lambda: len(timed.origin.seen("/meanwhile")) == 2, "the validation")
    assert preconditions(timed.origin.seen("/meanwhile")[1]) == {"if-none-match": '"v1"'}
    check_meanwhile(timed.proxy.get("/meanwhile"), 5)
    gate.opened.set()
    wait_until(lambda: "detail" not in ours(timed.proxy.get("/meanwhile")), "the validated one")
    check_first(timed.proxy.get("/meanwhile"), 0)
    assert len(timed.origin.seen("/meanwhile")) == 2


def test_many_stale_answers_make_one_request(timed: TimedStand) -> None:
    gate = Gate(unchanged(STRONG))
    go_stale(timed, "/crowd", promising(SWR), gate)
    timed.clock.advance(1)
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(timed.proxy.get, "/crowd") for _ in range(20)]
        for future in waiting:
            check_meanwhile(future.result(DEADLINE), 1)
    timed.proxy.barrier()
    gate.opened.set()
    wait_until(lambda: "detail" not in ours(timed.proxy.get("/crowd")), "the validated one")
    assert len(timed.origin.seen("/crowd")) == 2


def test_both_lanes_answer_stale_alike(timed: TimedStand) -> None:
    gate = Gate(unchanged(STRONG))
    go_stale(timed, "/lanes", promising(SWR), gate)
    timed.clock.advance(1)
    plain, other = timed.proxy.get("/lanes"), timed.proxy.get("/lanes", {"Connection": "x"})
    for response in (plain, other):
        check_meanwhile(response, 1)
    assert sorted(plain.fields.lines) == sorted(other.fields.lines)
    gate.opened.set()


def test_what_the_background_request_brings_replaces_the_stale_answer(timed: TimedStand) -> None:
    go_stale(timed, "/new", promising(SWR), promising(SWR, b"second"))
    timed.clock.advance(1)
    check_meanwhile(timed.proxy.get("/new"), 1)
    wait_until(lambda: timed.proxy.get("/new").body == b"second", "the new response")
    response = timed.proxy.get("/new")
    assert (response.cache, response.fields["age"]) == ("HIT", "0")
    assert len(timed.origin.seen("/new")) == 2


def test_without_a_validator_the_whole_is_fetched_in_the_background(timed: TimedStand) -> None:
    fields = {"Cache-Control": f"max-age=60, {SWR}"}
    go_stale(timed, "/whole", answer("200 OK", fields, b"first"), promising(SWR, b"second"))
    timed.clock.advance(1)
    check_meanwhile(timed.proxy.get("/whole"), 1)
    wait_until(lambda: timed.proxy.get("/whole").body == b"second", "the new response")
    assert preconditions(timed.origin.seen("/whole")[1]) == {}


@pytest.mark.parametrize("staleness, stale", [(0, True), (29, True), (31, False), (HOUR, False)])
def test_the_window_ends(timed: TimedStand, staleness: int, stale: bool) -> None:
    target = f"/window/{staleness}"
    go_stale(timed, target, promising(SWR), promising(SWR, b"second"))
    timed.clock.advance(staleness)
    response = timed.proxy.get(target)
    if stale:
        check_meanwhile(response, staleness)
    else:
        assert (response.cache, response.body) == ("MISS", b"second")


def test_without_the_directive_the_origin_is_waited_for(timed: TimedStand) -> None:
    go_stale(timed, "/not-granted", promising(""), promising("", b"second"))
    assert timed.proxy.get("/not-granted").body == b"second"


def _reset(exchange: Exchange) -> None:
    exchange.reset()


FAILURES: dict[str, bytes | Script] = {
    "500": answer("500 Internal Server Error", {}, b"broken"),
    "503": answer("503 Service Unavailable", {}, b"busy"),
    "reset": _reset,
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_background_request_that_fails_leaves_the_stale_answer(
    timed: TimedStand, case: str
) -> None:
    """Others follow, if not at once: an origin that fails may be left in peace for a while."""
    target = f"/background/{case}"
    confirmed = unchanged(STRONG, 10**6)
    go_stale(timed, target, promising(f"stale-while-revalidate={10**6}"), FAILURES[case], confirmed)

    def validated() -> bool:
        timed.clock.advance(100)
        response = timed.proxy.get(target)
        assert (response.cache, response.body) == ("HIT", b"first")
        return "detail" not in ours(response)

    assert not validated()
    wait_until(validated, "another attempt that succeeds")
    assert len(timed.origin.seen(target)) >= 3


@pytest.mark.parametrize("fields", [{"Cache-Control": "no-cache"}, {"Cache-Control": "max-age=30"}])
def test_a_client_that_wants_no_stale_answer_gets_none(
    timed: TimedStand, fields: dict[str, str]
) -> None:
    """RFC 9111 5.2.1.1, 5.2.1.4."""
    target = f"/unwilling/{fields['Cache-Control']}"
    go_stale(timed, target, promising(SWR), promising(SWR, b"second"))
    timed.clock.advance(1)
    assert timed.proxy.get(target, fields).body == b"second"


def test_stale_while_revalidate_makes_a_response_without_validator_worth_storing(
    timed: TimedStand,
) -> None:
    fields = {"Cache-Control": f"max-age=0, {SWR}"}
    timed.origin.on("/max-age-0", *(answer("200 OK", fields, b"%d" % n) for n in range(3)))
    assert timed.proxy.get("/max-age-0").body == b"0"
    timed.clock.advance(1)
    response = timed.proxy.get("/max-age-0")
    assert (response.cache, response.body) == ("HIT", b"0")
    assert ours(response)["detail"] == "stale-while-revalidate"


# --- stale-if-error -------------------------------------------------------------------------------

ERRORS = ("500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable")
ERROR_STATUSES = (*ERRORS, "504 Gateway Timeout")
NO_ERRORS = (
    "404 Not Found",
    "410 Gone",
    "403 Forbidden",
    "429 Too Many Requests",
    "501 Not Implemented",
    "505 HTTP Version Not Supported",
    "599 Whatever",
)
SIE = "stale-if-error=300"


@pytest.mark.parametrize("status", ERROR_STATUSES)
def test_a_stale_answer_stands_in_for_a_server_error(timed: TimedStand, status: str) -> None:
    target = f"/server-error/{status[:3]}"
    go_stale(timed, target, promising(SIE), answer(status, {}, b"error"), unchanged(STRONG))
    response = timed.proxy.get(target)
    check_first(response, 60)
    found = ours(response)
    assert (found["fwd"], found["fwd-status"]) == ("stale", status[:3])
    assert "hit" not in found
    check_first(timed.proxy.get(target), 0)


@pytest.mark.parametrize("status", NO_ERRORS)
def test_no_other_status_is_an_error(timed: TimedStand, status: str) -> None:
    """RFC 5861 4."""
    target = f"/no-error/{status[:3]}"
    go_stale(timed, target, promising(SIE), answer(status, {}, b"said"))
    response = timed.proxy.get(target)
    assert (response.status, response.cache, response.body) == (int(status[:3]), "MISS", b"said")


def _close(exchange: Exchange) -> None:
    exchange.close()


def _reset_in_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-")
    exchange.reset()


def _close_in_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")
    exchange.close()


def _garbage(exchange: Exchange) -> None:
    exchange.send(b"\x00\x01\x02 no HTTP at all\r\n\r\n")
    exchange.close()


BROKEN: dict[str, Script] = {
    "reset": _reset,
    "reset-in-head": _reset_in_head,
    "closed": _close,
    "closed-in-head": _close_in_head,
    "garbage": _garbage,
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_stale_answer_stands_in_for_an_origin_that_breaks_off(
    timed: TimedStand, case: str
) -> None:
    target = f"/broken/{case}"
    go_stale(timed, target, promising(SIE), BROKEN[case])
    response = timed.proxy.get(target)
    check_first(response, 60)
    found = ours(response)
    assert found["fwd"] == "stale" and found["detail"]
    assert "hit" not in found and "fwd-status" not in found


def test_a_stale_answer_stands_in_for_an_origin_that_refuses(
    start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock
) -> None:
    proxy = start_proxy(clock=clock)
    origin.on("/", promising(SIE))
    proxy.get("/")
    origin.close()
    clock.advance(60)
    for _ in range(2):
        response = proxy.get("/")
        check_first(response, 60)
        assert ours(response)["fwd"] == "stale" and ours(response)["detail"]
    assert proxy.get("/other").status == 502


def test_a_stale_answer_stands_in_for_an_origin_that_is_silent(
    start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock
) -> None:
    proxy = start_proxy("--origin-head-timeout", "0.5", clock=clock)
    origin.on("/", promising(SIE), Exchange.wait_for_close)
    proxy.get("/")
    clock.advance(60)
    response = proxy.get("/")
    check_first(response, 60)
    assert ours(response)["fwd"] == "stale" and ours(response)["detail"]


def test_a_response_that_has_begun_is_not_masked(timed: TimedStand) -> None:
    begun = threading.Event()

    def cut(exchange: Exchange) -> None:
        head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\n"
        exchange.send(head + b"only this")
        exchange.wait(begun, "the client to get the head")
        exchange.reset()

    go_stale(timed, "/cut", promising(SIE), cut)
    with timed.proxy.client() as client:
        client.send(client.head("GET", "/cut"))
        head = client.response_head()
        assert (head.status, head.cache, head.fields["content-length"]) == (200, "MISS", "100")
        begun.set()
        with pytest.raises(IncompleteError) as caught:
            client.finish(head)
        assert b"only this".startswith(caught.value.body)


@pytest.fixture
def failing(origin: ScriptedOrigin) -> Iterator[ScriptedOrigin]:
    """An origin that gives what is promised once for each path, and then fails."""

    def script(exchange: Exchange) -> None:
        target = exchange.request.target
        if len(origin.seen(target)) == 1:
            exchange.send(promising(target.partition("?")[2]))
        else:
            exchange.send(answer(ERRORS[0], {}, b"error"))

    origin.on("/", script)
    yield origin


def check_window(proxy: ProxyProcess, clock: Clock, promise: str, seconds: int) -> None:
    """A stale answer stands in until it is stale for longer than `seconds`, and no longer."""
    target = f"/?{promise}"
    assert proxy.get(target).cache == "MISS"
    clock.advance(60)
    if seconds:
        clock.advance(seconds - 1)
        check_first(proxy.get(target), 59 + seconds)
        clock.advance(1)
    clock.advance(1)
    response = proxy.get(target)
    assert (response.status, response.cache, response.body) == (500, "MISS", b"error")


WINDOWS = [
    ([], "", HOUR),
    ([], "stale-if-error=300", 300),
    ([], "stale-if-error=7200", 7200),
    ([], "stale-if-error=0", 0),
    (["--stale-if-error", "600"], "", 600),
    (["--stale-if-error", "600"], "stale-if-error=300", 300),
    (["--stale-if-error", "0"], "", 0),
    (["--stale-if-error", "0"], "stale-if-error=300", 300),
]


@pytest.mark.parametrize("options, promise, seconds", WINDOWS)
def test_the_origins_window_goes_before_the_setting(
    start_proxy: StartProxy,
    failing: ScriptedOrigin,
    clock: Clock,
    options: list[str],
    promise: str,
    seconds: int,
) -> None:
    proxy = start_proxy(*options, clock=clock, origin=failing.url)
    check_window(proxy, clock, promise, seconds)


@pytest.mark.parametrize("swr", ["", SWR], ids=["alone", "and-while-revalidate"])
@pytest.mark.parametrize(
    "directive", ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"]
)
def test_what_forbids_stale_answers(timed: TimedStand, directive: str, swr: str) -> None:
    """RFC 9111 4.2.4, 5.2.2.2, 5.2.2.4, 5.2.2.8, 5.2.2.10: whatever else is promised."""
    target = f"/forbidden/{directive}/{bool(swr)}"
    error = answer(ERRORS[2], {}, b"error")
    stored = promising(", ".join(filter(None, [directive, SIE, swr])))
    go_stale(timed, target, stored, error, _reset)
    timed.clock.advance(1)
    response = timed.proxy.get(target)
    assert (response.status, response.cache, response.body) == (503, "MISS", b"error")
    response = timed.proxy.get(target)
    assert response.status in (502, 504)
    assert response.cache == "MISS"


def test_a_stale_answer_to_head_and_to_a_condition(timed: TimedStand) -> None:
    error = answer(ERRORS[2], {}, b"error")
    go_stale(timed, "/forms", promising(SIE), error)
    head = timed.proxy.request("HEAD", "/forms")
    assert (head.status, head.cache, head.fields["content-length"]) == (200, "HIT", "5")
    known = timed.proxy.get("/forms", {"If-None-Match": '"v1"'})
    assert (known.status, known.cache) == (304, "HIT")


def test_a_reload_gets_the_error(timed: TimedStand) -> None:
    """RFC 9111 5.2.1.4: no stored response without successful validation."""
    go_stale(timed, "/reload", promising(SIE), answer(ERRORS[2], {}, b"error"))
    response = timed.proxy.get("/reload", {"Cache-Control": "no-cache"})
    assert (response.status, response.body) == (503, b"error")


def test_only_the_selected_variant_stands_in(timed: TimedStand) -> None:
    fields = {"Cache-Control": f"max-age=60, {SIE}", "Vary": "X-Flavour"}
    go_stale(timed, "/variant", answer("200 OK", fields, b"plain"), answer(ERRORS[2], {}, b"error"))
    response = timed.proxy.get("/variant", {"X-Flavour": "salt"})
    assert (response.status, response.body) == (503, b"error")


def test_an_error_that_may_be_stored_does_not_replace_what_stands_in(timed: TimedStand) -> None:
    """An error page with a lifetime of its own must not end the stale answer."""
    error = answer(ERRORS[2], {"Cache-Control": "max-age=10"}, b"error")
    go_stale(timed, "/error-page", promising(SIE), error)
    for _ in range(2):
        check_first(timed.proxy.get("/error-page"), 60)
