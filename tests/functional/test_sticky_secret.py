"""The secret with which the cookies of sticky sessions are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from caching_proxy.load_balancer.hashing import hash_key, keyed_hash

from .support.configured import Configured
from .support.proxy import ProxyProcess
from .support.raw_client import RawClient
from .support.scripted_origin import ScriptedOrigin
from .support.scripted_servers import CALM, NO_STORE, answer
from .support.stand import StartOrigin, StartProxy

SECRET = "a-secret-of-this-test"
OTHER = "another-secret-of-this-test"


@pytest.fixture
def server(start_origin: StartOrigin) -> ScriptedOrigin:
    found = start_origin()
    found.on("/", answer("200 OK", NO_STORE, b"x"))
    return found


def balanced(server: ScriptedOrigin, *options: str) -> tuple[str, ...]:
    named = ("--load-balance", "--servers", f"127.0.0.1:{server.port}:1")
    return (*named, "--strategy", "sticky-cookie", *CALM, *options)


def cookie(proxy: ProxyProcess) -> str:
    """The value that a new session gets."""
    told = proxy.get("/").fields["set-cookie"].partition(";")[0]
    name, _, value = told.partition("=")
    assert name == "caching-proxy-server"
    return value


def takes(proxy: ProxyProcess, value: str) -> bool:
    """Whether a session with this cookie has a server here."""
    answered = proxy.get("/", {"Cookie": f"caching-proxy-server={value}"})
    return "set-cookie" not in answered.fields


def test_all_proxies_with_the_secret_give_the_same_cookie(
    start_proxy: StartProxy, server: ScriptedOrigin, tmp_path: Path
) -> None:
    """Wherever they have it from; after a restart too."""
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    first = start_proxy(*balanced(server, "--sticky-secret", f"file:{file}"))
    value = cookie(first)
    first.stop()
    variables = {"CACHING_PROXY_STICKY_SECRET": SECRET}
    workers = ("--workers", "2")
    again = start_proxy(*balanced(server, *workers), more=variables)
    assert {cookie(again) for _ in range(10)} == {value}
    assert all(takes(again, value) for _ in range(10))


def test_without_the_secret_the_cookie_cannot_be_found_out(
    start_proxy: StartProxy, server: ScriptedOrigin
) -> None:
    name = f"127.0.0.1:{server.port}".encode()
    plain = cookie(start_proxy(*balanced(server)))
    assert plain == f"{hash_key(name):016x}"
    proxy = start_proxy(*balanced(server, "--sticky-secret", SECRET))
    value = cookie(proxy)
    assert value not in (plain, cookie(start_proxy(*balanced(server, "--sticky-secret", OTHER))))
    assert value == f"{keyed_hash(name, SECRET.encode()):016x}"
    assert not takes(proxy, plain)


def test_another_secret_holds_from_a_reload_on(
    start_proxy: StartProxy, server: ScriptedOrigin, tmp_path: Path
) -> None:
    text = (
        f'origin = "{server.url}"\nload_balance = true\nstrategy = "sticky-cookie"\n'
        f'servers = ["127.0.0.1:{server.port}:1"]\nsticky_secret = "%s"\n'
    )
    configured = Configured(start_proxy, tmp_path, text % SECRET)
    value = cookie(configured.proxy)
    configured.reload(text % OTHER)
    assert not takes(configured.proxy, value)
    assert takes(configured.proxy, cookie(configured.proxy))


def test_the_secret_is_never_shown(start_proxy: StartProxy, server: ScriptedOrigin) -> None:
    proxy = start_proxy(*balanced(server, "--sticky-secret", SECRET, "--log-level", "debug"))
    cookie(proxy)
    with RawClient(("127.0.0.1", proxy.admin_port)) as client:
        told = b"".join([client.get(path).body for path in ("/stats", "/servers")])
    assert SECRET not in told.decode() + "".join(proxy.output) + proxy.errors()
