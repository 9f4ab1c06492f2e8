"""docker-compose.yml: valid, closed but for loopback, and with every image replaceable."""

import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.image.harness import CAPABILITIES
from tests.image.images import ROOT
from tests.image.project import RESOURCES

FILE = ROOT / "docker-compose.yml"
MESOS_AGENTS = {"mesos-agent-1", "mesos-agent-2"}
AGENTS = {"agent-0", "agent-1", "agent-2"}

Services = dict[str, dict[str, Any]]


def _config(**own: str) -> dict[str, Any]:
    """The file as Compose understands it."""
    if shutil.which("docker-compose") is None:
        pytest.skip("Compose is missing: apt-get install docker-compose")
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        ["docker-compose", "--file", str(FILE), "config"],
        env=kept | own,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    config: dict[str, Any] = yaml.safe_load(done.stdout)
    return config


@pytest.fixture(scope="module")
def services() -> Services:
    found: Services = _config()["services"]
    return found


def test_the_cluster_has_all_that_a_cluster_has(services: Services) -> None:
    assert services.keys() == AGENTS | MESOS_AGENTS | {
        *("zookeeper", "etcd", "mesos-master", "marathon", "mesos-dns"),
        *("controller-1", "controller-2", "dns", "page", "facts", "host-0", "host-1", "host-2"),
    }


def test_every_image_can_be_another() -> None:
    variables = re.findall(r"\$\{(\w+_IMAGE):-", FILE.read_text())

    config = _config(**{name: f"elsewhere/{name.lower()}:1" for name in variables})

    images = {each["image"] for each in config["services"].values()}
    assert images == {f"elsewhere/{name.lower()}:1" for name in variables}


def test_its_network_can_be_another() -> None:
    moved = yaml.safe_dump(_config(CLUSTER_NET="10.9.8"))

    assert "10.9.8.2:2379" in moved
    assert "172.31.80" not in moved


def test_only_mesos_agents_are_privileged(services: Services) -> None:
    assert {name for name, each in services.items() if each.get("privileged")} == MESOS_AGENTS


def test_only_loopback_is_published(services: Services) -> None:
    published = [port for each in services.values() for port in each.get("ports", [])]

    assert sorted(published) == [f"127.0.0.1:{n}:{n}/tcp" for n in (5050, 8080, 9001)]


def test_agents_alone_have_capabilities_and_root(services: Services) -> None:
    ours = {name: each for name, each in services.items() if each["image"].startswith("marathon-")}

    assert ours.keys() - MESOS_AGENTS >= AGENTS | {"controller-1", "dns", "host-1"}
    for name in ours.keys() - MESOS_AGENTS:
        each = ours[name]
        assert each["cap_drop"] == ["ALL"], name
        assert each["read_only"], name
        assert "no-new-privileges:true" in each["security_opt"], name
        assert each.get("cap_add", []) == (list(CAPABILITIES) if name in AGENTS else []), name
        assert each.get("user") == ("0:0" if name in AGENTS else None), name


@pytest.mark.parametrize("number", ["1", "2"])
def test_mesos_agent_and_ours_are_on_one_host(services: Services, number: str) -> None:
    ours, theirs = services[f"agent-{number}"], services[f"mesos-agent-{number}"]

    host = f"service:host-{number}"
    assert [ours["network_mode"], ours["pid"]] == [host, host]
    assert [theirs["network_mode"], theirs["pid"]] == [host, host]
    address = theirs["environment"]["MESOS_IP"]
    assert f"--host={address}" in ours["command"]
    assert f"--mesos-agent=http://{address}:5051" in ours["command"]
    shared = f"agent-{number}-run:/run/marathon-calico:rw"
    assert shared in ours["volumes"]
    assert shared in theirs["volumes"]


@pytest.mark.parametrize("number", ["1", "2"])
def test_hosts_have_what_tasks_on_their_network_ask_for(services: Services, number: str) -> None:
    # The ports of Star's first story, and names of other tasks.
    assert RESOURCES in services[f"mesos-agent-{number}"]["command"]
    (server,) = services[f"host-{number}"]["dns"]
    assert services["dns"]["networks"]["cluster"]["ipv4_address"] == server


def test_nothing_of_this_machine_is_mounted_but_a_configuration(services: Services) -> None:
    mounts = [each for service in services.values() for each in service.get("volumes", [])]

    paths = [each for each in mounts if each.startswith(("/", "."))]
    assert paths == [f"{ROOT}/demo/compose/mesos-dns.json:/config.json:ro"]
