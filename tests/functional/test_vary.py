"""Variants of a URL: Vary and the fields that are in every key (RFC 9111 4.1, RFC 9110 12.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from .support.cache_status import ours
from .support.messages import Response
from .support.scripted_origin import NO_FIELDS, Exchange, Script, ScriptedOrigin, answer
from .support.stand import Stand, StartProxy

LANES = {"hit-lane": {}, "llhttp-lane": {"Connection": "x"}}  # `Connection: x` is not plain enough


def reflecting(
    *vary: str, of: Sequence[str] = ("X-Flavour",), fields: Mapping[str, str] = NO_FIELDS
) -> Script:
    """Answers with what the request says in the fields `of`, and the lines `vary`."""

    def script(exchange: Exchange) -> None:
        said = repr([exchange.request.fields.all(name) for name in of]).encode()
        message = answer("200 OK", {"Cache-Control": "max-age=600", **fields}, said)
        lines = "".join(f"Vary: {line}\r\n" for line in vary).encode()
        head, _, body = message.partition(b"\r\n\r\n")
        body = b"" if exchange.request.method == "HEAD" else body
        exchange.send(head + b"\r\n" + lines + b"\r\n" + body)

    return script


def said(*values: list[str]) -> bytes:
    """The body of `reflecting` for such lines, a list a field."""
    return repr(list(values)).encode()


def taste(stand: Stand, target: str, flavour: str | None) -> Response:
    """GET with that flavour."""
    return stand.proxy.get(target, {} if flavour is None else {"X-Flavour": flavour})


def check(response: Response, cache: str, *values: list[str]) -> None:
    """It was made for a request with such lines."""
    assert (response.status, response.cache, response.body) == (200, cache, said(*values))


# --- several variants -----------------------------------------------------------------------------


@pytest.mark.parametrize("lane", LANES)
def test_variants_stay_beside_each_other(stand: Stand, lane: str) -> None:
    target = f"/several/{lane}"
    stand.origin.on(target, reflecting("X-Flavour"))
    flavours = ("salt", "sweet", "sour")
    for cache in ("MISS", "HIT", "HIT"):
        for flavour in flavours:
            response = stand.proxy.get(target, {"X-Flavour": flavour, **LANES[lane]})
            check(response, cache, [flavour])
    assert len(stand.origin.seen(target)) == len(flavours)


@pytest.mark.parametrize("name", ["User-Agent", "Cookie", "Referer", "X-Flavour"])
def test_both_lanes_select_alike(stand: Stand, name: str) -> None:
    """What one lane brought the other one serves, and nobody else's."""
    target = f"/lanes/{name}"
    stand.origin.on(target, reflecting(name, of=(name,)))
    for value, (_, lane) in zip(("a=1", "a=2"), LANES.items(), strict=True):
        check(stand.proxy.get(target, {name: value, **lane}), "MISS", [value])
    for lane in LANES.values():
        for value in ("a=1", "a=2"):
            check(stand.proxy.get(target, {name: value, **lane}), "HIT", [value])
    check(stand.proxy.get(target), "MISS", [])
    for lane in LANES.values():
        check(stand.proxy.get(target, lane), "HIT", [])


def test_every_field_that_vary_names_has_to_match(stand: Stand) -> None:
    stand.origin.on("/all", reflecting("X-A, X-B", of=("X-A", "X-B")))
    pairs = [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]
    for cache in ("MISS", "HIT"):
        for a, b in pairs:
            check(stand.proxy.get("/all", {"X-A": a, "X-B": b}), cache, [a], [b])


def test_a_value_is_not_taken_for_that_of_another_field(stand: Stand) -> None:
    stand.origin.on("/whose", reflecting("X-A, X-B", of=("X-A", "X-B")))
    check(stand.proxy.get("/whose", {"X-A": "1"}), "MISS", ["1"], [])
    check(stand.proxy.get("/whose", {"X-B": "1"}), "MISS", [], ["1"])


def test_head_selects_as_get_does(stand: Stand) -> None:
    stand.origin.on("/head", reflecting("X-Flavour"))
    for flavour in ("salt", "sweetness"):
        taste(stand, "/head", flavour)
    for flavour in ("salt", "sweetness"):
        head = stand.proxy.request("HEAD", "/head", {"X-Flavour": flavour})
        assert (head.cache, head.fields["content-length"]) == ("HIT", str(len(said([flavour]))))


def test_cache_status_tells_a_variant_that_is_not_stored_from_a_url(stand: Stand) -> None:
    """RFC 9211 2.2."""
    stand.origin.on("/told", reflecting("X-Flavour"))
    fates = [ours(taste(stand, "/told", flavour)).get("fwd") for flavour in ("salt", "sour")]
    assert fates == ["uri-miss", "vary-miss"]
    assert "hit" in ours(taste(stand, "/told", "salt"))


def test_cache_status_counts_accept_language_among_the_variants(stand: Stand) -> None:
    stand.origin.on("/told-language", reflecting("Accept-Language"))
    fates = [
        ours(stand.proxy.get("/told-language", {"Accept-Language": language})).get("fwd")
        for language in ("de", "en")
    ]
    assert fates == ["uri-miss", "vary-miss"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_invalidation_drops_all_variants(stand: Stand, method: str) -> None:
    """RFC 9111 4.4."""
    target = f"/dropped/{method}"
    stand.origin.on(target, reflecting("X-Flavour"))
    flavours = ("salt", "sweet", None)
    for flavour in flavours:
        taste(stand, target, flavour)
    assert stand.proxy.request(method, target).status == 200
    for flavour in flavours:
        assert taste(stand, target, flavour).cache == "MISS"


# --- how Vary is spelled --------------------------------------------------------------------------

SPELLINGS: list[tuple[str, ...]] = [
    ("x-flavour",),
    ("X-FLAVOUR",),
    ("  X-Flavour\t",),
    ("X-Other,X-Flavour",),
    ("X-Flavour\t ,\t X-Other",),
    (",, X-Flavour,",),
    ("X-Flavour, x-flavour",),
    ("X-Other", "X-Flavour"),
    ("X-Flavour", "X-Other"),
    ("X-Flavour", ""),
    ("Accept-Encoding, X-Flavour",),
]


@pytest.mark.parametrize("vary", SPELLINGS, ids=repr)
def test_vary_may_be_spelled_in_many_ways(stand: Stand, vary: tuple[str, ...]) -> None:
    target = f"/spelled/{SPELLINGS.index(vary)}"
    stand.origin.on(target, reflecting(*vary))
    for cache in ("MISS", "HIT"):
        for flavour in ("salt", "sweet"):
            check(taste(stand, target, flavour), cache, [flavour])


NEVER: list[tuple[str, ...]] = [
    ("*",),
    ("X-Flavour, *",),
    ("*, X-Flavour",),
    (" * ",),
    ("X-Flavour", "*"),
    ("Accept-Encoding, *",),
]


@pytest.mark.parametrize("vary", NEVER, ids=repr)
def test_an_asterisk_never_matches(stand: Stand, vary: tuple[str, ...]) -> None:
    target = f"/asterisk/{NEVER.index(vary)}"
    stand.origin.on(target, reflecting(*vary))
    for _ in range(3):
        response = taste(stand, target, "salt")
        assert response.cache == "MISS"
        assert "stored" not in ours(response)


@pytest.mark.parametrize("vary", [("",), (",",), ("", " ")], ids=repr)
def test_vary_that_names_nothing_selects_nothing(stand: Stand, vary: tuple[str, ...]) -> None:
    target = f"/nothing/{len(vary)}{len(vary[0])}"
    stand.origin.on(target, reflecting(*vary))
    check(taste(stand, target, "salt"), "MISS", ["salt"])
    check(taste(stand, target, "sweet"), "HIT", ["salt"])


# --- how the request's fields are compared --------------------------------------------------------


def test_absent_is_not_empty(stand: Stand) -> None:
    """RFC 9111 4.1: an absent field matches only where it is absent too."""
    stand.origin.on("/absent", reflecting("X-Flavour"))
    for cache in ("MISS", "HIT"):
        check(taste(stand, "/absent", None), cache, [])
        check(taste(stand, "/absent", ""), cache, [""])


def lines_of(stand: Stand, target: str, *lines: str) -> Response:
    """GET with several lines of X-Flavour."""
    with stand.proxy.client() as client:
        head = client.head("GET", target).removesuffix(b"\r\n")
        client.send(head, *[f"X-Flavour: {line}\r\n".encode() for line in lines], b"\r\n")
        return client.response()


def test_several_lines_are_the_same_as_one(stand: Stand) -> None:
    stand.origin.on("/lines", reflecting("X-Flavour"))
    assert lines_of(stand, "/lines", "salt", "sweet").cache == "MISS"
    assert lines_of(stand, "/lines", "salt, sweet").cache == "HIT"
    assert lines_of(stand, "/lines", "sweet", "salt").cache == "MISS"
    assert lines_of(stand, "/lines", "salt").cache == "MISS"


SAME = [
    ("X-Flavour", "a,b", "a, b"),
    ("X-Flavour", "a, b", "a \t,\t b"),
    ("X-Flavour", 'a,"b,c"', 'a , "b,c"'),
    ("Accept-Language", "de, en;q=0.5", "EN ;q=0.500,de;q=1"),
    ("Accept-Language", "de, en", "en,de"),
    ("Accept-Encoding", "gzip, br", "BR,gzip"),
    ("Accept", "text/html, text/plain;q=0.5", "text/plain;q=0.5,TEXT/html"),
]
NOT_THE_SAME = [
    ("X-Flavour", "salt", "Salt"),
    ("X-Flavour", "a, b", "b, a"),
    ("X-Flavour", "a b", "a  b"),
    ("X-Flavour", '"a,b"', '"a, b"'),
    ("X-Flavour", "salt", "salt, pepper"),
    ("Cookie", "a=1,b", "a=1, b"),
    ("User-Agent", "x (a,b)", "x (a, b)"),
    ("Accept-Language", "de", "de-ch"),
    ("Accept-Encoding", "gzip", "br"),
    ("Accept", "text/html", "text/plain"),
]


@pytest.mark.parametrize("name, one, other", SAME)
def test_the_same_in_another_spelling(stand: Stand, name: str, one: str, other: str) -> None:
    target = f"/same/{SAME.index((name, one, other))}"
    stand.origin.on(target, reflecting(name, of=(name,)))
    first, second = (stand.proxy.get(target, {name: value}) for value in (one, other))
    assert (first.cache, second.cache) == ("MISS", "HIT")
    assert first.body == second.body


@pytest.mark.parametrize("name, one, other", NOT_THE_SAME)
def test_not_the_same(stand: Stand, name: str, one: str, other: str) -> None:
    target = f"/not-the-same/{NOT_THE_SAME.index((name, one, other))}"
    stand.origin.on(target, reflecting(name, of=(name,)))
    for cache in ("MISS", "HIT"):
        for value in (one, other):
            check(stand.proxy.get(target, {name: value}), cache, [value])


# --- languages ------------------------------------------------------------------------------------


def spoken(*languages: str, vary: bool = True, told: bool = True) -> Script:
    """An origin with these languages, the first one its default, that goes by the weights."""

    def script(exchange: Exchange) -> None:
        wanted = exchange.request.fields.get("accept-language") or ""
        found = [range_.partition(";")[0].strip() for range_ in wanted.split(",")]
        language = next((range_ for range_ in found if range_ in languages), languages[0])
        fields = {"Cache-Control": "max-age=600"}
        fields.update({"Vary": "Accept-Language"} if vary else {})
        fields.update({"Content-Language": language} if told else {})
        exchange.send(answer("200 OK", fields, language.encode()))

    return script


def ask(stand: Stand, target: str, wanted: str) -> tuple[str, str]:
    """What cache and language came for such an Accept-Language."""
    response = stand.proxy.get(target, {"Accept-Language": wanted})
    return response.cache, response.body.decode()


def test_the_weights_choose_among_the_stored_languages(stand: Stand) -> None:
    """RFC 9111 4.1: a known mechanism may select, as the origin would."""
    stand.origin.on("/languages", spoken("en", "de"))
    assert ask(stand, "/languages", "de") == ("MISS", "de")
    assert ask(stand, "/languages", "en") == ("MISS", "en")
    for wanted in ("de, en;q=0.5", "de;q=0.9, en;q=0.8", "fr;q=0.1, de"):
        assert ask(stand, "/languages", wanted) == ("HIT", "de"), wanted
    for wanted in ("en, de;q=0.5", "en, fr;q=0.9"):
        assert ask(stand, "/languages", wanted) == ("HIT", "en"), wanted
    assert len(stand.origin.seen("/languages")) == 2


def test_what_the_origin_is_known_not_to_have_is_passed_over(stand: Stand) -> None:
    stand.origin.on("/no-french", spoken("en", "de"))
    assert ask(stand, "/no-french", "fr, de;q=0.9, en;q=0.8") == ("MISS", "de")
    assert ask(stand, "/no-french", "fr, de;q=0.5") == ("HIT", "de")


def test_a_language_that_may_be_there_is_asked_for(stand: Stand) -> None:
    stand.origin.on("/maybe", spoken("en", "de", "fr"))
    assert ask(stand, "/maybe", "en") == ("MISS", "en")
    assert ask(stand, "/maybe", "fr, en;q=0.5") == ("MISS", "fr")
    assert ask(stand, "/maybe", "de, en;q=0.5") == ("MISS", "de")
    assert ask(stand, "/maybe", "de-ch") == ("MISS", "en")


@pytest.mark.parametrize("vary, told", [(False, True), (True, False)])
def test_languages_are_chosen_only_where_the_origin_says_both(
    stand: Stand, vary: bool, told: bool
) -> None:
    target = f"/not-told/{vary}"
    stand.origin.on(target, spoken("en", "de", vary=vary, told=told))
    assert ask(stand, target, "de") == ("MISS", "de")
    assert ask(stand, target, "de, en;q=0.5") == ("MISS", "de")


def test_another_field_of_vary_has_to_match_beside_the_language(stand: Stand) -> None:
    fields = {"Content-Language": "de"}
    stand.origin.on("/beside", reflecting("Accept-Language, X-Flavour", fields=fields))
    salt = {"Accept-Language": "de", "X-Flavour": "salt"}
    check(stand.proxy.get("/beside", salt), "MISS", ["salt"])
    weighted = {"Accept-Language": "de, en;q=0.5"}
    check(stand.proxy.get("/beside", {**weighted, "X-Flavour": "sweet"}), "MISS", ["sweet"])
    assert stand.proxy.get("/beside", {**weighted, "X-Flavour": "salt"}).body == said(["salt"])


# --- Vary that changes ----------------------------------------------------------------------------


def test_a_response_is_never_served_against_its_own_vary(stand: Stand) -> None:
    """Whatever a later response of that URL says."""
    names = ("X-A", "X-B")
    stand.origin.on(
        "/changing", reflecting("X-A", of=names), reflecting("X-B", of=names), reflecting(of=names)
    )
    check(stand.proxy.get("/changing", {"X-A": "1", "X-B": "1"}), "MISS", ["1"], ["1"])
    check(stand.proxy.get("/changing", {"X-A": "2", "X-B": "2"}), "MISS", ["2"], ["2"])
    check(stand.proxy.get("/changing", {"X-A": "3", "X-B": "2"}), "HIT", ["2"], ["2"])
    check(stand.proxy.get("/changing", {"X-A": "3", "X-B": "3"}), "MISS", ["3"], ["3"])


def test_a_default_without_vary_does_not_stand_in_for_better_variants(stand: Stand) -> None:
    """RFC 9111 4.1: the most recent Vary goes for those that omit it."""
    stand.origin.on("/default", reflecting(), reflecting("X-Flavour"))
    check(taste(stand, "/default", None), "MISS", [])
    reload = {"X-Flavour": "salt", "Cache-Control": "no-cache"}
    check(stand.proxy.get("/default", reload), "MISS", ["salt"])
    check(taste(stand, "/default", "salt"), "HIT", ["salt"])
    check(taste(stand, "/default", "sour"), "MISS", ["sour"])


def test_a_new_response_without_vary_replaces_what_a_request_selected(stand: Stand) -> None:
    stand.origin.on("/no-more", reflecting("X-Flavour"), reflecting())
    taste(stand, "/no-more", "salt")
    stand.proxy.get("/no-more", {"X-Flavour": "salt", "Cache-Control": "no-cache"})
    response = taste(stand, "/no-more", "salt")
    assert response.cache == "HIT"
    assert "vary" not in response.fields


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X-Flavour", "Accept-Language"])
def test_a_url_has_at_most_64_variants_and_the_oldest_goes(stand: Stand, name: str) -> None:
    target = f"/bounded/{name}"
    stand.origin.on(target, reflecting(name, of=(name,)))
    values = [f"v{number}" for number in range(65)]
    with stand.proxy.client() as client:
        for value in values:
            assert client.get(target, {name: value}).cache == "MISS"
        for value in values[1:]:
            check(client.get(target, {name: value}), "HIT", [value])
        check(client.get(target, {name: values[0]}), "MISS", [values[0]])


def test_the_bound_is_a_setting_and_holds_for_each_url(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--max-variants", "2")
    for target in ("/a", "/b"):
        origin.on(target, reflecting("X-Flavour"))
        for flavour in ("1", "2", "3"):
            assert proxy.get(target, {"X-Flavour": flavour}).cache == "MISS"
    for target in ("/a", "/b"):
        caches = [proxy.get(target, {"X-Flavour": flavour}).cache for flavour in ("3", "2", "1")]
        assert caches == ["HIT", "HIT", "MISS"]
    assert proxy.stats()["entries"] == 4
