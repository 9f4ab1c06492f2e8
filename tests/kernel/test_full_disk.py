"""An agent whose disk is full: tasks come and go as before, and operators see it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.namespaces import Namespace
from tests.minimal.machine import HOST, Machine, running_machine

#: An agent that begins so has a disk of its own for its state, of 64 pages.
MOUNT = 'mount -t tmpfs -o size=256k,mode=700 tmpfs "$0" && exec "$@"'
PAGE = b"x" * 4096


@pytest.fixture
def machine(host_network: None, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as made:
        made.state.mkdir(mode=0o700)
        made.agent_within = ("unshare", "--mount", "sh", "-c", MOUNT, str(made.state))
        yield made


def fill(path: Path) -> None:
    """Leave no room on a disk."""
    with path.open("wb", buffering=0) as file:
        for _ in range(1024):
            try:
                file.write(PAGE)
            except OSError:
                return
    raise AssertionError(f"{path.parent} has no end")


def test_a_full_disk_is_told_until_there_is_room_and_holds_nothing_up(
    machine: Machine, namespace: Callable[[], Namespace]
) -> None:
    # given an agent that has saved its state, and whose disk is full then
    for name in "ab":
        machine.mesos.pids[name] = namespace().pid
    machine.start("controller")
    machine.start("agent")
    machine.marathon.put("/a", [("a", HOST)], ["one"])
    machine.wait_up("a")
    disk = Path(f"/proc/{machine.processes['agent'].pid}/root{machine.state}")
    machine.wait_for("a saved state", (disk / "state").exists)
    fill(disk / "filler")
    before = (disk / "state").read_bytes()

    # when there is something new to save
    machine.marathon.put("/b", [("b", HOST)], ["one"])
    machine.marathon.tell("/b", "b", HOST, "TASK_RUNNING")
    machine.wait_up("a", "b")

    # then `status` says so, with the path, the reason and what to do
    said = f"PROBLEM {HOST}: the state cannot be saved to {machine.state}/state: No space left"
    machine.wait_for("the problem", lambda: said in machine.cli("status").stdout)
    told = machine.cli("status")
    assert "make room" in told.stdout
    assert told.returncode == 1
    assert (disk / "state").read_bytes() == before

    # and no more once there is room, though nothing else happens
    (disk / "filler").unlink()
    machine.wait_for("no problem", lambda: machine.cli("status").returncode == 0, 40.0)
    assert (disk / "state").read_bytes() != before
