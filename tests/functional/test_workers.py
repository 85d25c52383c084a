"""Several workers under a supervisor: one proxy to everybody who uses it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .support.configured import Configured
from .support.processes import alive, children
from .support.proxy import ProxyProcess, environment
from .support.purging import post
from .support.raw_client import RawClient
from .support.scripted_origin import ScriptedOrigin, answer, fresh
from .support.stand import StartProxy
from .support.waiting import wait_until


@pytest.fixture
def fleet(start_proxy: StartProxy) -> ProxyProcess:
    """A proxy of two workers."""
    return start_proxy("--workers", "2", "--worker-timeout", "2s")


def admin(proxy: ProxyProcess, method: str, path: str, body: bytes = b"") -> dict[str, object]:
    with RawClient(("127.0.0.1", proxy.admin_port)) as client:
        response = client.request(method, path, {}, body)
    assert response.status == 200, response
    found: dict[str, object] = json.loads(response.body)
    return found


def warm(proxy: ProxyProcess, target: str) -> None:
    """Ask until every worker has the response: connections are shared out among them."""
    wait_until(
        lambda: proxy.get(target).cache == "HIT" and proxy.stats()["entries"] >= 2,
        "both workers to have stored it",
    )


def test_the_figures_are_the_sums(fleet: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/sum", fresh())
    for _ in range(40):
        fleet.get("/sum")
    stats = fleet.stats()
    assert stats["workers"] == 2
    assert stats["requests"] == stats["connections_accepted"] == 40
    assert stats["hits"] + stats["misses"] == 40
    assert stats["misses"] == stats["entries"] == len(origin.seen("/sum"))
    assert stats["hit_ratio"] == round(stats["hits"] / 40, 4)
    assert stats["memory_limit"] == 256 << 20


def test_workers_interrupt_nobody_and_their_supervisor_may(fleet: ProxyProcess) -> None:
    assert os.sched_getscheduler(fleet.process.pid) == os.SCHED_OTHER
    assert [os.sched_getscheduler(pid) for pid in children(fleet.process.pid)] == [
        os.SCHED_BATCH
    ] * 2


@pytest.mark.parametrize("by", ["method", "control API", "tag"])
def test_a_purge_reaches_every_worker(fleet: ProxyProcess, origin: ScriptedOrigin, by: str) -> None:
    tagged = {"Cache-Control": "max-age=600", "Cache-Tag": "shop"}
    origin.on("/purged", answer("200 OK", tagged, b"old"))
    warm(fleet, "/purged")
    if by == "method":
        receipt = json.loads(fleet.request("PURGE", "/purged").body)
    elif by == "tag":
        receipt = json.loads(fleet.request("PURGE", "/", {"Cache-Tag": "shop"}).body)
    else:
        receipt = admin(fleet, "POST", "/purge", b'{"url": "/purged"}')
    assert receipt == {"purged": 2, "soft": False, "workers": 2}
    assert fleet.stats()["entries"] == 0
    assert admin(fleet, "POST", "/clear") == {"removed": 0, "workers": 2}


def test_an_unsafe_request_at_one_worker_is_heeded_by_all(
    fleet: ProxyProcess, origin: ScriptedOrigin
) -> None:
    """RFC 9111 4.4; the very next request at any worker asks the origin."""
    for round_ in range(10):
        origin.on("/changed", fresh(b"%d" % round_))
        warm(fleet, "/changed")
        with fleet.client() as kept:  # one connection, one worker
            kept.get("/changed")
            origin.on("/changed", answer("204 No Content"), fresh(b"new %d" % round_))
            assert fleet.request("POST", "/changed").status == 204
            assert kept.get("/changed").body == b"new %d" % round_
        assert {fleet.get("/changed").body for _ in range(8)} == {b"new %d" % round_}


def test_a_fetch_from_before_an_unsafe_request_is_not_joined(
    fleet: ProxyProcess, origin: ScriptedOrigin
) -> None:
    """Nor by a worker that has not seen that request."""
    origin.on("/raced", lambda exchange: exchange.send(b""))
    with ExitStack() as stack:
        early = [stack.enter_context(fleet.client()) for _ in range(8)]
        for client in early:
            client.send(client.head("GET", "/raced"))
        wait_until(lambda: len(origin.seen("/raced")) == 2, "both workers to have asked")
        fetches = origin.served_on[-2:]
        wait_until(lambda: fleet.stats()["collapsed"] == 6, "the others to wait for these")
        origin.on("/raced", answer("204 No Content"), fresh(b"new"))
        assert fleet.request("POST", "/raced").status == 204
        assert {fleet.get("/raced").body for _ in range(8)} == {b"new"}
        for connection in fetches:
            connection.sock.sendall(fresh(b"old"))
        assert {client.response().body for client in early} == {b"old"}
    assert {fleet.get("/raced").body for _ in range(8)} == {b"new"}


def test_queries_that_only_one_worker_knows_for_the_same_are_heeded(
    fleet: ProxyProcess, origin: ScriptedOrigin
) -> None:
    """A worker that has not seen the No-Vary-Search invalidates what another stored under it."""
    fields = {"Cache-Control": "max-age=600", "No-Vary-Search": 'params=("utm")'}
    for round_ in range(10):
        target = f"/search{round_}?x=1&utm=5"
        origin.on(target, answer("200 OK", fields, b"old"))
        with fleet.client() as kept:
            assert [kept.get(target).cache for _ in range(2)] == ["MISS", "HIT"]
            origin.on(target, answer("204 No Content"), answer("200 OK", fields, b"new"))
            assert fleet.request("POST", target).status == 204
            assert kept.get(target).body == b"new"


def test_a_group_that_an_answer_invalidates_goes_at_every_worker(
    fleet: ProxyProcess, origin: ScriptedOrigin
) -> None:
    grouped = {"Cache-Control": "max-age=600", "Cache-Groups": '"g"'}
    origin.on("/grouped", answer("200 OK", grouped, b"old"))
    warm(fleet, "/grouped")
    origin.on("/act", answer("200 OK", {"Cache-Group-Invalidation": '"g"'}))
    fleet.request("POST", "/act")
    wait_until(lambda: fleet.stats()["entries"] == 0, "both workers to have dropped it")


def test_explain_finds_what_any_worker_has(fleet: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/explained", fresh())
    fleet.get("/explained")
    report = admin(fleet, "POST", "/explain", b'{"url": "/explained"}')
    assert "answered from the store" in str(report["answer"])
    assert report["workers"] == "stored in 1 of 2"


def test_a_killed_worker_is_replaced(fleet: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/survives", fresh())
    before = children(fleet.process.pid)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    wait_until(
        lambda: len(after := children(fleet.process.pid)) == 2 and before[0] not in after,
        "a new worker",
    )
    wait_until(lambda: fleet.stats()["workers"] == 2, "it to serve")
    assert fleet.stats()["worker_restarts"] == 1
    assert {fleet.get("/survives").status for _ in range(16)} == {200}


def test_without_a_worker_it_is_not_healthy(fleet: ProxyProcess) -> None:
    def health() -> int:
        with RawClient(("127.0.0.1", fleet.admin_port)) as client:
            return client.get("/healthz").status

    def health_without_workers() -> int:
        for worker in children(fleet.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        return health()

    wait_until(lambda: health_without_workers() == 503, "it to be told")
    wait_until(lambda: health() == 200, "the successors")


def test_requests_wait_for_the_successor_of_a_killed_worker(
    fleet: ProxyProcess, origin: ScriptedOrigin
) -> None:
    """The supervisor holds the sockets: nobody is refused meanwhile."""
    origin.on("/waits", fresh())
    for worker in children(fleet.process.pid):
        os.kill(worker, signal.SIGKILL)
    assert {fleet.get("/waits").status for _ in range(8)} == {200}


def test_a_purge_while_a_worker_starts_is_complete(fleet: ProxyProcess) -> None:
    """It has nothing yet that could be purged."""
    os.kill(children(fleet.process.pid)[0], signal.SIGKILL)
    wait_until(lambda: "it is replaced" in fleet.errors(), "it to be gone")
    while fleet.stats()["workers"] < 2:
        assert post(fleet, url="/any").status == 200
    assert "Traceback" not in fleet.errors()


def test_the_number_of_workers_does_not_follow_the_cores(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """Of `auto`, until the next reload: a quota may change while it runs."""
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core is one worker")
    proxy = start_proxy("--workers", "auto")
    os.sched_setaffinity(proxy.process.pid, {min(cores)})
    for worker in children(proxy.process.pid):
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: proxy.errors().count("it is replaced") == len(cores), "them to be gone")
    wait_until(lambda: proxy.stats()["workers"] == len(cores), "their successors")
    assert {proxy.get("/").status for _ in range(16)} == {200}


def test_a_worker_that_hangs_is_replaced(fleet: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/hangs", fresh())
    hung = children(fleet.process.pid)[0]
    os.kill(hung, signal.SIGSTOP)
    wait_until(lambda: not alive(hung), "the hung worker to be ended")
    wait_until(lambda: fleet.stats()["workers"] == 2, "its successor to serve")
    assert {fleet.get("/hangs").status for _ in range(8)} == {200}


def test_a_worker_that_cannot_start_is_tried_again_after_growing_pauses(
    start_proxy: StartProxy, tmp_path: Path
) -> None:
    """The others serve meanwhile: its log cannot be opened, then it can."""
    folder = tmp_path / "logs"
    folder.mkdir()
    proxy = start_proxy("--workers", "2", "--access-log", str(folder / "access.log"))
    shutil.rmtree(folder)
    os.kill(children(proxy.process.pid)[0], signal.SIGKILL)
    wait_until(lambda: proxy.errors().count("does not start") >= 3, "several attempts")
    assert f"'{folder}/access.log' cannot be a file" in proxy.errors()
    assert {proxy.get("/").status for _ in range(16)} == {200}
    folder.mkdir()
    wait_until(lambda: proxy.stats()["workers"] == 2, "its return")


def test_no_connection_waits_for_a_worker_that_pauses(
    fleet: ProxyProcess, origin: ScriptedOrigin
) -> None:
    origin.on("/pauses", fresh())
    stays = children(fleet.process.pid)[0]
    for round_ in range(4):  # each in a row is started later
        killed = next(pid for pid in children(fleet.process.pid) if pid != stays)
        os.kill(killed, signal.SIGKILL)
        ended = round_ + 1
        wait_until(lambda n=ended: fleet.errors().count("it is replaced") >= n, "it to be gone")
        assert {fleet.get("/pauses").status for _ in range(16)} == {200}
        wait_until(lambda: fleet.stats()["workers"] == 2, "its successor to serve")


def test_no_code_of_the_working_directory_runs(
    start_proxy: StartProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there when a worker is started is none of its modules."""
    monkeypatch.chdir(tmp_path)
    proxy = start_proxy("--workers", "2")
    (tmp_path / "uvloop.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    os.kill(children(proxy.process.pid)[0], signal.SIGKILL)
    wait_until(lambda: proxy.stats()["worker_restarts"] == 1, "it to be gone")
    wait_until(lambda: proxy.stats()["workers"] == 2, "its successor")
    assert not (tmp_path / "ran").exists()


def test_without_its_supervisor_a_worker_ends(start_proxy: StartProxy) -> None:
    proxy = start_proxy("--workers", "2")
    workers = children(proxy.process.pid)
    proxy.kill()
    wait_until(lambda: not any(map(alive, workers)), "the workers to end")


def test_a_terminal_signals_all_and_only_the_supervisor_heeds(
    fleet: ProxyProcess, origin: ScriptedOrigin
) -> None:
    """Ctrl-C, or systemd's stop, reaches every process of the group."""
    workers = children(fleet.process.pid)
    for worker in workers:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker, number)
    assert {fleet.get("/heeds").status for _ in range(8)} == {200}
    assert children(fleet.process.pid) == workers


def test_an_exchange_under_way_ends_when_draining(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--workers", "2", "--grace", "20")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"

    with proxy.client() as client:
        origin.on("/slow", lambda exchange: exchange.send(head + b"first"))
        client.send(client.head("GET", "/slow"))
        wait_until(lambda: origin.seen("/slow"), "the origin to be asked")
        proxy.terminate()
        wait_until(lambda: _refused(proxy), "new connections to be refused")
        origin.served_on[-1].sock.sendall(b"-last")
        assert client.response().body == b"first-last"
    assert proxy.wait() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_control_api_drains_all(start_proxy: StartProxy, workers: str) -> None:
    """As SIGTERM does, with a receipt."""
    proxy = start_proxy("--workers", workers)
    with proxy.client() as kept:
        assert kept.get("/").status == 200
        receipt = admin(proxy, "POST", "/drain")
        assert receipt == {"draining": True, "workers": int(workers), "connections": 1}
    assert proxy.wait() == 0


def _refused(proxy: ProxyProcess) -> bool:
    try:
        with proxy.client():
            return False
    except ConnectionError:
        return True


def test_memory_and_connections_are_for_all_workers_together(start_proxy: StartProxy) -> None:
    proxy = start_proxy("--workers", "2", "--memory", "1MB", "--max-connections", "11")
    stats = proxy.stats()
    assert stats["memory_limit"] == 1 << 20
    assert stats["connections_limit"] == 12


def test_auto_is_one_a_core(start_proxy: StartProxy) -> None:
    cores = len(os.sched_getaffinity(0))
    proxy = start_proxy("--workers", "auto")
    assert len(children(proxy.process.pid)) == cores
    assert f"{cores} workers" in proxy.output[0]


def test_a_port_in_use_is_found_out(fleet: ProxyProcess) -> None:
    """SO_REUSEPORT must not hide it."""
    command = [*ProxyProcess.command("http://127.0.0.1:9"), "--workers", "2"]
    command += ["--host", "127.0.0.1", "--port", str(fleet.port), "--admin-port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    assert ended.returncode == 1
    assert re.fullmatch(r"caching-proxy: port \d+ on 127\.0\.0\.1 is in use: .*\n", ended.stderr)


def test_a_unix_socket_is_everybodys(start_proxy: StartProxy, socket_path: Path) -> None:
    proxy = start_proxy("--workers", "2", "--unix-socket", str(socket_path))
    with RawClient(str(socket_path)) as client:
        assert client.get("/").status == 200
    assert proxy.get("/").status == 200


@pytest.fixture
def user() -> Iterator[str]:
    """One that is not root; skips with the reason where this process is not."""
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    yield "nobody"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_workers_become_another_user(
    start_proxy: StartProxy, origin: ScriptedOrigin, user: str, workers: str, tmp_path: Path
) -> None:
    """What needs root is done before; the log is theirs."""
    log = tmp_path / "access.log"
    proxy = start_proxy("--workers", workers, "--user", user, "--access-log", str(log))
    assert proxy.get("/as-nobody").status == 200
    serving = children(proxy.process.pid) or [proxy.process.pid]
    for pid in serving:
        status = Path(f"/proc/{pid}/status").read_text()
        ids = re.findall(r"^[UG]id:\s+(\d+)\s+(\d+)\s+(\d+)", status, re.MULTILINE)
        assert ids and all(len(set(found)) == 1 and found[0] != "0" for found in ids)
    assert log.stat().st_uid != 0
    wait_until(lambda: "/as-nobody" in log.read_text(), "the line in the log")


def test_a_successor_has_what_the_others_have(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    """What stands in files is read when a configuration is taken over, not when a worker starts."""
    token = tmp_path / "token"
    token.write_text("the first")
    configured = Configured(
        start_proxy,
        tmp_path,
        f'origin = "{origin.url}"\nworkers = 2\n[[routes]]\npath = "/"\n'
        f'response_headers = {{ set = {{ X-Token = "file:{token}" }} }}\n',
    )
    proxy = configured.proxy

    def tokens() -> set[str]:
        return {proxy.get("/").fields["x-token"] for _ in range(16)}

    token.write_text("the second")
    for worker in children(proxy.process.pid):
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: proxy.errors().count("it is replaced") == 2, "them to be gone")
    wait_until(lambda: proxy.stats()["workers"] == 2, "their successors")
    assert tokens() == {"the first"}
    configured.reload()
    assert tokens() == {"the second"}


def test_a_reload_reads_for_workers_what_they_may_not(
    start_proxy: StartProxy, origin: ScriptedOrigin, user: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("of root")
    token.chmod(0o600)
    route = '[[routes]]\npath = "/"\nresponse_headers = { set = { X-Token = "file:%s" } }\n'
    configured = Configured(
        start_proxy,
        tmp_path,
        f'origin = "{origin.url}"\nworkers = 2\nuser = "{user}"\n{route % token}',
    )
    configured.reload()
    assert configured.proxy.get("/").fields["x-token"] == "of root"


def test_a_socket_that_its_user_may_not_remove_stays(
    start_proxy: StartProxy, user: str, socket_path: Path
) -> None:
    proxy = start_proxy("--user", user, "--unix-socket", str(socket_path))
    proxy.terminate()
    assert proxy.wait() == 0
    assert "Traceback" not in proxy.kill()
    assert socket_path.exists()
    proxy = start_proxy("--unix-socket", str(socket_path))
    with RawClient(str(socket_path)) as client:
        assert client.get("/").status == 200, "the next one takes its place"
