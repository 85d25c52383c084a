"""The files of image/ are what their schemas ask for, and agree with each other."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import kubernetes_validate
import pytest
import yaml

from caching_proxy import __version__
from caching_proxy.settings import Settings

from .support.containers import IMAGE, PORTS, ROOT, compose

DOCKERFILE = (IMAGE / "Dockerfile").read_text()
MANIFESTS = sorted((IMAGE / "kubernetes").glob("*.yaml"))
NODES = [(number, port) for number, port in enumerate(PORTS, 1)]


def manifest(name: str) -> Any:
    return yaml.safe_load((IMAGE / "kubernetes" / name).read_text())


def options(number: int) -> dict[str, str]:
    """What the file of a node sets."""
    text = (IMAGE / f"redis-node-{number}.conf").read_text()
    lines = [line.split(" ", 1) for line in text.splitlines() if line and line[0] != "#"]
    assert len(dict(lines)) == len(lines), "an option is there twice"
    return dict(lines)


def test_compose_takes_the_file() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, str(IMAGE / "docker-compose.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.name))
def test_kubernetes_takes_the_manifest(path: Any) -> None:
    content = yaml.safe_load(path.read_text())
    kubernetes_validate.validate(content, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("number, port", NODES)
def test_a_node_has_the_documented_options(number: int, port: int) -> None:
    documented = {
        "port": str(port),
        "cluster-enabled": "yes",
        "cluster-config-file": "nodes.conf",
        "cluster-node-timeout": "5000",
        "appendonly": "yes",
        "protected-mode": "no",
        "bind": "0.0.0.0",
        "cluster-announce-ip": '""',
        "cluster-announce-port": str(port),
        "cluster-announce-bus-port": str(port + 10_000),
    }
    found = options(number)
    assert {name: found.get(name) for name in documented} == documented


@pytest.mark.parametrize("number, port", NODES)
def test_the_files_of_the_nodes_differ_in_numbers_only(number: int, port: int) -> None:
    def plain(number: int, port: int) -> str:
        text = (IMAGE / f"redis-node-{number}.conf").read_text()
        return text.replace(str(port), "PORT").replace(f"Node {number}", "Node N")

    assert plain(number, port) == plain(*NODES[0])


@pytest.mark.parametrize("number, port", NODES)
def test_compose_has_the_node(number: int, port: int) -> None:
    name = f"redis-node-{number}"
    service = compose()[name]
    assert service["container_name"] == name
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
    mount, volume = service["volumes"]
    assert mount == f"./{name}.conf:{service['command'].split()[1]}:ro"
    assert volume == f"{name}:/data"
    assert service["healthcheck"]["test"][-2:] == [str(port), "ping"]
    assert "profiles" not in service
    (network,) = service["networks"].values()
    assert network["ipv4_address"].endswith(f".1{number}")


def test_the_profile_forms_the_documented_cluster() -> None:
    page = (ROOT / "docs" / "guide" / "containers.md").read_text().replace("\\\n", " ")
    words = re.findall(r"redis-cli (--cluster create .*)", page)[0].split()
    service = compose()["redis-cluster"]
    assert service["profiles"] == ["cluster"]
    assert service["command"][-1].split("|| redis-cli ")[1].split() == words


def test_all_services_are_bounded_and_open_to_this_machine_only() -> None:
    for name, service in compose().items():
        assert service["mem_limit"], name
        assert service["restart"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert re.fullmatch(r"redis:7\.2-alpine|caching-proxy", service["image"]), name


def test_a_name_starts_redis_alone_and_the_proxy_with_it() -> None:
    services = compose()
    assert "depends_on" not in services["redis"]
    assert set(services["proxy"]["depends_on"]) == {"redis"}
    assert services["proxy"]["profiles"] == ["proxy"]


def test_the_image_is_small_unprivileged_and_checked() -> None:
    build, runtime = DOCKERFILE.split("\nFROM ")[1:]
    assert "gcc" in build and "gcc" not in runtime
    assert "RUN" not in runtime
    for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.M):
        assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", base)
    user = re.search(r"^USER (\d+):(\d+)$", runtime, re.M)
    assert user is not None and int(user[1]) > 0 and int(user[2]) > 0
    assert manifest("deployment.yaml")["spec"]["template"]["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user[1]),
        "runAsGroup": int(user[2]),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for instruction in ("HEALTHCHECK", "STOPSIGNAL SIGTERM", "EXPOSE 3000", "ENTRYPOINT"):
        assert f"\n{instruction}" in runtime


def test_the_build_gets_what_it_copies_and_nothing_secret() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert all((ROOT / name).exists() for name in kept)
    project = (ROOT / "pyproject.toml").read_text()
    needed = {"README.md", "LICENSE", "requirements-runtime.txt"}
    assert all(f'"{name}"' in project for name in needed)
    assert {*needed, "pyproject.toml", "setup.py", "src"} <= set(kept)


def test_the_end_of_a_container_is_longer_than_that_of_the_proxy() -> None:
    grace = Settings.model_fields["grace"].default
    assert int(compose()["proxy"]["stop_grace_period"].rstrip("s")) > grace
    pod = manifest("deployment.yaml")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    pause = re.fullmatch(
        r"import time; time\.sleep\((\d+)\)",
        container["lifecycle"]["preStop"]["exec"]["command"][2],
    )
    assert pause is not None
    assert pod["terminationGracePeriodSeconds"] > grace + int(pause[1])


def test_the_manifests_belong_together() -> None:
    deployment, service, budget = map(
        manifest, ("deployment.yaml", "service.yaml", "disruption-budget.yaml")
    )
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["maxUnavailable"] < deployment["spec"]["replicas"]
    (container,) = template["spec"]["containers"]
    assert container["image"] == f"caching-proxy:{__version__}"
    assert service["spec"]["ports"][0]["targetPort"] in [p["name"] for p in container["ports"]]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
