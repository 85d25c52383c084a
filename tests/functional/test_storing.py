"""What may be stored, beyond test_cache.py (RFC 9111 3, 5.2.2; RFC 9213)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from .support.cache_status import ours
from .support.scripted_origin import ScriptedOrigin, answer
from .support.stand import Stand, StartProxy, TimedStand
from .support.validated import STRONG

EXPLICIT = {"Cache-Control": "max-age=600"}
PAST = "Wed, 01 Jan 2020 00:00:00 GMT"


def caches(stand: Stand, target: str, fields: Mapping[str, str], status: str = "200 OK") -> str:
    """What X-Cache says the second time; the first response has to be a miss."""
    body = b"" if status[:3] == "204" else b"body"
    stand.origin.on(target, answer(status, fields, body))
    first, second = stand.proxy.get(target), stand.proxy.get(target)
    assert first.cache == "MISS"
    assert {(r.status, r.body) for r in (first, second)} == {(int(status[:3]), body)}
    assert ("stored" in ours(first)) == (second.cache == "HIT")
    return second.cache


# --- statuses -------------------------------------------------------------------------------------

STORABLE = [
    *("200 OK", "201 Created", "202 Accepted", "203 Non-Authoritative Information"),
    *("204 No Content", "300 Multiple Choices", "301 Moved Permanently", "302 Found"),
    *("303 See Other", "307 Temporary Redirect", "308 Permanent Redirect", "400 Bad Request"),
    *("401 Unauthorized", "403 Forbidden", "404 Not Found", "405 Method Not Allowed", "410 Gone"),
    *("414 URI Too Long", "451 Unavailable For Legal Reasons", "500 Internal Server Error"),
    *("501 Not Implemented", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"),
    *("299 Unheard Of", "499 Unheard Of", "599 Unheard Of", "999 Unheard Of"),
]
NEVER = [
    *("407 Proxy Authentication Required", "412 Precondition Failed", "416 Range Not Satisfiable"),
    *("417 Expectation Failed", "428 Precondition Required", "429 Too Many Requests"),
    *("431 Request Header Fields Too Large", "511 Network Authentication Required"),
]


@pytest.mark.parametrize("status", STORABLE)
def test_any_final_status_is_stored_when_the_origin_says_so(stand: Stand, status: str) -> None:
    assert caches(stand, f"/status/{status[:3]}", EXPLICIT, status) == "HIT"


@pytest.mark.parametrize("status", NEVER)
def test_statuses_that_answer_something_not_in_the_key_are_not_stored(
    stand: Stand, status: str
) -> None:
    """RFC 6585 for 428, 429, 431 and 511."""
    assert caches(stand, f"/status/{status[:3]}", EXPLICIT, status) == "MISS"


UNDERSTAND = "max-age=600, must-understand"


@pytest.mark.parametrize("value", [UNDERSTAND, UNDERSTAND + ", no-store"])
@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
def test_must_understand_goes_before_no_store_for_a_status_that_is_understood(
    stand: Stand, value: str, status: str
) -> None:
    """RFC 9111 5.2.2.3."""
    target = f"/understood/{status[:3]}/{len(value)}"
    assert caches(stand, target, {"Cache-Control": value}, status) == "HIT"


@pytest.mark.parametrize("value", [UNDERSTAND, UNDERSTAND + ", no-store"])
@pytest.mark.parametrize("status", ["299 Unheard Of", "599 Unheard Of", "999 Unheard Of"])
def test_must_understand_keeps_other_statuses_out(stand: Stand, value: str, status: str) -> None:
    target = f"/not-understood/{status[:3]}/{len(value)}"
    assert caches(stand, target, {"Cache-Control": value}, status) == "MISS"


# --- directives -----------------------------------------------------------------------------------

HITS = {
    "unknown": 'foo, bar=baz, qux="quux", max-age=600',
    "quoted-comma": 'foo="a, no-store", max-age=600',
    "quoted-quote": r'foo="\", no-store", max-age=600',
    "longer-name": "no-store-please, x-private, max-age=600",
    "odd-case": "Max-Age=600, PUBLIC",
    "odd-space": "  public ,\t,, max-age=600 , ",
    "immutable": "max-age=600, immutable",
    "no-transform": "max-age=600, no-transform",
    "request-directives": "max-age=600, max-stale=0, min-fresh=700, only-if-cached",
}
MISSES = {
    "no-store-case": "max-age=600, NO-STORE",
    "no-store-space": "max-age=600 ,\tno-store\t,",
    "private-beside-public": "public, private, max-age=600",
    "private-empty": 'private="", max-age=600',
    "private-and-qualified": 'private, private="x-user", max-age=600',
    "no-cache-and-qualified": 'no-cache="x-user", no-cache, max-age=600',
}


@pytest.mark.parametrize("case", HITS)
def test_what_a_cache_does_not_know_changes_nothing(stand: Stand, case: str) -> None:
    """RFC 9111 5.2, 5.2.3."""
    assert caches(stand, f"/hits/{case}", {"Cache-Control": HITS[case]}) == "HIT"


@pytest.mark.parametrize("case", MISSES)
def test_the_most_restrictive_directive_holds(stand: Stand, case: str) -> None:
    """RFC 9111 4.2.1."""
    assert caches(stand, f"/misses/{case}", {"Cache-Control": MISSES[case]}) == "MISS"


def test_directives_in_several_lines_count_together(stand: Stand) -> None:
    lines = b"Cache-Control: max-age=600\r\nCache-Control: no-store\r\n\r\n"
    stand.origin.on("/two-lines", answer("200 OK").replace(b"\r\n\r\n", b"\r\n" + lines, 1))
    assert [stand.proxy.get("/two-lines").cache for _ in range(2)] == ["MISS", "MISS"]


def test_pragma_in_a_response_means_nothing(stand: Stand) -> None:
    """RFC 9111 5.4."""
    assert caches(stand, "/pragma", {**EXPLICIT, "Pragma": "no-cache"}) == "HIT"


OF_ONE_USER = {"X-User": "alice", "X-Role": "admin", "X-Kept": "kept", "Set-Cookie": "id=1"}
QUALIFIED = {
    "private": ('private="x-user"', {"x-user"}),
    "private-several": ('private="X-User , x-role,set-cookie"', {"x-user", "x-role", "set-cookie"}),
    "private-token": ("private=x-user", {"x-user"}),
    "private-absent": ('private="x-none"', set()),
    "private-twice": ('private="x-user", private="x-role"', {"x-user", "x-role"}),
    "no-cache": ('no-cache="set-cookie"', {"set-cookie"}),
    "no-cache-case": ('NO-CACHE="X-USER"', {"x-user"}),
    "both": ('no-cache="x-user", private="x-role"', {"x-user", "x-role"}),
}


@pytest.mark.parametrize("case", QUALIFIED)
def test_qualified_directives_keep_fields_out_and_the_rest_in(stand: Stand, case: str) -> None:
    """RFC 9111 5.2.2.4, 5.2.2.7."""
    directive, withheld = QUALIFIED[case]
    fields = {"Cache-Control": f"max-age=600, {directive}", **OF_ONE_USER}
    stand.origin.on(f"/qualified/{case}", answer("200 OK", fields, b"x"))
    miss, hit = (stand.proxy.get(f"/qualified/{case}") for _ in range(2))
    assert (miss.cache, hit.cache) == ("MISS", "HIT")
    names = {name.lower() for name in OF_ONE_USER}
    assert {name for name, _ in miss.fields.lines} & names == names
    assert {name for name, _ in hit.fields.lines} & names == names - withheld
    assert hit.fields["cache-control"] == fields["Cache-Control"]


# --- Authorization and cookies --------------------------------------------------------------------

LOGIN = {"Authorization": "Basic YWxpY2U6c2VjcmV0"}


NOT_SHARED = [
    *("max-age=600", "max-age=600, proxy-revalidate", "max-age=600, immutable", "no-cache"),
    *("max-age=600, stale-if-error=600", 'max-age=600, private="x"'),
]


@pytest.mark.parametrize("value", NOT_SHARED)
def test_nothing_else_lets_an_answer_to_authorization_be_stored(stand: Stand, value: str) -> None:
    """RFC 9111 3.5."""
    target = f"/login/{value.encode().hex()}"
    fields = {"Cache-Control": value, **STRONG}
    alice, nobody = answer("200 OK", fields, b"alice"), answer("200 OK", {}, b"nobody")
    stand.origin.on(target, alice, nobody)
    assert stand.proxy.get(target, LOGIN).body == b"alice"
    response = stand.proxy.get(target)
    assert (response.cache, response.body) == ("MISS", b"nobody")
    assert "if-none-match" not in stand.origin.seen(target)[1].fields


@pytest.mark.parametrize("directive", ["public", "s-maxage=600", "must-revalidate"])
def test_what_is_stored_despite_authorization_is_for_everybody(
    stand: Stand, directive: str
) -> None:
    target = f"/shared/{directive}"
    stand.origin.on(target, answer("200 OK", {"Cache-Control": f"max-age=600, {directive}"}, b"x"))
    requests: list[dict[str, str]] = [LOGIN, {}, {"Authorization": "Basic Ym9i"}]
    assert [stand.proxy.get(target, fields).cache for fields in requests] == ["MISS", "HIT", "HIT"]


def test_must_revalidate_despite_authorization_is_validated_when_stale(timed: TimedStand) -> None:
    """RFC 9111 5.2.2.2: subject to that requirement."""
    fields = {"Cache-Control": "max-age=60, must-revalidate", **STRONG}
    error = answer("503 Service Unavailable", {}, b"error")
    timed.origin.on("/strict", answer("200 OK", fields, b"alice"), error)
    assert timed.proxy.get("/strict", LOGIN).cache == "MISS"
    timed.clock.advance(60)
    assert timed.proxy.get("/strict", LOGIN).status == 503


@pytest.mark.parametrize(
    "fields",
    [EXPLICIT, {"Expires": "Thu, 01 Jan 2099 00:00:00 GMT"}, {"Cache-Control": "s-maxage=600"}],
)
def test_a_cookie_is_stored_only_beside_explicit_freshness(
    stand: Stand, fields: dict[str, str]
) -> None:
    target = f"/cookie/{len(str(fields))}"
    assert caches(stand, target, {**fields, "Set-Cookie": "a=1; Path=/"}) == "HIT"
    assert stand.proxy.get(target).fields.all("set-cookie") == ["a=1; Path=/"]


@pytest.mark.parametrize("value", ["public", "no-cache", "max-age=0", "must-revalidate"])
def test_a_cookie_is_not_stored_beside_anything_else(stand: Stand, value: str) -> None:
    """For a 304 would not take it back."""
    fields = {"Cache-Control": value, "Set-Cookie": "a=1", **STRONG}
    target = f"/cookie-not/{value}"
    assert caches(stand, target, fields) == "MISS"
    assert "if-none-match" not in stand.origin.seen(target)[1].fields


# --- fields that are not stored -------------------------------------------------------------------


def test_hop_by_hop_fields_are_not_stored(stand: Stand) -> None:
    """RFC 9111 3.1."""
    fields = {**EXPLICIT, "Connection": "X-Hop", "X-Hop": "1", "Proxy-Authenticate": "Basic"}
    assert caches(stand, "/hop", fields) == "HIT"
    found = {name for name, _ in stand.proxy.get("/hop").fields.lines}
    assert not found & {"x-hop", "proxy-authenticate", "proxy-authentication-info"}


def test_fields_that_nobody_knows_are_stored(stand: Stand) -> None:
    """RFC 9111 3.1, each line for itself and in order."""
    lines = b"X-Unknown: 1\r\nx-UNKNOWN: 2, 3\r\nX-Empty:\r\n\r\n"
    stand.origin.on("/unknown", answer("200 OK", EXPLICIT).replace(b"\r\n\r\n", b"\r\n" + lines, 1))
    for cache in ("MISS", "HIT"):
        response = stand.proxy.get("/unknown")
        assert response.cache == cache
        assert response.fields.all("x-unknown") == ["1", "2, 3"]
        assert response.fields.all("x-empty") == [""]


# --- targeted fields ------------------------------------------------------------------------------

CDN = "CDN-Cache-Control"
TARGETED_HITS = {
    "over-no-store": ("max-age=600", "no-store"),
    "over-private": ("max-age=600", "private"),
    "parameters": ("max-age=600;foo=bar;baz", "no-store"),
    "spaces": ("  max-age=600 ,\tpublic ", "no-store"),
    "last-one-holds": ("max-age=0, max-age=600", "no-store"),
    "extension": ('max-age=600, foo="bar", baz=(1 2), qux=1.5', "no-store"),
    "without-lifetime": ("public", "no-store"),
    "empty": ("", "max-age=600"),
    "upper-case": ("NO-STORE", "max-age=600"),
    "trailing-comma": ("no-store,", "max-age=600"),
    "no-dictionary": ("no-store, &", "max-age=600"),
    "two-in-one": ("no-store max-age=1", "max-age=600"),
    "open-string": ('no-store, foo="', "max-age=600"),
}
TARGETED_MISSES = {
    "no-store": ("no-store", "max-age=600"),
    "private": ("private", "max-age=600"),
    "no-cache": ("no-cache", "max-age=600"),
    "no-store-beside-max-age": ("max-age=600, no-store", "max-age=600"),
    "max-age-0": ("max-age=0", "max-age=600"),
    "last-one-holds": ("max-age=600, max-age=0", "max-age=600"),
    "negative": ("max-age=-1", "max-age=600"),
    "empty": ("", "no-store"),
    "upper-case": ("MAX-AGE=600", "no-store"),
    "trailing-comma": ("max-age=600,", "no-store"),
    "open-string": ('max-age=600, foo="', "no-store"),
}


@pytest.mark.parametrize("case", TARGETED_HITS)
def test_a_valid_targeted_field_goes_before_cache_control(stand: Stand, case: str) -> None:
    """RFC 9213 2.1, 2.2; an invalid or empty one is as if it were not there."""
    targeted, general = TARGETED_HITS[case]
    fields = {CDN: targeted, "Cache-Control": general}
    target = f"/targeted-hits/{case}"
    assert caches(stand, target, fields) == "HIT"
    response = stand.proxy.get(target)
    assert response.fields["cache-control"] == general
    assert response.fields[CDN] == targeted.strip(" ")


@pytest.mark.parametrize("case", TARGETED_MISSES)
def test_a_targeted_field_forbids_as_well(stand: Stand, case: str) -> None:
    targeted, general = TARGETED_MISSES[case]
    fields = {CDN: targeted, "Cache-Control": general}
    assert caches(stand, f"/targeted-misses/{case}", fields) == "MISS"


def test_a_targeted_lifetime_replaces_the_others(timed: TimedStand) -> None:
    fields = {CDN: "max-age=60", "Cache-Control": "max-age=600, s-maxage=30", "Expires": PAST}
    assert caches(timed, "/targeted-lifetime", fields) == "HIT"
    timed.clock.advance(59)
    assert timed.proxy.get("/targeted-lifetime").cache == "HIT"
    timed.clock.advance(1)
    assert timed.proxy.get("/targeted-lifetime").cache == "MISS"


def test_expires_counts_no_more_beside_a_targeted_field(stand: Stand) -> None:
    assert caches(stand, "/targeted-expires", {CDN: "public", "Expires": PAST}) == "HIT"


def test_a_field_that_only_looks_targeted_changes_nothing(stand: Stand) -> None:
    """RFC 9213 2.2, 2.4."""
    assert caches(stand, "/looks", {**EXPLICIT, "Other-Cache-Control": "no-store"}) == "HIT"


def test_the_target_list_is_a_setting(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    """The first valid one in the order of the list holds; others mean nothing."""
    mine, edge, store, forbid = "Mine-Cache-Control", "Edge-Control", "max-age=600", "no-store"
    proxy = start_proxy("--targeted-field", mine, "--targeted-field", edge)
    cases = [
        ({mine: store, edge: forbid}, "HIT"),
        ({edge: forbid, mine: store}, "HIT"),
        ({mine: forbid, edge: store}, "MISS"),
        ({mine: "NO-STORE", edge: store}, "HIT"),
        ({mine: "", edge: forbid, **EXPLICIT}, "MISS"),
        ({edge: forbid, **EXPLICIT}, "MISS"),
        ({CDN: forbid, **EXPLICIT}, "HIT"),
        ({CDN: store, "Cache-Control": forbid}, "MISS"),
    ]
    for number, (fields, cache) in enumerate(cases):
        assert caches(Stand(origin, proxy), f"/{number}", fields) == cache, fields
