"""image/ with real servers: the documented commands, against what its files make of a server."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from .support.containers import IMAGE, PORTS, ROOT, ImageNodes, address, compose
from .support.programs import requires_program
from .support.proxy import ProxyProcess, environment
from .support.raw_client import RawClient
from .support.redis_server import BINARY, RedisServer
from .support.scripted_origin import ScriptedOrigin, fresh
from .support.sharing import PATIENT, connected
from .support.stand import StartProxy
from .support.waiting import wait_until

PAGE = ROOT / "docs" / "guide" / "containers.md"


def documented(*having: str) -> list[str]:
    """The words of the only command of the page that has these."""
    lines = PAGE.read_text().replace("\\\n", " ").splitlines()
    commands = [shlex.split(line[2:]) for line in lines if line.startswith("$ ")]
    (found,) = [words for words in commands if set(having) <= set(words)]
    return found


class Documented(ProxyProcess):
    """`python app.py start` with the page's options for a cluster."""

    @staticmethod
    def command(origin: str) -> list[str]:
        _, app, *words = documented("app.py", "--use-cluster")
        words[words.index("--origin") + 1] = origin
        return [sys.executable, str(ROOT / app), *words]


def run(*words: str) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, env=environment(), timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=["redis-server", "valkey-server"])
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ImageNodes]:
    """The nodes of image/, made a cluster by the documented command, with addresses for names."""
    program = str(BINARY) if request.param == "valkey-server" else requires_program(request.param)
    words = documented("redis-cli", "create")
    words = words[words.index("redis-cli") + 1 :]
    for number, port in enumerate(PORTS, 1):
        words[words.index(f"redis-node-{number}:{port}")] = f"{address(number)}:{port}"
    nodes = ImageNodes(program, tmp_path)
    try:
        nodes.start()
        output = run(requires_program("redis-cli"), *words)
        assert "[OK] All 16384 slots covered." in output
        yield nodes
    finally:
        nodes.kill()


def redirections() -> set[str]:
    """Where the first node sends clients for keys of others."""
    asked = [run(requires_program("redis-cli"), "-p", "7001", "GET", key) for key in "abcdef"]
    return {answer.split()[2] for answer in asked if answer.startswith("MOVED")}


def test_the_documented_cluster(nodes: ImageNodes, origin: ScriptedOrigin) -> None:
    """Proxies on the machine are led to the published ports, wherever a slot is."""
    published = {"localhost:7002", "localhost:7003"}
    wait_until(lambda: redirections() == published, "primaries to know each other's names")
    targets = [f"/products/{number}" for number in range(1, 31)]
    for target in targets:
        origin.on(target, fresh())
    proxies = [Documented(origin.url, *PATIENT) for _ in range(2)]
    try:
        for proxy in proxies:
            wait_until(lambda proxy=proxy: connected(proxy), "the proxy to use the cluster")
        one, two = proxies
        assert [one.get(target).cache for target in targets] == ["MISS"] * len(targets)
        wait_until(lambda: one.stats()["redis_stored"] == len(targets), "all to be stored")
        assert [two.get(target).cache for target in targets] == ["HIT"] * len(targets)
        at = ("--redis-host", "localhost", "--redis-port", "7001", "--use-cluster")
        app = (sys.executable, str(ROOT / "app.py"))
        assert json.loads(run(*app, "stats", *at, "--json"))["entries"] == len(targets)
        assert run(*app, "clear-cache", *at) == f"Removed {len(targets)} cached responses.\n"
        for proxy in proxies:
            wait_until(lambda proxy=proxy: not proxy.stats()["entries"], "memory to be empty")
        assert two.get(targets[0]).cache == "MISS"
    finally:
        for proxy in proxies:
            proxy.stop()


def test_the_single_redis(tmp_path: Path) -> None:
    """What its command line says is what a server takes."""
    program, *options = shlex.split(compose()["redis"]["command"])
    assert program == "redis-server"
    server = RedisServer(tmp_path, *options)
    try:
        server.start()
        assert server.do("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"268435456"]
        policy = [b"maxmemory-policy", b"volatile-lru"]
        assert server.do("CONFIG", "GET", "maxmemory-policy") == policy
    finally:
        server.kill()


def test_the_health_check_of_the_image(proxy: ProxyProcess) -> None:
    found = re.search(
        r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", (IMAGE / "Dockerfile").read_text(), re.M
    )
    assert found is not None
    program, *words = json.loads(
        found[1].replace("127.0.0.1:3001", f"127.0.0.1:{proxy.admin_port}")
    )
    assert program == "python"

    def status() -> int:
        command = [sys.executable, *words]
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode

    assert status() == 0
    proxy.stop()
    assert status() != 0


def test_the_arguments_and_probes_of_the_deployment(
    start_proxy: StartProxy, redis: RedisServer
) -> None:
    pod = yaml.safe_load((IMAGE / "kubernetes" / "deployment.yaml").read_text())["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    verb, origin, *options = container["args"]
    assert (verb, origin[:9]) == ("start", "--origin=")
    options[options.index("--admin-host=0.0.0.0")] = "--admin-host=127.0.0.1"
    values = {"redis-url": f"redis://127.0.0.1:{redis.port}", "admin-token": "a-secret-token"}
    variables: Mapping[str, str] = {
        each["name"]: values[each["valueFrom"]["secretKeyRef"]["key"]] for each in container["env"]
    }
    proxy = start_proxy(*options, "--store", "redis", more=variables)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 3000, "admin": 3001}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == "admin"
        wait_until(lambda asked=asked: admin_status(proxy, asked["path"]) == 200, asked["path"])
    assert admin_status(proxy, "/stats") == 401


def admin_status(proxy: ProxyProcess, path: str) -> int:
    """The status of a request as kubelet sends it: to an address of the pod, without a token."""
    with RawClient(("127.0.0.1", proxy.admin_port)) as client:
        return client.request("GET", path, {"Host": "10.1.2.3:3001"}).status
