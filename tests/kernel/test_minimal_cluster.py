"""The real controller and agent against a Marathon of two resources and a stream."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from netaddr import IPAddress

from tests.kernel.namespaces import Namespace
from tests.kernel.probes import connects, listening
from tests.minimal.machine import HOST, Machine, running_machine

ANY = IPAddress("0.0.0.0")


@pytest.fixture
def machine(host_network: None, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as made:
        yield made


@pytest.fixture
def task(machine: Machine, namespace: Callable[[], Namespace]) -> Callable[[str], Namespace]:
    """Makes the namespace of a task that listens on 9000 and 9999."""

    def make(name: str) -> Namespace:
        made = namespace()
        machine.mesos.pids[name] = made.pid
        return made

    return make


def test_groups_decide_who_reaches_whom(machine: Machine, task: Callable[[str], Namespace]) -> None:
    a, b, c = (task(name) for name in "abc")
    machine.marathon.put("/ab", [("a", HOST), ("b", HOST)], ["one"])
    machine.marathon.put("/c", [("c", HOST)], ["two"])
    machine.start("agent")
    machine.start("controller")
    at = machine.wait_up("a", "b", "c")
    with ExitStack() as stack:
        for each in (a, b, c):
            for port in (9000, 9999):
                stack.enter_context(listening(each, ANY, port))
        assert connects(a, at["b"], 9000)
        assert connects(b, at["a"], 9000)
        assert not connects(a, at["b"], 9999)
        assert not connects(a, at["c"], 9000)
        assert not connects(c, at["a"], 9000)
    assert machine.cli("why", "a", "b:9000").returncode == 0
    assert machine.cli("why", "a", "c:9000").returncode == 1
    assert machine.cli("status").returncode == 0


def test_a_task_that_an_event_tells_of_comes_and_goes(
    machine: Machine, task: Callable[[str], Namespace]
) -> None:
    machine.start("controller")
    machine.start("agent")
    machine.wait_for("a stream", lambda: machine.marathon.streams > 0)
    task("a")
    machine.marathon.put("/a", [("a", HOST)], ["one"])
    machine.marathon.tell("/a", "a", HOST, "TASK_RUNNING")
    machine.wait_up("a")
    machine.marathon.remove("/a")
    machine.marathon.tell("/a", "a", HOST, "TASK_KILLED")
    machine.wait_up()


def test_kill_9_of_agent_and_controller_changes_nothing_and_heals(
    machine: Machine, task: Callable[[str], Namespace]
) -> None:
    a, b = task("a"), task("b")
    machine.marathon.put("/ab", [("a", HOST), ("b", HOST)], ["one"])
    machine.start("agent")
    machine.start("controller")
    at = machine.wait_up("a", "b")
    with listening(b, ANY, 9000), listening(b, ANY, 9999):
        for name in ("agent", "controller"):
            machine.kill(name)
            assert connects(a, at["b"], 9000)
            assert not connects(a, at["b"], 9999)
            machine.start(name)
        task("c")
        machine.marathon.put("/c", [("c", HOST)], ["two"])
        machine.wait_for("a stream", lambda: machine.marathon.streams > 0)
        machine.marathon.tell("/c", "c", HOST, "TASK_RUNNING")
        assert machine.wait_up("a", "b", "c")["a"] == at["a"]
        assert connects(a, at["b"], 9000)
