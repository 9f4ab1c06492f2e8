"""The compose cluster runs: real packets between hosts that are containers."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.image.images import MESOS_AGENT, environment
from tests.image.project import NET, Project
from tests.kernel.docker import Docker

pytestmark = pytest.mark.timeout(400)

PATIENCE = 200.0
PAGE = "http://127.0.0.1:9001"


@pytest.fixture(scope="module")
def project(product: Docker, source: Path) -> Iterator[Project]:
    if shutil.which("docker-compose") is None:
        pytest.skip("Compose is missing: apt-get install docker-compose")
    made = Project(product, source)
    try:
        assert "http://127.0.0.1:9001" in made.up()
        yield made
    finally:
        made.down()


@pytest.fixture
def outside(product: Docker) -> Iterator[None]:
    """This thread is where the engine publishes ports."""
    with product.home.entered():
        yield


def test_stars_isolated_story_comes_true_between_hosts(project: Project, outside: None) -> None:
    # given agents on all hosts
    _wait_for(lambda: project.ask("get", "hosts").count("reporting") == 3)

    # when the probes are deployed
    project.launch("probes-isolated")

    # then who shares a group reaches the other, and nobody else does; asked by name,
    # through our name server, and told by the page that is passed on to loopback
    _wait_for(lambda: _reached() == {("A", "B"), ("B", "A"), ("C", "D"), ("D", "C")})
    tasks = project.ask("get", "tasks")
    assert all(f"{NET}.{number}" in tasks for number in (11, 12))
    assert tasks.count("IN_SYNC") == 5
    # and the page has been told what should be, by the service beside Marathon
    _wait_for(lambda: _judged() == {("ok-allowed", 4 + 4), ("ok-denied", 8)})


def test_stars_first_story_has_its_ports_and_names_on_hosts_networks(
    project: Project, outside: None
) -> None:
    _wait_for(lambda: project.ask("get", "hosts").count("reporting") == 3)

    project.launch("probes-before")

    # Two of four get port 9000, and reach each other by the names of Mesos-DNS.
    try:
        _wait_for(lambda: _is_mutual(_reached(all_answer=False)))
    finally:
        project.stop("probes-before")


def _is_mutual(reached: set[tuple[str, str]]) -> bool:
    return len(reached) == 2 and {(other, one) for one, other in reached} == reached


def test_the_plugin_of_the_mesos_agents_image_attaches_a_container(
    project: Project, product: Docker
) -> None:
    _wait_for(lambda: project.ask("get", "hosts").count("reporting") == 3)
    host = "container:try_host-1_1"

    # when it is called where there is no Python but the one that came with it
    done = subprocess.run(
        [
            *("docker", "run", "--rm", "--interactive", "--network", host, "--pid", host),
            *("--cap-add=SYS_ADMIN", "--volume=try_agent-1-run:/run/marathon-calico"),
            *("--entrypoint=sh", MESOS_AGENT, "-s"),
        ],
        env=environment(product),
        input=ATTACH,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    # then the agent of that host has wired the container, and given it an address
    assert done.returncode == 0, done.stdout + done.stderr
    answer, _, links = done.stdout.partition("}\n")
    address = json.loads(answer + "}")["ip4"]["ip"]
    assert address.startswith("192.168.")
    assert f"inet {address}" in links
    assert "usage: star-probe" in links


#: What Mesos' isolator does for a container, seen from the plugin.
ATTACH = """
unshare -n sleep 60 &
while [ "$(readlink /proc/$!/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
export CNI_COMMAND=ADD CNI_CONTAINERID=c CNI_NETNS=/proc/$!/ns/net CNI_IFNAME=eth0 CNI_PATH=/x
cd /opt/marathon-calico/cni
plugins/marathon-calico-cni <networks/calico.conf && nsenter -t $! -n ip addr show eth0 &&
    star-probe --help
"""


def _reached(*, all_answer: bool = True) -> set[tuple[str, str]]:
    """Which probe says that it reaches which other; nothing while one is silent that must not."""
    try:
        with urllib.request.urlopen(f"{PAGE}/responses", timeout=5) as answer:
            responses = json.load(answer)["responses"]
    except (OSError, ValueError):
        return set()
    found = set()
    for probe, told in responses.items():
        if not told or told["statusCode"] != 200:
            if all_answer:
                return set()
            continue
        targets = told["json"]["status"]["targets"]
        names = {
            each["url"].partition("probe-")[2][:1].upper(): each["reachable"] for each in targets
        }
        found |= {(probe, name) for name, reachable in names.items() if reachable}
    return found


def _judged() -> set[tuple[str, int]]:
    """How many pairs the page calls what, once it knows what to call them."""
    with urllib.request.urlopen(f"{PAGE}/state", timeout=5) as answer:
        state = json.load(answer)
    if state["mode"] != "facts" or state["problem"]:
        return set()
    return set(Counter(cell["state"] for cell in state["cells"]).items())


def _wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.3)
