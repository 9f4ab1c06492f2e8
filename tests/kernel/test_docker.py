"""Tasks in containers of a real Docker engine, found by the real agent; real packets."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.codec import decode_applied
from calico.datastore.etcd import EtcdDatastore
from calico.keys import applied_key
from calico.model import HostName
from reconciler.agent.state_file import read_state
from tests.kernel.docker import Docker, running_docker
from tests.kernel.namespaces import Joined
from tests.kernel.probes import connects, listening
from tests.minimal.machine import HOST, Machine, running_machine

ANY = IPAddress("0.0.0.0")
AGENT = "96d7da70-b731-4cfb-96a7-0ee877af615d-S0"
UUID = "5baff64c-d028-47ba-864e-a5ee679fc069"


@pytest.fixture(scope="module")
def engine() -> Iterator[Docker]:
    with running_docker() as made:
        yield made


@pytest.fixture
def docker(engine: Docker) -> Iterator[Docker]:
    yield engine
    engine.remove_all()


@pytest.fixture
def machine(host_network: None, docker: Docker, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as made:
        made.agent_flags = ("--locator", "docker", "--docker-socket", str(docker.socket))
        yield made


def by_label(task: str) -> str:
    return f"--label=MESOS_TASK_ID={task}"


def gone(machine: Machine) -> tuple[str, ...]:
    stored = EtcdDatastore([machine.etcd]).get(applied_key(HostName(HOST)))
    return () if stored is None else decode_applied(HostName(HOST), stored.value).gone


def test_containers_of_one_group_reach_each_other_and_no_other(
    machine: Machine, docker: Docker
) -> None:
    # given containers that are known by what Mesos says, by label and by environment
    machine.mesos.tasks[UUID] = "a"
    tasks = [
        docker.run(f"mesos-{AGENT}.{UUID}"),
        docker.run("labelled", by_label("b")),
        docker.run("told", "--env=MESOS_TASK_ID=c"),
    ]
    machine.marathon.put("/ab", [("a", HOST), ("b", HOST)], ["one"])
    machine.marathon.put("/c", [("c", HOST)], ["two"])

    machine.start("agent")
    machine.start("controller")

    at = machine.wait_up("a", "b", "c")
    a, b, c = tasks
    with ExitStack() as stack:
        for task in tasks:
            for port in (9000, 9999):
                stack.enter_context(listening(task, ANY, port))
        assert connects(a, at["b"], 9000)
        assert connects(b, at["a"], 9000)
        assert not connects(a, at["b"], 9999)
        assert not connects(c, at["a"], 9000)
        assert not connects(a, at["c"], 9000)


def test_a_container_that_starts_late_is_wired_and_one_that_is_killed_is_proven_gone(
    machine: Machine, docker: Docker
) -> None:
    machine.marathon.put("/a", [("a", HOST)], ["one"])
    machine.start("agent")
    machine.start("controller")
    machine.wait_for("a status", lambda: "waiting for network namespace" in told(machine))

    docker.run("late", by_label("a"))
    machine.wait_up("a")
    docker.command("kill", "late")

    machine.wait_for("the proof", lambda: gone(machine) == ("a",))


def test_a_container_on_another_network_is_refused_in_a_sentence(
    machine: Machine, docker: Docker
) -> None:
    docker.run("bridged", by_label("a"), network="bridge")
    machine.marathon.put("/a", [("a", HOST)], ["one"])
    machine.start("agent")
    machine.start("controller")

    machine.wait_for(
        "the reason",
        lambda: "Docker container 'bridged' is on Docker's network 'bridge'" in told(machine),
    )
    assert machine.addresses() == {}


@pytest.mark.parametrize(
    "end", [pytest.param(Docker.stop, id="stopped"), pytest.param(Docker.kill, id="killed")]
)
def test_engine_and_agent_start_anew_and_tasks_notice_nothing(
    machine: Machine, docker: Docker, end: Callable[[Docker], None]
) -> None:
    a, b = docker.run("first", by_label("a")), docker.run("second", by_label("b"))
    machine.marathon.put("/ab", [("a", HOST), ("b", HOST)], ["one"])
    machine.start("agent")
    machine.start("controller")
    at = machine.wait_up("a", "b")
    with listening(b, ANY, 9000), listening(b, ANY, 9999):
        machine.wait_for("the state file", lambda: attached(machine) == {"a", "b"})
        # when the engine goes, the agent goes and comes, and a task waits for the engine
        end(docker)
        machine.kill("agent")
        machine.marathon.put("/c", [("c", HOST)], ["one"])
        machine.marathon.tell("/c", "c", HOST, "TASK_RUNNING")
        machine.start("agent")
        machine.wait_for("the reason", lambda: str(docker.socket) in told(machine))
        assert holds(a, at["b"])

        docker.start()
        docker.run("third", by_label("c"))

        assert machine.wait_up("a", "b", "c").items() >= at.items()
        assert holds(a, at["b"])
        assert gone(machine) == ()

    # then a container that ends is proven gone as ever
    docker.command("kill", "first")
    machine.wait_for("the proof", lambda: gone(machine) == ("a",))


def holds(source: Joined, target: IPAddress) -> bool:
    """Whether a task is reached on the declared port, and on no other."""
    return connects(source, target, 9000) and not connects(source, target, 9999)


def attached(machine: Machine) -> set[str]:
    """The tasks that the agent will know where to find when it starts anew."""
    path = machine.directory / "state" / "state"
    saved = read_state(path, HostName(HOST)) if path.exists() else None
    return set() if saved is None else set(saved.attached)


def told(machine: Machine) -> str:
    """What operators see of the tasks."""
    return machine.cli("get", "tasks").stdout
