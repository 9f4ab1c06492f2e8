"""The image as the Dockerfile makes it: who it runs as, with what rights, and what is in it."""

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from netaddr import IPAddress

from tests.image.harness import CAPABILITIES, LOCKED, Host
from tests.image.images import BASE, IMAGE, call
from tests.kernel.docker import Docker
from tests.kernel.probes import connects, listening
from tests.minimal.machine import HOST
from tests.pages import told, typed

pytestmark = pytest.mark.timeout(400)

NOBODY = 10001


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _in_image(docker: Docker, *words: str, entrypoint: str = "python3") -> str:
    flags = ("--rm", "--network=none", f"--entrypoint={entrypoint}")
    return call(docker, "run", *flags, IMAGE, *words)


def test_controller_and_agent_from_the_image_bring_a_task_up(host: Host) -> None:
    # given tasks of two groups, and the product as its documents start it
    tasks = [host.docker.run(name) for name in ("one", "two", "three")]
    try:
        host.machine.mesos.pids = {name: each.pid for name, each in zip("abc", tasks, strict=True)}
        host.machine.marathon.put("/ab", [("a", HOST), ("b", HOST)], ["one"])
        host.machine.marathon.put("/c", [("c", HOST)], ["two"])

        host.start_agent()
        host.start_controller()
        host.wait_for("up", lambda: host.machine.addresses().keys() == {"a", "b", "c"})

        # then the kernel does what the groups and ports say
        a, b, c = tasks
        at = host.machine.addresses()
        with listening(b, IPAddress("0.0.0.0"), 9000), listening(b, IPAddress("0.0.0.0"), 9999):
            assert connects(a, at["b"], 9000)
            assert not connects(a, at["b"], 9999)
            assert not connects(c, at["b"], 9000)
        # and operators are told so from the same image
        flags = ("--rm", "--network=host", *LOCKED)
        words = ("status", "--etcd", host.machine.etcd)
        assert "tasks       3: 3 IN_SYNC" in call(host.docker, "run", *flags, IMAGE, *words)
        # and the processes have the rights that they were given, and no more
        controller, agent = (_status(host.pid_of(each)) for each in ("controller", "agent"))
        assert controller["Uid"].split() == [str(NOBODY)] * 4
        assert int(controller["CapEff"], 16) == 0
        assert int(agent["CapEff"], 16) == 1 << 12 | 1 << 19 | 1 << 21
    finally:
        host.docker.remove_all()


@pytest.mark.parametrize("without", CAPABILITIES)
def test_an_agent_without_one_of_its_capabilities_says_which(host: Host, without: str) -> None:
    host.start_agent(capabilities=[each for each in CAPABILITIES if each != without])

    assert call(host.docker, "wait", "agent") == "2"
    assert f"CAP_{without}" in host.told("agent")


def test_the_agent_runs_as_the_page_on_docker_says(host: Host, tmp_path: Path) -> None:
    (command,) = (each for each in typed("docs/docker.md") if each.startswith("docker run"))
    places = {
        "YOUR_IMAGE": IMAGE,
        "http://10.0.0.1:2379": host.machine.etcd,
        "-v /var/run/docker.sock": f"-v {host.docker.socket}",
        "-v /": f"-v {tmp_path}/",
    }
    for name in ("var/lib", "run"):
        (tmp_path / name / "marathon-calico").mkdir(parents=True)

    # when it is started, with all that is the reader's own put in
    host.names.append("marathon-calico-agent")
    _type(host.docker, command, places)

    # then it is there for the operator, who ends it as he is told
    flags = ("--rm", "--network=host", *LOCKED)
    asked = ("run", *flags, IMAGE, "get", "hosts", "--etcd", host.machine.etcd)
    host.wait_for("a report", lambda: "reporting" in call(host.docker, *asked))
    (end,) = (each for each in told("docs/uninstall.md") if each.startswith("docker rm -f"))
    _type(host.docker, end, {})
    host.names.remove("marathon-calico-agent")


def test_the_image_puts_the_plugin_on_a_host_and_goes_as_the_pages_say(
    product: Docker, source: Path, tmp_path: Path
) -> None:
    (build,) = (each for each in told("docs/real-cluster.md") if each.startswith("docker build -"))
    (command,) = (each for each in typed("docs/real-cluster.md") if each.startswith("docker run"))
    (remove,) = (each for each in told("docs/uninstall.md") if each.startswith("docker rmi"))
    # Nothing is pulled, and what was built already is not built again.
    own = f"docker build --network none --build-arg PIP_NO_INDEX=1 --build-arg BASE={BASE}"

    _type(product, build, {"docker build": own, " .": f" {source}"})
    _type(product, command, {"run --rm": "run --rm --network none", "-v /": f"-v {tmp_path}/"})

    plugin = tmp_path / "opt/cni/bin/marathon-calico-cni"
    done = subprocess.run(
        [str(plugin)], env={"CNI_COMMAND": "VERSION"}, input=b"", capture_output=True, check=True
    )
    assert b'"supportedVersions": ["0.1.0"' in done.stdout
    assert (tmp_path / "etc/mesos/cni/calico.conf").exists()
    _type(product, remove, {})
    assert call(product, "images", "--quiet", "marathon-calico:latest") == ""


def _type(docker: Docker, command: str, places: Mapping[str, str]) -> None:
    """Give a page's command to the test's engine, with what is the reader's own put in."""
    for place, own in places.items():
        assert place in command
        command = command.replace(place, own)
    call(docker, *shlex.split(command)[1:])


def test_nothing_that_builds_is_left_in_the_image(product: Docker) -> None:
    found = _in_image(
        product,
        "-c",
        "import importlib.util as u; print([u.find_spec(n) for n in ('pip', 'setuptools')])",
    )

    assert found == "[None, None]"
    assert "build" not in _in_image(product, "/", entrypoint="ls").split()


def test_the_image_is_little_more_than_its_base(product: Docker) -> None:
    sizes = call(product, "image", "inspect", "--format", "{{.Size}}", IMAGE, BASE).split()

    assert int(sizes[0]) - int(sizes[1]) < 60_000_000


def test_without_a_command_it_tells_what_it_can_do(product: Docker) -> None:
    told = call(product, "run", "--rm", "--network=none", IMAGE)

    assert "controller" in told
    assert "Usage: marathon-calico" in told
