"""What a response is tagged and grouped with, and what that is purged and invalidated by."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from .support.purging import ETAG, FRESH, fill, no_longer_fresh, post, receipt
from .support.scripted_origin import ScriptedOrigin, answer
from .support.stand import Stand, StartProxy
from .support.waiting import wait_until

TAGS = [
    ({"Cache-Tag": "one,two ,  three"}, ["one", "two", "three"], ["one,two", "tw", "thre", ","]),
    ({"Cache-Tag": "big sale, x"}, ["big sale", "x"], ["big", "sale"]),
    ({"Surrogate-Key": "one  two"}, ["one", "two"], ["one two", "on"]),
    ({"xkey": "one two, three"}, ["one", "two", "three"], ["one two"]),
    ({"cache-tag": "lower", "CACHE-TAG": "upper"}, ["lower", "upper"], ["lower, upper"]),
    ({"Cache-Tag": "x", "Surrogate-Key": "y", "xkey": "z"}, ["x", "y", "z"], ["xyz"]),
    ({"Cache-Tag": ",".join(f"t{n}" for n in range(200))}, ["t0", "t99", "t199"], ["t200"]),
]


@pytest.mark.parametrize(("fields", "tags", "others"), TAGS)
def test_tags(
    stand: Stand, fields: dict[str, str], tags: Sequence[str], others: Sequence[str]
) -> None:
    for tag in others:
        fill(stand, {"/tagged": fields})
        assert receipt(post(stand.proxy, tag=tag)) == (0, False), tag
    for tag in tags:
        fill(stand, {"/tagged": fields})
        assert receipt(post(stand.proxy, tag=tag)) == (1, False), tag
        assert no_longer_fresh(stand, {"/tagged": fields}) == {"/tagged"}


def test_a_validation_may_change_the_tags(stand: Stand) -> None:
    """RFC 9111 3.2: the stored fields are those of the 304."""
    first = {"Cache-Control": "max-age=0", "ETag": ETAG, "Cache-Tag": "old"}
    stand.origin.on(
        "/retagged",
        answer("200 OK", first, b"x"),
        answer("304 Not Modified", {**FRESH, "ETag": ETAG, "Cache-Tag": "new"}),
    )
    stand.proxy.get("/retagged")
    stand.proxy.get("/retagged")
    assert stand.proxy.get("/retagged").fields.all("cache-tag") == ["new"]
    assert receipt(post(stand.proxy, tag="old")) == (0, False)
    assert receipt(post(stand.proxy, tag="new")) == (1, False)


def test_the_fields_that_tell_tags_are_a_setting(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    stand = Stand(origin, start_proxy("--tag-field", "X-Tags", "--tag-field", "Cache-Tag"))
    fill(stand, {"/1": {"X-Tags": "one"}, "/2": {"Cache-Tag": "one"}, "/3": {"xkey": "one"}})
    assert receipt(post(stand.proxy, tag="one")) == (2, False)
    assert stand.proxy.get("/3").cache == "HIT"


@pytest.mark.parametrize("strip", [False, True])
def test_tags_are_stripped_when_so_set(
    start_proxy: StartProxy, origin: ScriptedOrigin, strip: bool
) -> None:
    tags = {"Cache-Tag": "a", "Surrogate-Key": "b", "XKey": "c"}
    proxy = start_proxy(*(["--strip-tags"] if strip else []))
    origin.on("/", answer("200 OK", {**FRESH, **tags, "X-Other": "kept"}, b"x"))
    origin.on("/unstored", answer("200 OK", {"Cache-Control": "no-store", **tags}, b"x"))
    responses = [proxy.get("/"), proxy.get("/"), proxy.get("/", {"Connection": "x"})]
    assert [response.cache for response in responses] == ["MISS", "HIT", "HIT"]
    for response in responses:
        assert response.fields["x-other"] == "kept"
    for response in (*responses, proxy.get("/unstored")):
        assert {name for name in tags if name in response.fields} == (set() if strip else set(tags))
    assert receipt(post(proxy, tag="b")) == (1, False)


GROUPS = [
    ('"g1", "g2"', ["g1", "g2"], ["g1, g2", '"g1"']),
    ('"g1";a=1;b, "g2";c="x, y"', ["g1", "g2"], ["x", "y"]),
    ('"with, comma"', ["with, comma"], ["with"]),
    (r'"a \"quoted\" \\ one"', ['a "quoted" \\ one'], ["a"]),
    ("g1", [], ["g1"]),  # a Token, and so no List of Strings
    ('"g1", g2', [], ["g2"]),
    ('"g1" "g2"', [], ["g1", "g2"]),
    (", ".join(f'"{n:032}"' for n in range(32)), [f"{0:032}", f"{31:032}"], ["0"]),
]


@pytest.mark.parametrize(("value", "groups", "others"), GROUPS)
def test_groups(stand: Stand, value: str, groups: Sequence[str], others: Sequence[str]) -> None:
    """RFC 9875 2."""
    fields = {"Cache-Groups": value}
    for group in others:
        fill(stand, {"/grouped": fields})
        assert receipt(post(stand.proxy, group=group)) == (0, False), group
    for group in groups:
        fill(stand, {"/grouped": fields})
        assert receipt(post(stand.proxy, group=group)) == (1, False), group
        assert no_longer_fresh(stand, {"/grouped": fields}) == {"/grouped"}


GROUPED = {
    "/g/1": {"Cache-Groups": '"one"'},
    "/g/12": {"Cache-Groups": '"one", "two"'},
    "/g/2": {"Cache-Groups": '"two"'},
    "/g/ONE": {"Cache-Groups": '"ONE"'},
    "/g/tag": {"Cache-Tag": "one"},
}


@pytest.mark.parametrize(
    ("method", "status", "value", "expected"),
    [
        ("POST", "200 OK", '"one"', {"/g/1", "/g/12"}),
        ("DELETE", "204 No Content", '"one";x=1, "nothing"', {"/g/1", "/g/12"}),
        ("PUT", "303 See Other", '"one", "two"', {"/g/1", "/g/12", "/g/2"}),
        ("POST", "500 Internal Server Error", '"one"', set()),
        ("POST", "404 Not Found", '"one"', set()),
        ("POST", "200 OK", "one", set()),
        ("GET", "200 OK", '"one"', set()),
        ("OPTIONS", "200 OK", '"one"', set()),
    ],
)
def test_group_invalidation(
    stand: Stand, method: str, status: str, value: str, expected: set[str]
) -> None:
    """RFC 9875 3: by unsafe methods, without a cascade."""
    fill(stand, GROUPED)
    fields = {"Cache-Group-Invalidation": value, "Cache-Control": "no-store"}
    stand.origin.on("/g/change", answer(status, fields))
    assert stand.proxy.request(method, "/g/change").status == int(status[:3])
    assert no_longer_fresh(stand, GROUPED) == expected


def test_many_with_one_tag_are_gone_at_once(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy()
    targets = [f"/many/{number}" for number in range(1500)]
    fields = {**FRESH, "Cache-Tag": "many"}
    with proxy.client() as client:
        for target in targets:
            origin.on(target, answer("200 OK", fields, b"one of many"))
            client.get(target)
        origin.on("/other", answer("200 OK", FRESH, b"other"))
        client.get("/other")
        assert json.loads(post(proxy, tag="many").body)["purged"] == 1500
        assert proxy.stats()["entries"] == 1
        assert {client.get(target).cache for target in targets[::100]} == {"MISS"}
        assert client.get("/other").cache == "HIT"
    wait_until(lambda: proxy.stats()["memory_bytes"] < 20_000, "the memory to be given back")
    assert proxy.stats()["entries"] == 16
