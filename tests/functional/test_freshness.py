"""How long a stored response is fresh, and how old it is (RFC 9111 4.2, 5.1, 5.3)."""

from __future__ import annotations

import pytest

from .support.cache_status import ours
from .support.clock import Clock
from .support.scripted_origin import Exchange, ScriptedOrigin, answer
from .support.stand import StartProxy, TimedStand

DAY = 86_400
YEAR = 365 * DAY
PAST = "Wed, 01 Jan 2020 00:00:00 GMT"
FUTURE = "Thu, 01 Jan 2099 00:00:00 GMT"


def store(timed: TimedStand, target: str, *lines: tuple[str, str], status: str = "200 OK") -> None:
    """Let the proxy fetch a response with these field lines."""
    text = "".join(f"{name}: {value}\r\n" for name, value in lines).encode()
    message = answer(status, {}, b"" if status[:3] == "204" else b"body")
    timed.origin.on(target, message.replace(b"\r\n\r\n", b"\r\n" + text + b"\r\n", 1))
    assert timed.proxy.get(target).cache == "MISS"


def check_lifetime(timed: TimedStand, target: str, seconds: int) -> None:
    """It is fresh for so many seconds from now, to the second."""
    if seconds:
        timed.clock.advance(seconds - 1)
        response = timed.proxy.get(target)
        assert (response.cache, ours(response)["ttl"]) == ("HIT", "1")
        timed.clock.advance(1)
    assert timed.proxy.get(target).cache == "MISS"


# --- explicit lifetimes ---------------------------------------------------------------------------

MAX_AGE = {
    "max-age=60": 60,
    "max-age=060": 60,
    'max-age="60"': 60,
    "MAX-AGE=60": 60,
    "max-age=60, s-maxage=90": 90,
    "s-maxage=30, max-age=60": 30,
    "max-age=60, s-maxage=0": 0,
    "max-age=60, max-age=90": 60,
    "max-age=0, max-age=90": 0,
    "s-maxage=30, s-maxage=90": 30,
    "max-age=0": 0,
    "max-age=-1": 0,
    "max-age=+60": 0,
    "max-age=60.5": 0,
    "max-age=60s": 0,
    "max-age=0x60": 0,
    "max-age=abc": 0,
    "max-age='60'": 0,
    "max-age=": 0,
    "max-age": 0,
    'max-age=""': 0,
    "max-age =60": 0,
    "max-age=60, s-maxage=abc": 0,
    "public, max-age=60, foo": 60,
}


@pytest.mark.parametrize("value", MAX_AGE)
def test_max_age(timed: TimedStand, value: str) -> None:
    """RFC 9111 4.2.1: what cannot be read counts as stale; s-maxage goes first; Expires last."""
    target = f"/max-age/{value.encode().hex()}"
    store(timed, target, ("Cache-Control", value), ("Expires", FUTURE))
    check_lifetime(timed, target, MAX_AGE[value])


def test_max_age_in_two_lines(timed: TimedStand) -> None:
    store(timed, "/two", ("Cache-Control", "max-age=60"), ("Cache-Control", "max-age=90"))
    check_lifetime(timed, "/two", 60)


@pytest.mark.parametrize("expires", [PAST, "0", "nonsense"])
def test_expires_counts_only_without_max_age(timed: TimedStand, expires: str) -> None:
    """RFC 9111 5.3."""
    target = f"/void-expires/{len(expires)}"
    store(timed, target, ("Cache-Control", "max-age=60"), ("Expires", expires))
    check_lifetime(timed, target, 60)


HUGE = [
    *("2147483647", "2147483648", "4294967296", "4294967356", "9223372036854775808"),
    *("18446744073709551676", "9" * 500),
]


@pytest.mark.parametrize("value", HUGE, ids=len)
def test_huge_numbers_saturate(timed: TimedStand, value: str) -> None:
    """RFC 9111 1.3."""
    target = f"/huge/{HUGE.index(value)}"
    store(timed, target, ("Cache-Control", f"max-age={value}"))
    timed.clock.advance(YEAR)
    response = timed.proxy.get(target)
    assert (response.cache, response.fields["age"]) == ("HIT", str(YEAR))
    assert YEAR < int(ours(response)["ttl"]) <= 2**31


def test_expires_is_counted_from_date(timed: TimedStand) -> None:
    """RFC 9111 4.2.1: both come from the origin, whose clock may be wrong."""
    ahead = 10 * DAY
    date, expires = timed.clock.date(ahead), timed.clock.date(ahead + 60)
    store(timed, "/skewed", ("Date", date), ("Expires", expires))
    check_lifetime(timed, "/skewed", 60)


def test_expires_without_date_is_counted_from_the_receipt(timed: TimedStand) -> None:
    store(timed, "/undated", ("Expires", timed.clock.date(60)))
    check_lifetime(timed, "/undated", 60)


EXPIRES_FORMS = {
    "imf": FUTURE,
    "rfc850": "Sunday, 01-Jan-40 00:00:00 GMT",
    "asctime": "Tue Jan  1 00:00:00 2097",
    "lower-case": FUTURE.lower(),
}
EXPIRED_FORMS = {
    "past": PAST,
    "zero": "0",
    "minus-one": "-1",
    "empty": "",
    "nonsense": "never",
    "number": "4070908800",
    "other-zone": "Thu, 01 Jan 2099 00:00:00 EST",
    "offset": "Thu, 01 Jan 2099 00:00:00 +0000",
    "no-zone": "Thu, 01 Jan 2099 00:00:00",
    "no-such-day": "Thu, 32 Jan 2099 00:00:00 GMT",
    "iso": "2099-01-01T00:00:00Z",
    "list": f"{FUTURE}, {FUTURE}",
}


@pytest.mark.parametrize("case", EXPIRES_FORMS)
def test_every_form_of_a_date_is_read(timed: TimedStand, case: str) -> None:
    """RFC 9110 5.6.7, RFC 9111 4.2."""
    store(timed, f"/expires/{case}", ("Expires", EXPIRES_FORMS[case]))
    timed.clock.advance(DAY)
    assert timed.proxy.get(f"/expires/{case}").cache == "HIT"


@pytest.mark.parametrize("case", EXPIRED_FORMS)
def test_what_is_no_date_has_expired(timed: TimedStand, case: str) -> None:
    """RFC 9111 5.3."""
    store(timed, f"/expired/{case}", ("Expires", EXPIRED_FORMS[case]))
    assert timed.proxy.get(f"/expired/{case}").cache == "MISS"


def test_several_expires_lines_have_expired(timed: TimedStand) -> None:
    """RFC 9111 4.2.1."""
    store(timed, "/several-expires", ("Expires", PAST), ("Expires", FUTURE))
    assert timed.proxy.get("/several-expires").cache == "MISS"


def test_expires_at_the_date_itself_has_expired(timed: TimedStand) -> None:
    now = timed.clock.date()
    store(timed, "/now", ("Date", now), ("Expires", now))
    assert timed.proxy.get("/now").cache == "MISS"


# --- age ------------------------------------------------------------------------------------------

AGES: dict[str, tuple[list[str], int]] = {
    "absent": ([], 0),
    "zero": (["0"], 0),
    "some": (["40"], 40),
    "leading-zero": (["040"], 40),
    "two-lines": (["40", "50"], 40),
    "two-lines-older-first": (["50", "40"], 50),
    "second-line-invalid": (["40", "abc"], 40),
}
STALE_AGES: dict[str, list[str]] = {
    "equal": ["60"],
    "greater": ["61"],
    "huge": ["99999999999999999999"],
    "saturated": ["2147483648"],
    "list": ["40, 50"],
    "negative": ["-1"],
    "fraction": ["1.5"],
    "word": ["abc"],
    "empty": [""],
    "first-line-invalid": ["abc", "40"],
}


@pytest.mark.parametrize("case", AGES)
def test_the_age_that_the_origin_tells_counts(timed: TimedStand, case: str) -> None:
    """RFC 9111 4.2.3, 5.1: of several lines the first."""
    target, (lines, age) = f"/age/{case}", AGES[case]
    store(timed, target, ("Cache-Control", "max-age=60"), *(("Age", line) for line in lines))
    assert timed.proxy.get(target).fields.all("age") == [str(age)]
    timed.clock.advance(5)
    assert timed.proxy.get(target).fields.all("age") == [str(age + 5)]
    check_lifetime(timed, target, 55 - age)


@pytest.mark.parametrize("case", STALE_AGES)
def test_an_age_that_is_too_great_or_none_makes_stale(timed: TimedStand, case: str) -> None:
    target = f"/stale-age/{case}"
    lines = (("Age", line) for line in STALE_AGES[case])
    store(timed, target, ("Cache-Control", "max-age=60"), *lines)
    assert timed.proxy.get(target).cache == "MISS"


@pytest.mark.parametrize(
    "behind, told, age", [(40, "0", 40), (40, "50", 50), (-1000, "0", 0), (-1000, "50", 50)]
)
def test_date_and_age_both_count_and_a_clock_ahead_is_no_age(
    timed: TimedStand, behind: int, told: str, age: int
) -> None:
    """RFC 9111 4.2.3: apparent_age and corrected_age_value, the greater one."""
    target = f"/both/{behind}/{told}"
    date = timed.clock.date(-behind)
    store(timed, target, ("Cache-Control", "max-age=60"), ("Date", date), ("Age", told))
    response = timed.proxy.get(target)
    assert (response.cache, response.fields["age"]) == ("HIT", str(age))
    assert response.fields.all("date") == [date]


def test_the_time_that_the_origin_took_counts(timed: TimedStand) -> None:
    """RFC 9111 4.2.3: Age is relative to the time of the request."""

    def slow(exchange: Exchange) -> None:
        timed.clock.advance(20)
        exchange.send(answer("200 OK", {"Cache-Control": "max-age=60", "Age": "10"}))

    timed.origin.on("/slow", slow)
    timed.proxy.get("/slow")
    response = timed.proxy.get("/slow")
    assert (response.cache, response.fields["age"]) == ("HIT", "30")
    check_lifetime(timed, "/slow", 30)


def test_a_date_that_is_none_is_the_time_of_receipt(timed: TimedStand) -> None:
    store(timed, "/bad-date", ("Cache-Control", "max-age=60"), ("Date", "yesterday"))
    check_lifetime(timed, "/bad-date", 60)


# --- lifetimes that the origin does not tell ------------------------------------------------------

POSITIVE = [
    *("200 OK", "203 Non-Authoritative Information", "204 No Content", "300 Multiple Choices"),
    *("301 Moved Permanently", "308 Permanent Redirect"),
]
NEGATIVE = [
    *("404 Not Found", "405 Method Not Allowed", "410 Gone", "414 URI Too Long"),
    "501 Not Implemented",
]
NOT_HEURISTIC = [
    *("201 Created", "202 Accepted", "302 Found", "303 See Other", "307 Temporary Redirect"),
    *("400 Bad Request", "403 Forbidden", "500 Internal Server Error", "503 Service Unavailable"),
    *("299 Unheard Of", "599 Unheard Of"),
]


@pytest.mark.parametrize("status", POSITIVE)
def test_cache_ttl(timed: TimedStand, status: str) -> None:
    store(timed, f"/ttl/{status[:3]}", status=status)
    check_lifetime(timed, f"/ttl/{status[:3]}", 3600)


@pytest.mark.parametrize("status", NEGATIVE)
def test_negative_ttl(timed: TimedStand, status: str) -> None:
    store(timed, f"/ttl/{status[:3]}", status=status)
    check_lifetime(timed, f"/ttl/{status[:3]}", 10)


@pytest.mark.parametrize("status", NOT_HEURISTIC)
def test_no_lifetime_is_made_up_for_other_statuses(timed: TimedStand, status: str) -> None:
    """RFC 9111 3."""
    store(timed, f"/ttl/{status[:3]}", status=status)
    assert timed.proxy.get(f"/ttl/{status[:3]}").cache == "MISS"


@pytest.fixture
def heuristic(start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock) -> TimedStand:
    """A stand whose proxy gives no lifetimes of its own."""
    return TimedStand(origin, start_proxy("--cache-ttl", "0", clock=clock), clock)


def test_the_heuristic_holds_for_each_status_that_allows_it(heuristic: TimedStand) -> None:
    """RFC 9111 4.2.2: 10% of the time since the last modification."""
    modified = ("Last-Modified", heuristic.clock.date(-1000))
    statuses = POSITIVE + NEGATIVE
    for status in statuses:
        store(heuristic, f"/{status[:3]}", modified, status=status)
        store(heuristic, f"/{status[:3]}?query", modified, status=status)
    heuristic.clock.advance(99)
    for status in statuses:
        for query in ("", "?query"):
            response = heuristic.proxy.get(f"/{status[:3]}{query}")
            assert (response.cache, ours(response)["ttl"]) == ("HIT", "1"), status
    heuristic.clock.advance(1)
    for status in statuses:
        assert heuristic.proxy.get(f"/{status[:3]}").cache == "MISS", status


def test_the_heuristic_holds_for_no_other_status_unless_public(heuristic: TimedStand) -> None:
    """RFC 9111 5.2.2.9."""
    modified = ("Last-Modified", heuristic.clock.date(-1000))
    for status in NOT_HEURISTIC:
        store(heuristic, f"/{status[:3]}", modified, status=status)
        assert heuristic.proxy.get(f"/{status[:3]}").cache == "MISS", status
        public = ("Cache-Control", "public")
        store(heuristic, f"/public/{status[:3]}", modified, public, status=status)
        assert heuristic.proxy.get(f"/public/{status[:3]}").cache == "HIT", status


@pytest.mark.parametrize("modified", [None, "yesterday", "0", FUTURE], ids=repr)
def test_without_a_last_modification_there_is_no_heuristic(
    heuristic: TimedStand, modified: str | None
) -> None:
    lines = [] if modified is None else [("Last-Modified", modified)]
    store(heuristic, "/", *lines)
    assert heuristic.proxy.get("/").cache == "MISS"


@pytest.mark.parametrize(
    "explicit", [("Cache-Control", "max-age=0"), ("Expires", PAST), ("Expires", "0")]
)
def test_the_heuristic_never_replaces_what_is_explicit(
    heuristic: TimedStand, explicit: tuple[str, str]
) -> None:
    """RFC 9111 4.2.2."""
    store(heuristic, "/", explicit, ("Last-Modified", heuristic.clock.date(-1000)))
    assert heuristic.proxy.get("/").cache == "MISS"


# --- the clock itself -----------------------------------------------------------------------------


def test_a_hit_tells_its_age_and_what_is_left(timed: TimedStand) -> None:
    store(timed, "/told", ("Cache-Control", "max-age=600"))
    for age in (0, 1, 9, 10, 99, 100, 599):
        timed.clock.advance(age - int(timed.proxy.get("/told").fields["age"]))
        for lane in ({}, {"Connection": "x"}):
            response = timed.proxy.get("/told", lane)
            assert (response.cache, response.fields["age"]) == ("HIT", str(age))
            assert ours(response)["ttl"] == str(600 - age)


@pytest.mark.parametrize("jump", [-DAY, DAY, -YEAR, YEAR])
def test_a_clock_that_jumps_harms_nobody(
    start_proxy: StartProxy, origin: ScriptedOrigin, clock: Clock, jump: int
) -> None:
    """Idle connections stay, nothing gets a negative age, and caching goes on."""
    proxy = start_proxy(clock=clock)
    origin.on("/", answer("200 OK", {"Cache-Control": "max-age=60"}, b"body"))
    with proxy.client() as client:
        assert client.get("/").cache == "MISS"
        clock.advance(jump)
        response = client.get("/")
        assert (response.status, response.body) == (200, b"body")
        assert response.cache == "HIT" or jump > 0
        if response.cache == "HIT":
            assert int(response.fields["age"]) >= 0
        origin.on("/after", answer("200 OK", {"Cache-Control": "max-age=60"}, b"after"))
        assert [client.get("/after").cache for _ in range(2)] == ["MISS", "HIT"]
        clock.advance(60)
        assert client.get("/after").cache == "MISS"
    assert len({id(connection) for connection in origin.served_on}) == 1
