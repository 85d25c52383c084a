"""The end of the process: SIGTERM and SIGINT drain, a second signal ends it at once."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack

import pytest

from .support.messages import IncompleteError
from .support.processes import alive, children
from .support.proxy import ProxyProcess
from .support.raw_client import RawClient
from .support.scripted_origin import Exchange, ScriptedOrigin
from .support.stand import StartProxy
from .support.waiting import wait_until


def _running(proxy: ProxyProcess, origin: ScriptedOrigin, released: threading.Event) -> RawClient:
    """A client whose exchange runs until the event."""

    def slow(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        exchange.wait(released, "the test")
        exchange.send(b"later")

    origin.on("/running", slow)
    client = proxy.client()
    client.send(client.head("GET", "/running"))
    return client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain(start_proxy: StartProxy, origin: ScriptedOrigin, number: signal.Signals) -> None:
    """Idle connections close, what runs is finished, nothing new is taken, exit status 0."""
    proxy = start_proxy("--grace", "10m")
    released = threading.Event()
    with proxy.client() as idle, _running(proxy, origin, released) as client:
        assert idle.get("/idle").status == 200
        head = client.response_head()
        proxy.process.send_signal(number)
        idle.expect_closed()
        _wait_until_refused(proxy)
        released.set()
        assert client.finish(head).body == b"firstlater"
        client.expect_closed()
        assert proxy.wait() == 0


def _wait_until_refused(proxy: ProxyProcess) -> None:
    def refused() -> bool:
        try:
            proxy.client().close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it was in the listener's queue when that closed
            pass
        return False

    wait_until(refused, "the proxy to listen no more")


def test_a_request_while_draining_is_answered_with_close(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """A head begun before the signal counts as running."""
    proxy = start_proxy("--grace", "10m")
    with proxy.client() as client:
        head = client.head("GET", "/begun")
        client.send(head[:10])
        proxy.barrier()
        proxy.terminate()
        _wait_until_refused(proxy)
        client.send(head[10:])
        response = client.response()
        assert response.status == 200 and "close" in response.fields["connection"]
        client.expect_closed()
    assert proxy.wait() == 0


def test_grace_is_bounded(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--grace", "300ms")
    with _running(proxy, origin, threading.Event()) as client:
        head = client.response_head()
        proxy.terminate()
        with pytest.raises(IncompleteError):
            client.finish(head)
        assert proxy.wait() == 0


def test_a_signal_ends_at_once_what_drains_already(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--grace", "10m")
    with _running(proxy, origin, threading.Event()) as client:
        client.response_head()
        with RawClient(("127.0.0.1", proxy.admin_port)) as admin:
            assert admin.request("POST", "/drain").status == 200
        _wait_until_refused(proxy)
        proxy.terminate()
        assert proxy.wait() == -signal.SIGTERM
        assert "Traceback" not in proxy.kill()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_it_at_once(
    start_proxy: StartProxy, origin: ScriptedOrigin, workers: str
) -> None:
    proxy = start_proxy("--grace", "10m", "--workers", workers)
    with _running(proxy, origin, threading.Event()) as client:
        client.response_head()
        serving = children(proxy.process.pid)
        proxy.terminate()
        _wait_until_refused(proxy)
        proxy.terminate()
        assert proxy.wait() == -signal.SIGTERM
        wait_until(lambda: not any(map(alive, serving)), "its workers to be gone")
        assert "Traceback" not in proxy.kill()


def test_idle_proxy_ends(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--grace", "10m")
    with ExitStack() as stack:
        for client in [stack.enter_context(proxy.client()) for _ in range(50)]:
            assert client.get("/").status == 200
        stack.enter_context(proxy.client())
        proxy.terminate()
        assert proxy.wait() == 0
