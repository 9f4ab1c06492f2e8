"""What a real Docker engine makes of the parameters in the rendered apps."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from charts import render_app
from reconciler.agent.preflight import CAPABILITIES
from tests.kernel.docker import IMAGE, Docker, running_docker

VALUES = {
    "image": IMAGE,
    "etcd": ["http://127.0.0.1:2379"],
    "controller": {"marathon": ["http://127.0.0.1:8080"]},
}
NET_BIND_SERVICE = 10
DAC_READ_SEARCH = 2


@pytest.fixture(scope="module")
def engine() -> Iterator[Docker]:
    with running_docker() as made:
        yield made


def said(docker: Docker, app: Mapping[str, Any], *words: str) -> str:
    """What one program says in the app's container, started as Mesos starts it."""
    asked = app["container"]
    assert asked["docker"]["network"] == "HOST"
    parameters = asked["docker"]["parameters"]
    volumes = asked["volumes"]
    # Only those of this test's own: the machine may have an agent.
    assert all(each["hostPath"] == each["containerPath"] for each in volumes)
    return docker.command(
        *("run", "--rm", "--network=host"),
        *(f"--{each['key']}={each['value']}" for each in parameters),
        *(asked["docker"]["image"], "/bin/busybox", *words),
    )


def status(docker: Docker, app: Mapping[str, Any]) -> dict[str, str]:
    """The kernel's account of that program."""
    lines = said(docker, app, "cat", "/proc/self/status").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def capabilities(docker: Docker, app: Mapping[str, Any]) -> set[int]:
    """What it may do, and could ever be allowed to."""
    told = status(docker, app)
    assert told["CapEff"] == told["CapBnd"]
    return {bit for bit in range(64) if int(told["CapBnd"], 16) >> bit & 1}


def test_an_agent_has_the_capabilities_that_it_asks_for_and_no_other(engine: Docker) -> None:
    app = render_app("agent", VALUES)
    assert capabilities(engine, app) == {bit for bit, _ in CAPABILITIES.values()}


def test_reading_environments_adds_one(engine: Docker) -> None:
    app = render_app("agent", {**VALUES, "agent": {"locators": ["proc"]}})
    needed = {bit for bit, _ in CAPABILITIES.values()}
    assert capabilities(engine, app) == needed | {DAC_READ_SEARCH}


@pytest.mark.parametrize("name", ["agent", "dns"])
def test_whoever_has_capabilities_gains_no_more_and_keeps_dockers_filter(
    engine: Docker, name: str
) -> None:
    told = status(engine, render_app(name, VALUES))
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
    assert told["Uid"].split()[0] == "0"


def test_an_agent_writes_the_settings_of_its_hosts_network(engine: Docker) -> None:
    app = render_app("agent", VALUES)
    copy = ("dd", "if=/proc/sys/net/ipv4/ip_forward", "of=/proc/sys/net/ipv4/ip_forward")
    said(engine, app, *copy)
    with pytest.raises(AssertionError, match="Read-only file system"):
        said(engine, render_app("dns", VALUES), *copy)


def test_an_agent_sees_the_hosts_processes(engine: Docker) -> None:
    assert said(engine, render_app("agent", VALUES), "readlink", "/proc/self") != "1"
    assert said(engine, render_app("dns", VALUES), "readlink", "/proc/self") == "1"


def test_the_name_server_may_take_its_port_and_nothing_else(engine: Docker) -> None:
    assert capabilities(engine, render_app("dns", VALUES)) == {NET_BIND_SERVICE}


def test_a_controller_has_no_capability(engine: Docker) -> None:
    app = render_app("controller", VALUES)
    assert capabilities(engine, app) == set()
