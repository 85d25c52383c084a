"""The control API with a token: who does not bring it learns and changes nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .support.proxy import ProxyProcess, environment
from .support.raw_client import RawClient
from .support.stand import StartProxy

TOKEN = "a-secret-of-this-test"


@pytest.fixture
def guarded(start_proxy: StartProxy, tmp_path: Path) -> ProxyProcess:
    """A proxy whose token stands in a file."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return start_proxy("--admin-token", f"file:{file}")


@pytest.mark.parametrize("told", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
@pytest.mark.parametrize(
    "method, path",
    [("GET", "/stats"), *[("POST", f"/{name}") for name in ("clear", "purge", "reload")]],
)
def test_without_it_nothing_is_answered(
    guarded: ProxyProcess, method: str, path: str, told: str | None
) -> None:
    fields = {} if told is None else {"Authorization": told}
    with RawClient(("127.0.0.1", guarded.admin_port)) as client:
        response = client.request(method, path, fields)
    assert response.status == 401
    assert response.fields["www-authenticate"] == "Bearer"
    assert TOKEN.encode() not in response.body


def test_with_it_everything_is(guarded: ProxyProcess) -> None:
    with RawClient(("127.0.0.1", guarded.admin_port)) as client:
        fields = {"Authorization": f"Bearer {TOKEN}"}
        assert client.request("GET", "/stats", fields).status == 200
        assert client.request("POST", "/clear", fields).status == 200
        assert client.get("/healthz").status == client.get("/readyz").status == 200


@pytest.mark.parametrize("given, status", [("", 1), (TOKEN, 0)])
def test_commands_bring_it(guarded: ProxyProcess, given: str, status: int) -> None:
    command = [*ProxyProcess.command("")[:-1], "stats", "--admin-port", str(guarded.admin_port)]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env={**environment(), "CACHING_PROXY_ADMIN_TOKEN": given},
    )
    assert ended.returncode == status
    assert ("admin token is missing or wrong" in ended.stderr) == (status == 1)


def test_it_is_never_shown(guarded: ProxyProcess) -> None:
    assert TOKEN not in "".join(guarded.output) + guarded.errors()
