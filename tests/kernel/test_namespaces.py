"""A task's network namespace is the one that was meant, or none at all."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from calico.dataplane.changes import NamespaceRef
from calico.dataplane.namespaces import holders, identify, not_for_tasks, opened
from calico.errors import NamespaceGone, NamespaceRefused
from tests.kernel.namespaces import Namespace

Make = Callable[[], Namespace]


def open_once(ref: NamespaceRef) -> int:
    """The inode behind a reference."""
    with opened(ref, not_for_tasks()) as descriptor:
        return os.fstat(descriptor).st_ino


def test_a_process_is_named_by_its_start_and_its_namespace(namespace: Make) -> None:
    task = namespace()
    assert identify(task.pid) == task.ref
    assert open_once(task.ref) == task.ref.inode


def test_a_process_may_call_itself_anything(namespace: Make, tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b"
    shutil.copy("/bin/sleep", odd)
    with namespace().entered():
        sleeper = subprocess.Popen([odd, "60"])
    try:
        ref = identify(sleeper.pid)
        ticks = int(Path(f"/proc/{sleeper.pid}/stat").read_text().split(") ")[-1].split()[19])
        assert ref.start_time == ticks
        assert open_once(ref) == ref.inode
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"start_time": 1}, id="a pid that another process has now"),
        pytest.param({"inode": 1}, id="a process that moved to another namespace"),
        pytest.param({"pid": 2**22}, id="a pid that nobody has"),
    ],
)
def test_what_is_not_what_was_named_is_gone(namespace: Make, change: dict[str, int]) -> None:
    with pytest.raises(NamespaceGone):
        open_once(replace(namespace().ref, **change))


def test_a_process_that_ended_but_was_not_reaped_is_gone(namespace: Make) -> None:
    task = namespace()
    ref = task.ref
    task.keeper.kill()
    os.waitid(os.P_PID, task.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(NamespaceGone):
        open_once(ref)
    with pytest.raises(NamespaceGone):
        identify(ref.pid)


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param(os.getpid, id="the agent"),
        pytest.param(os.getppid, id="its parent"),
        pytest.param(lambda: 1, id="pid 1"),
    ],
)
def test_the_hosts_own_namespace_is_never_opened(owner: Callable[[], int]) -> None:
    if owner() == 0:
        pytest.skip("the parent is outside this pid namespace")
    # An ordinary user may not even look at pid 1's.
    with pytest.raises(NamespaceRefused):
        open_once(identify(owner()))


def test_a_process_in_the_namespace_of_the_dataplanes_thread_is_refused() -> None:
    # The test's thread has a namespace of its own, and so has what it starts.
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        with pytest.raises(NamespaceRefused):
            open_once(identify(sleeper.pid))
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_namespace_has_holders_until_its_last_process_ends(namespace: Make) -> None:
    task, other = namespace(), namespace()
    inodes = {task.ref.inode, other.ref.inode}
    assert holders(inodes) == inodes
    with task.entered():
        second = subprocess.Popen(["sleep", "60"])
    task.end()
    assert holders(inodes) == inodes
    second.kill()
    second.wait()
    assert holders(inodes) == {other.ref.inode}
    assert holders(()) == frozenset()
