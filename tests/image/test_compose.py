"""docker-compose.yml: valid, closed but for loopback, and with every image replaceable."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.image.harness import CAPABILITIES
from tests.image.images import FOREIGN, IMAGE, MESOS_AGENT, ROOT, STAR, environment
from tests.kernel.docker import Docker

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


def test_nothing_of_this_machine_is_mounted_but_a_configuration(services: Services) -> None:
    mounts = [each for service in services.values() for each in service.get("volumes", [])]

    paths = [each for each in mounts if each.startswith(("/", "."))]
    assert paths == [f"{ROOT}/demo/compose/mesos-dns.json:/config.json:ro"]


# From here on: the file is run, where Mesos, Marathon and ZooKeeper only idle.


class Project:
    """The services of the file, as containers on the test's engine."""

    def __init__(self, docker: Docker, source: Path) -> None:
        self._files = ["--file", str(source / "docker-compose.yml")]
        self._files += ["--file", str(source / "unprivileged.yml")]
        # What holds for a Mesos agent that idles: a test's machine may grant no more.
        less = {"privileged": False, "cap_add": ["SYS_ADMIN"]}
        override = {"version": "3.8", "services": dict.fromkeys(sorted(MESOS_AGENTS), less)}
        (source / "unprivileged.yml").write_text(yaml.safe_dump(override))
        foreign = ("ZOOKEEPER", "ETCD", "MESOS_MASTER", "MARATHON", "MESOS_DNS")
        self._environment = (
            environment(docker)
            | {f"{each}_IMAGE": FOREIGN for each in foreign}
            | {"MARATHON_CALICO_IMAGE": IMAGE, "STAR_IMAGE": STAR}
            | {"MESOS_AGENT_BUILT_IMAGE": MESOS_AGENT}
        )

    def call(self, *words: str, given: str = "") -> str:
        """What one command of Compose's says."""
        done = subprocess.run(
            ["docker-compose", "--project-name", "try", *self._files, *words],
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def project(product: Docker, source: Path) -> Iterator[Project]:
    if shutil.which("docker-compose") is None:
        pytest.skip("Compose is missing: apt-get install docker-compose")
    made = Project(product, source)
    try:
        made.call("up", "--detach", "--no-build")
        yield made
    finally:
        made.call("down", "--volumes", "--timeout", "1")


#: What Mesos' isolator does for a container, seen from the plugin.
ATTACH = """
unshare -n sleep 60 &
for i in 1 2 3 4 5 6 7 8 9 10; do
    [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/self/ns/net)" ] && break; sleep 0.1
done
CNI_COMMAND=ADD CNI_CONTAINERID=c CNI_NETNS=/proc/$!/ns/net CNI_IFNAME=eth0 CNI_PATH=/x \
    /opt/marathon-calico/cni/plugins/marathon-calico-cni \
    </opt/marathon-calico/cni/networks/calico.conf
nsenter -t $! -n ip addr show eth0
star-probe --help
"""


@pytest.mark.timeout(400)
def test_compose_brings_up_hosts_that_attach_containers(project: Project) -> None:
    # given the cluster, with its agents registered
    deadline = 60
    for name in ("agent-0", "agent-1", "agent-2", "dns"):
        port = 9403 if name == "dns" else 9402
        project.call(
            *("exec", "-T", name, "python3", "-c", READY.format(port=port, deadline=deadline))
        )
    hosts = project.call("exec", "-T", "controller-1", "marathon-calico", "get", "hosts")
    assert all(f"172.31.80.{number}" in hosts for number in (10, 11, 12))

    # when what stands for a Mesos agent, with no Python of its own, calls the plugin
    told = project.call("exec", "-T", "mesos-agent-1", "sh", "-s", given=ATTACH)

    # then the agent beside it has wired the container
    (address,) = re.findall(r'"ip": "(192\.168\.[0-9.]+)/32"', told)
    assert f"inet {address}/32" in told
    assert "usage: star-probe" in told


READY = """
import time, urllib.request
deadline = time.monotonic() + {deadline}
while True:
    try:
        urllib.request.urlopen("http://127.0.0.1:{port}/readyz", timeout=2)
        break
    except OSError:
        assert time.monotonic() < deadline
        time.sleep(0.2)
"""
