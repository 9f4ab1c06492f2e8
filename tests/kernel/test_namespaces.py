"""A task's network namespace is the one that was meant, or none at all."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from calico.dataplane.changes import NamespaceRef
from calico.dataplane.namespaces import (
    identify,
    identify_opened,
    not_for_tasks,
    now,
    opened,
    still_held,
)
from calico.errors import NamespaceGone, NamespaceRefused
from calico.model import TaskId
from reconciler.agent.locators.api import Located, Locator
from reconciler.agent.locators.mesos import MesosLocator
from reconciler.agent.locators.mesos_agent import MesosAgent
from reconciler.agent.locators.proc import ProcLocator
from tests.kernel.namespaces import Namespace, bind_file
from tests.minimal.http import LoopbackServer, send_json
from tests.minimal.marathon import MinimalMesosAgent

Make = Callable[[], Namespace]
WEB, DB = TaskId("web.1"), TaskId("db.1")

#: Gives pid 100 of a pid namespace to one process, then to another, and tells
#: what became of the name that the first one had. A tick is often the same for
#: both, so the rest must tell them apart.
_REUSE = """
import ctypes, os, signal, sys
from calico.dataplane.namespaces import identify, not_for_tasks, opened
from calico.errors import DataplaneError
libc = ctypes.CDLL(None, use_errno=True)

def born(enter):
    ready, done = os.pipe()
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write("99")
    child = os.fork()
    if child == 0:
        enter()
        os.write(done, b"x")
        while True:
            signal.pause()
    os.read(ready, 1)
    os.close(ready)
    os.close(done)
    assert child == 100, child

def ended():
    os.kill(100, signal.SIGKILL)
    os.waitpid(100, 0)

def own():
    assert libc.unshare(0x40000000) == 0

def hosts():
    pass

for after in (own, hosts):
    outcomes = set()
    for _ in range(40):
        born(own)
        named = identify(100)
        ended()
        born(after)
        try:
            with opened(named, not_for_tasks()):
                outcomes.add("opened")
        except DataplaneError as error:
            outcomes.add(type(error).__name__)
        ended()
    print(after.__name__, *sorted(outcomes))
"""


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


def test_a_pid_that_another_process_has_now_leads_nowhere() -> None:
    found = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child",
         sys.executable, "-c", _REUSE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    if "unshare" in found.stderr:
        pytest.skip(f"no pid namespace with a /proc of its own: {found.stderr.strip()}")
    assert found.stdout == "own NamespaceGone\nhosts NamespaceGone\n", found.stderr


class ForgetfulMesosAgent(LoopbackServer):
    """Tells of a task by a pid that, by the time of the answer, is another process's."""

    def __init__(self, start: Make) -> None:
        super().__init__(self._answer)
        self._start = start

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        send_json(handler, [row(WEB, self._start().pid)])


def row(task: TaskId, pid: int) -> dict[str, object]:
    return {"source": task, "executor_id": task, "status": {"executor_pid": pid}}


def test_a_process_that_is_younger_than_the_question_is_not_the_task(namespace: Make) -> None:
    with ForgetfulMesosAgent(namespace) as mesos:
        located = MesosLocator(MesosAgent(mesos.url), identify, not_for_tasks()).find({WEB})
    assert located == Located()


@pytest.mark.parametrize("locator", ["mesos", "proc"])
def test_two_tasks_in_one_namespace_are_both_refused(namespace: Make, locator: str) -> None:
    place = namespace()
    with place.entered():
        sleepers = [
            subprocess.Popen(["sleep", "60"], env={"MESOS_TASK_ID": str(task)})
            for task in (WEB, DB)
        ]
    try:
        wait_for_tick()
        with MinimalMesosAgent() as mesos:
            mesos.pids = {task: each.pid for task, each in zip((WEB, DB), sleepers, strict=True)}
            own = not_for_tasks()
            locators: dict[str, Locator] = {
                "mesos": MesosLocator(MesosAgent(mesos.url), identify, own),
                "proc": ProcLocator(identify, own),
            }
            located = locators[locator].find({WEB, DB})
        assert located.namespaces == {}
        assert all("shared" in located.refused[task] for task in (WEB, DB))
    finally:
        for each in sleepers:
            each.kill()
            each.wait()


@pytest.mark.parametrize("locator", ["mesos", "proc"])
def test_a_task_in_the_hosts_namespace_is_refused(locator: str) -> None:
    sleeper = subprocess.Popen(["sleep", "60"], env={"MESOS_TASK_ID": str(WEB)})
    try:
        wait_for_tick()
        with MinimalMesosAgent() as mesos:
            mesos.pids = {WEB: sleeper.pid}
            locators: dict[str, Locator] = {
                "mesos": MesosLocator(MesosAgent(mesos.url), identify, not_for_tasks()),
                "proc": ProcLocator(identify, not_for_tasks()),
            }
            located = locators[locator].find({WEB})
        assert located.namespaces == {}
        assert "host's" in located.refused[WEB]
    finally:
        sleeper.kill()
        sleeper.wait()


def wait_for_tick() -> None:
    """Let what was started be older than what is asked from now on."""
    began = now()
    while now() == began:
        pass


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


_OWN = """
import os
from calico.dataplane.namespaces import not_for_tasks
found = []
for owner in ("self", os.getppid(), 1):
    try:
        found.append(os.stat(f"/proc/{owner}/ns/net").st_ino)
    except PermissionError:
        assert owner == 1, "an ordinary user may not even look at pid 1's"
print(len(found) == len(set(found)), set(found) == not_for_tasks())
"""


def test_the_hosts_own_are_three_where_an_agent_its_parent_and_pid_1_live_apart() -> None:
    # The shell lives in the one, what it starts in the other.
    words = ["unshare", "--net", "sh", "-c", 'unshare --net "$@"; true', "sh"]
    done = subprocess.run(
        [*words, sys.executable, "-c", _OWN], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True", "True"]


def test_a_process_in_the_namespace_of_the_dataplanes_thread_is_refused() -> None:
    # The test's thread has a namespace of its own, and so has what it starts.
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        with pytest.raises(NamespaceRefused):
            open_once(identify(sleeper.pid))
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_namespace_is_held_until_its_last_process_ends(namespace: Make) -> None:
    task, other = namespace(), namespace()
    refs = {identify(task.pid), identify(other.pid)}
    assert still_held(refs) == refs
    with task.entered():
        second = subprocess.Popen(["sleep", "60"])
    task.end()
    assert still_held(refs) == refs
    second.kill()
    second.wait()
    assert still_held(refs) == {identify(other.pid)}
    assert still_held(()) == frozenset()


def test_a_namespace_that_was_given_an_old_number_is_another(namespace: Make) -> None:
    one, other = identify(namespace().pid), identify(namespace().pid)
    earlier = replace(one, cookie=other.cookie)
    assert 0 not in (one.cookie, other.cookie)
    assert still_held([earlier]) == frozenset()
    # Without a cookie nothing is proven.
    assert still_held([replace(one, cookie=0)]) == {one}


def opened_inside(task: Namespace) -> int:
    return os.open(f"/proc/{task.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@pytest.fixture
def pinned(namespace: Make, tmp_path: Path) -> Iterator[tuple[NamespaceRef, Path]]:
    """A namespace that no process is in, as podman makes them: a bind mount keeps it."""
    task = namespace()
    path = tmp_path / "netns"
    path.touch()
    bind_file(Path(f"/proc/{task.pid}/ns/net"), path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        ref = identify_opened(descriptor, str(path))
        os.close(descriptor)
        task.end()
        yield ref, path
    finally:
        subprocess.run(["umount", path], check=False, capture_output=True)


def test_a_namespace_without_a_process_is_known_by_its_path(
    pinned: tuple[NamespaceRef, Path],
) -> None:
    ref, path = pinned

    assert ref.pid == 0
    assert ref.cookie != 0
    assert open_once(ref) == ref.inode
    assert still_held([ref]) == {ref}

    subprocess.run(["umount", path], check=True)
    assert still_held([ref]) == frozenset()
    with pytest.raises(NamespaceGone):
        open_once(ref)


def test_a_path_that_leads_to_another_namespace_is_not_followed(
    pinned: tuple[NamespaceRef, Path], namespace: Make
) -> None:
    ref, path = pinned
    later = namespace()
    descriptor = opened_inside(later)
    other = identify_opened(descriptor)
    os.close(descriptor)

    # The number may be given again; the cookie never is.
    reused = replace(ref, inode=other.inode, path=f"/proc/{later.pid}/ns/net")

    with pytest.raises(NamespaceGone):
        open_once(reused)
    assert still_held([reused]) == frozenset()
    assert open_once(replace(other, path=str(path))) == other.inode


def test_a_namespace_is_found_where_a_process_is_in_it(namespace: Make) -> None:
    task = namespace()
    descriptor = opened_inside(task)
    ref = identify_opened(descriptor, "/nowhere")
    os.close(descriptor)

    assert open_once(ref) == task.ref.inode
    assert still_held([ref]) == {ref}


def test_a_descriptor_alone_is_enough_and_stays_open(namespace: Make) -> None:
    task = namespace()
    descriptor = opened_inside(task)
    try:
        # As on a kernel that tells no cookie.
        ref = replace(identify_opened(descriptor), descriptor=descriptor, cookie=0)
        assert open_once(ref) == task.ref.inode
        assert os.fstat(descriptor).st_ino == task.ref.inode
        with pytest.raises(NamespaceGone):
            open_once(replace(ref, descriptor=-1))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/proc/self/ns/mnt", id="another kind of namespace"),
        pytest.param("/dev/null", id="no namespace at all"),
    ],
)
def test_a_descriptor_of_something_else_is_refused(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(NamespaceRefused, match="no network namespace"):
            identify_opened(descriptor)
    finally:
        os.close(descriptor)


def test_the_hosts_own_namespace_is_refused_by_descriptor_too() -> None:
    descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        ref = replace(identify_opened(descriptor), descriptor=descriptor)
        with pytest.raises(NamespaceRefused, match="of the host"):
            open_once(ref)
    finally:
        os.close(descriptor)
