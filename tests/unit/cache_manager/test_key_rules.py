from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.cache_manager.key_rules import KeyRules, device_class
from tests.unit.sections import Section

IPHONE = b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1 Mobile/15E148"
IPAD = b"Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
PIXEL = b"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126 Mobile Safari/537"
GALAXY_TAB = b"Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 Chrome/126 Safari/537.36"
FIREFOX_TAB = b"Mozilla/5.0 (Android 14; Tablet; rv:127.0) Gecko/127.0 Firefox/127.0"
LINUX = b"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"
GOOGLEBOT = (
    b"Mozilla/5.0 (Linux; Android 6; Nexus 5X) Mobile (compatible; Googlebot/2.1; +http://x)"
)


@pytest.mark.parametrize(
    ("rules", "enabled"),
    [
        (KeyRules(), False),
        (KeyRules([], False, [], [], [], False), False),
        (KeyRules(drop=["a"]), True),
        (KeyRules(sort=True), True),
        (KeyRules(keep=["a"]), True),
        (KeyRules(headers=["a"]), True),
        (KeyRules(cookies=["a"]), True),
        (KeyRules(device=True), True),
    ],
)
def test_enabled(rules: KeyRules, enabled: bool) -> None:
    assert rules.enabled is enabled


# Targets


@pytest.mark.parametrize(
    ("rules", "target", "ruled"),
    [
        (KeyRules(), b"/a?b=2&a=1&&", b"/a?b=2&a=1&&"),
        (KeyRules(headers=["a"], cookies=["a"], device=True), b"/?b&a", b"/?b&a"),
        # drop
        (KeyRules(["utm_*"]), b"/a", b"/a"),
        (KeyRules(["utm_*"]), b"/utm_a=1", b"/utm_a=1"),
        (KeyRules(["utm_*"]), b"/a?", b"/a?"),
        (KeyRules(["utm_*"]), b"/a?utm_source=x", b"/a"),
        (KeyRules(["utm_*"]), b"/a?utm_&utm_a", b"/a"),
        (KeyRules(["utm_*"]), b"/a?utm=1&xutm_=2&UTM_a=3", b"/a?utm=1&xutm_=2&UTM_a=3"),
        (KeyRules(["utm_*"]), b"/a?b=2&utm_a=1&a=1&b=1", b"/a?b=2&a=1&b=1"),
        (KeyRules(["utm_*", "b"]), b"/?b=2&utm_a=1&bb=3", b"/?bb=3"),
        (KeyRules(["b"]), b"/?a=b&b&b=&b=1=2&c=%62", b"/?a=b&c=%62"),
        (KeyRules(["b"]), b"/?x=1?b&b=2?", b"/?x=1?b"),
        (KeyRules(["b"]), b"/?a&&b&c&", b"/?a&&c&"),
        (KeyRules(["b"]), b"/?&b", b"/"),
        (KeyRules(["b"]), b"/?a;b=1", b"/?a;b=1"),
        (KeyRules(["*"]), b"/?a&b=1", b"/"),
        (KeyRules(["a*b"]), b"/?a*b&axb", b"/?axb"),
        # names are compared after decoding what needs no encoding
        (KeyRules(["utm_*"]), b"/?%75tm%5fa=1&x=%75", b"/?x=%75"),
        (KeyRules(["%75tm_a"]), b"/?utm_a=1", b"/"),
        (KeyRules(["a%2fb"]), b"/?a%2Fb=1&a/b=2", b"/?a/b=2"),
        (KeyRules(["a/b"]), b"/?a%2Fb=1&a/b=2", b"/?a%2Fb=1"),
        (KeyRules(["a2Fb"]), b"/?a%2Fb=1", b"/?a%2Fb=1"),
        (KeyRules(["a b"]), b"/?a%20b&a+b", b"/?a+b"),
        (KeyRules(["\xe9*"]), b"/?%c3%a9t=1&%C3%A9&%C3=1", b"/?%C3=1"),
        (KeyRules(["100%"]), b"/?100%=1&100%2=1", b"/?100%2=1"),
        # keep
        (KeyRules(keep=["id", "p*"]), b"/?x&id=1&page=2&idx=3&p", b"/?id=1&page=2&p"),
        (KeyRules(keep=["id"]), b"/?x", b"/"),
        (KeyRules(keep=["id"]), b"/?", b"/"),
        (KeyRules(keep=["id"]), b"/?&id&", b"/?id"),
        (KeyRules(keep=["p*"], drop=["pp"]), b"/?pp=1&pa=2", b"/?pa=2"),
        # sort
        (KeyRules(sort=True), b"/?b=1&a=2", b"/?a=2&b=1"),
        (KeyRules(sort=True), b"/?b&a=2&a=1&A", b"/?A&a=2&a=1&b"),
        (KeyRules(sort=True), b"/?b&%61=2&a=1", b"/?%61=2&a=1&b"),
        (KeyRules(sort=True), b"/?ab=1&a=2", b"/?a=2&ab=1"),
        (KeyRules(sort=True), b"/?", b"/?"),
        (KeyRules(sort=True, drop=["b"]), b"/?c&b&a", b"/?a&c"),
    ],
)
def test_targets(rules: KeyRules, target: bytes, ruled: bytes) -> None:
    assert rules.target(target) == ruled
    assert rules.target(ruled) == ruled


QUERY = st.lists(st.sampled_from([b"a=1", b"a=2", b"%61", b"b", b"b=%", b"utm_a", b"", b"c=a"]))


@given(QUERY, st.randoms())
def test_sorting_keeps_each_names_order(parameters: list[bytes], random: object) -> None:
    target = KeyRules(sort=True).target(b"/?" + b"&".join(parameters))
    left = target[2:].split(b"&")
    assert sorted(left) == sorted(parameters or [b""])
    for names in [(b"a", b"%61"), (b"b",), (b"c",)]:
        mine = [text for text in parameters if text.partition(b"=")[0] in names]
        assert [text for text in left if text.partition(b"=")[0] in names] == mine


@given(QUERY)
def test_what_is_not_dropped_stays_in_place(parameters: list[bytes]) -> None:
    target = KeyRules(["a", "utm_*"]).target(b"/?" + b"&".join(parameters))
    left = [text for text in parameters if text not in (b"a=1", b"a=2", b"%61", b"utm_a")]
    assert target.partition(b"?")[2] == b"&".join(left)


# Further parts of the key


def test_no_further_parts() -> None:
    assert KeyRules(["a"], True, ["b"]).extra(Section({b"a": b"1", b"cookie": b"a=1"})) == b""


def test_the_text_is_stable() -> None:
    """It becomes part of keys that outlive the process."""
    rules = KeyRules(headers=["X-B", "x-a"], cookies=["c"], device=True)
    request = Section({b"x-a": b"1,2", b"cookie": b"c=d; c=e"})
    assert rules.extra(request) == (
        b"19:6:header3:x-a4:1, 2"
        b"13:6:header3:x-b"
        b"17:6:cookie1:c1:d1:e"
        b"19:6:device0:7:desktop"
    )
    assert KeyRules((), False, (), ["x-a", "X-b", "X-A"], ["c", "c"], True).extra(
        request
    ) == rules.extra(request)


@pytest.mark.parametrize(
    ("rules", "one", "other"),
    [
        (
            KeyRules(headers=["a"]),
            Section({b"a": b" 1 ,2"}),
            Section(None, (b"a", b"1"), (b"a", b"2")),
        ),
        (KeyRules(headers=["a"]), Section({b"a": b"1"}), Section({b"b": b"2", b"a": b"1"})),
        (KeyRules(cookies=["a"]), Section({b"cookie": b"a=1"}), Section({b"cookie": b"b=2;a=1 "})),
        (
            KeyRules(cookies=["a"]),
            Section({b"cookie": b"a=1; a=2"}),
            Section(None, (b"cookie", b"a = 1"), (b"cookie", b"x;a=2")),
        ),
        (KeyRules(device=True), Section({b"user-agent": LINUX}), Section({b"user-agent": b"x"})),
    ],
)
def test_requests_of_one_key(rules: KeyRules, one: Section, other: Section) -> None:
    assert rules.extra(one) == rules.extra(other)


@pytest.mark.parametrize(
    ("rules", "one", "other"),
    [
        (KeyRules(headers=["a"]), Section({b"a": b"1"}), Section({b"a": b"2"})),
        (KeyRules(headers=["a"]), Section({b"a": b""}), Section()),
        (KeyRules(headers=["cookie"]), Section({b"cookie": b"a,b"}), Section({b"cookie": b"a, b"})),
        (KeyRules(headers=["a", "b"]), Section({b"a": b"1"}), Section({b"b": b"1"})),
        (KeyRules(cookies=["a"]), Section({b"cookie": b"a=1"}), Section({b"cookie": b"a=2"})),
        (KeyRules(cookies=["a"]), Section({b"cookie": b"a=1"}), Section({b"cookie": b"A=1"})),
        (KeyRules(cookies=["a"]), Section({b"cookie": b"a="}), Section({b"cookie": b"b=1"})),
        (KeyRules(cookies=["a"]), Section({b"cookie": b"a=1=2"}), Section({b"cookie": b"a=1"})),
        (
            KeyRules(cookies=["a"]),
            Section({b"cookie": b"a=1;a=2"}),
            Section({b"cookie": b"a=2;a=1"}),
        ),
        (KeyRules(cookies=["a"]), Section({b"cookie": b"a=1;a=2"}), Section({b"cookie": b"a=12"})),
        (KeyRules(device=True), Section({b"user-agent": LINUX}), Section({b"user-agent": IPHONE})),
    ],
)
def test_requests_of_different_keys(rules: KeyRules, one: Section, other: Section) -> None:
    assert rules.extra(one) != rules.extra(other)


NAMES = st.sampled_from(["a", "b", "a1", "1:a", "header", "cookie"])
TEXTS = st.text("1:ahc", max_size=12)


@given(
    *(st.dictionaries(NAMES, TEXTS, max_size=3) for _ in range(4)),
)
def test_no_two_requests_share_a_text(
    headers: dict[str, str], cookies: dict[str, str], others: dict[str, str], baked: dict[str, str]
) -> None:
    def text(fields: dict[str, str], crumbs: dict[str, str]) -> bytes:
        request = Section({name.encode(): value.encode() for name, value in fields.items()})
        rules = KeyRules(headers=list(fields))
        line = "; ".join(f"{name}={value}" for name, value in crumbs.items()).encode()
        return rules.extra(request) + KeyRules(cookies=list(crumbs)).extra(
            Section({b"cookie": line})
        )

    same = (headers, cookies) == (others, baked)
    assert (text(headers, cookies) == text(others, baked)) is same


# Device classes


@pytest.mark.parametrize(
    ("agent", "hint", "device"),
    [
        (None, None, b"desktop"),
        (b"", None, b"desktop"),
        (LINUX, None, b"desktop"),
        (LINUX, b"?0", b"desktop"),
        (LINUX, b"?1", b"mobile"),
        (LINUX, b"1", b"desktop"),
        (None, b"?1", b"mobile"),
        (IPHONE, None, b"mobile"),
        (IPHONE, b"?0", b"desktop"),
        (IPHONE, b"?2", b"mobile"),
        (PIXEL, b"?1", b"mobile"),
        (PIXEL, None, b"mobile"),
        (IPAD, None, b"tablet"),
        (IPAD, b"?1", b"tablet"),
        (GALAXY_TAB, b"?0", b"tablet"),
        (FIREFOX_TAB, None, b"tablet"),
        (b"Mozilla/5.0 (PlayBook; U; RIM Tablet OS 2.1.0)", None, b"tablet"),
        (b"Mozilla/5.0 (BB10; PlayBook) Mobile", None, b"tablet"),
        (b"Mozilla/5.0 (X11; Linux armv7l) Silk/126.1 like Chrome", None, b"tablet"),
        (b"Mozilla/5.0 (X11; Linux armv7l) Kindle/3.0", None, b"tablet"),
        (b"Mozilla/5.0 (iPod; CPU iPhone OS 9_3)", None, b"mobile"),
        (b"X (iPod; CPU)", None, b"mobile"),
        (b"Y (iPhone; CPU)", None, b"mobile"),
        (b"Mozilla/5.0 (Mobile; rv:48.0) Gecko/48.0 KAIOS/2.5", None, b"mobile"),
        (b"Mozilla/5.0 (Windows Phone 10.0; Android 6; Lumia 950)", None, b"mobile"),
        (b"Opera/9.80 (J2ME/MIDP; Opera Mini/9.5)", None, b"mobile"),
        (b"BlackBerry9700/5.0.0.862", None, b"mobile"),
        (b"Mozilla/5.0 (Linux; Android 9; CUBOT X18) Mobile Safari", None, b"mobile"),
        (GOOGLEBOT, None, b"bot"),
        (GOOGLEBOT, b"?1", b"bot"),
        (b"AdsBot-Google (+http://x)", None, b"bot"),
        (b"Baiduspider+", None, b"bot"),
        (b"Mozilla/5.0 (compatible; Yahoo! Slurp)", None, b"bot"),
        (b"my Crawler", None, b"bot"),
        (b"Mediapartners-Google", None, b"bot"),
        (b"facebookexternalhit/1.1", None, b"bot"),
        (b"Bottle/1.0", None, b"desktop"),
    ],
)
def test_device_classes(agent: bytes | None, hint: bytes | None, device: bytes) -> None:
    fields = {b"user-agent": agent, b"sec-ch-ua-mobile": hint}
    request = Section({name: value for name, value in fields.items() if value is not None})
    assert device_class(request) == device
