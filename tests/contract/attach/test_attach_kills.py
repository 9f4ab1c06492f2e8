"""Killed at any step of a request: the next start leaves nothing behind."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from netaddr import IPNetwork

from calico.addressing.audit import DanglingAffinity, Miscounted, drifts
from calico.addressing.blocks import Allocation
from calico.addressing.books import decode_books
from calico.keys import IPAM
from calico.model import INTERFACE_PREFIX, ContainerId
from reconciler.attach.api import Attacher, AttachError, Place, UnknownContainer, Wish
from tests.contract.attach.agent_rig import Agent, Crashed, Fuse, Rig
from tests.kernel.namespaces import Namespace, fresh_network

ONE = ContainerId("one")
POOLS = (IPNetwork("192.168.0.0/24"), IPNetwork("fd80::/64"))
PATIENCE = 10.0
MOST_STEPS = 80
REMEDY = "no right to make network namespaces: run inside unshare --user --map-root-user --net"


@dataclass
class Host:
    """A rig, and one container's namespace on it."""

    rig: Rig
    descriptor: int
    inode: int

    @property
    def place(self) -> Place:
        return Place(self.descriptor)

    def held(self) -> list[Allocation]:
        """All that is held in the datastore."""
        books = decode_books(self.rig.store.list(IPAM).entries)
        return [each for block in books.blocks.values() for each in block.allocations if each]

    def links(self) -> list[str]:
        return [name for name in self.rig.kernel.links if name.startswith(INTERFACE_PREFIX)]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.rig.directory.glob("*"))

    def is_clean(self) -> bool:
        return (self.held(), self.links(), self.files()) == ([], [], [])

    def expect_only_known_leftovers(self) -> None:
        """The books differ by no more than the leader mends: what claims too much."""
        for drift in drifts(decode_books(self.rig.store.list(IPAM).entries)):
            if isinstance(drift, Miscounted):
                assert drift.ours
                assert drift.counted > drift.held
            else:
                assert isinstance(drift, DanglingAffinity), drift


@contextmanager
def host(directory: Path) -> Iterator[Host]:
    """A host on which a container's namespace has just begun."""
    with ExitStack() as stack:
        try:
            stack.enter_context(fresh_network())
        except PermissionError:
            pytest.skip(REMEDY)
        namespace = Namespace.start()
        stack.callback(namespace.end)
        descriptor = os.open(f"/proc/{namespace.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, descriptor)
        rig = Rig(directory, POOLS)
        rig.begin(namespace)
        yield Host(rig, descriptor, namespace.ref.inode)


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"never came about: {what}"
        time.sleep(0.002)


def add(attacher: Attacher, place: Place) -> None:
    attacher.allocate(ONE, Wish())
    attacher.attach(ONE, place)


def whole_life(attacher: Attacher, place: Place) -> None:
    add(attacher, place)
    attacher.detach(ONE)


def until_killed(agent: Agent, place: Place) -> bool:
    """Live a container's whole life, or until the agent is killed; whether it was."""
    over = threading.Event()

    def live() -> None:
        with suppress(Crashed, AttachError):
            whole_life(agent.attacher, place)
        over.set()

    threading.Thread(target=live, daemon=True).start()
    wait_until("an end", lambda: over.is_set() or agent.fuse.blown.is_set())
    return agent.fuse.blown.is_set()


def the_container_ends(world: Host, agent: Agent) -> None:
    """Nobody says so; where it had no link yet, nobody can know."""
    world.rig.finish(world.inode)
    for container in (each.container for each in agent.attacher.attachments() if not each.device):
        agent.attacher.detach(container)


def it_is_deleted(world: Host, agent: Agent) -> None:
    agent.attacher.detach(ONE)


def it_is_added_again_and_deleted(world: Host, agent: Agent) -> None:
    add(agent.attacher, world.place)
    (attachment,) = (each for each in agent.attacher.attachments() if not each.detached)
    assert world.links() == [attachment.interface]
    assert {each.container for each in world.held()} == {ONE}
    assert len(world.held()) == len(attachment.addresses) == 2
    agent.attacher.detach(ONE)


AFTERWARDS = [
    pytest.param(the_container_ends, id="nobody asks again"),
    pytest.param(it_is_deleted, id="it is deleted"),
    pytest.param(it_is_added_again_and_deleted, id="it is added again and deleted"),
]


@pytest.mark.parametrize("afterwards", AFTERWARDS)
def test_a_kill_at_any_step_leaves_nothing(
    tmp_path: Path, afterwards: Callable[[Host, Agent], None]
) -> None:
    killed_at: list[str] = []
    for last in range(MOST_STEPS):
        with host(tmp_path / str(last)) as world:
            fuse = Fuse(last)
            with world.rig.running(fuse) as agent:
                killed = until_killed(agent, world.place)
            if not killed:
                break
            killed_at.append(fuse.taken[-1] if fuse.taken else "the start")
            with world.rig.running() as again:
                wait_until("a start", lambda: bool(again.reports))
                afterwards(world, again)
                wait_until(f"nothing left after {fuse.taken[-3:]}", world.is_clean)
            world.expect_only_known_leftovers()
    else:
        pytest.fail("the story never came to its end")
    assert len(killed_at) > 25
    told = " ".join(killed_at)
    for each in ("AttachTask", "AddRoute", "RemoveLink", "a file was written", "put /calico/ipam"):
        assert each in told, f"no kill after {each}"


def test_a_container_that_lives_on_is_either_whole_or_not_there(tmp_path: Path) -> None:
    for last in range(MOST_STEPS):
        with host(tmp_path / str(last)) as world:
            fuse = Fuse(last)
            with world.rig.running(fuse) as agent:
                killed = until_killed(agent, world.place)
            if not killed:
                break
            with world.rig.running() as again:
                wait_until("a start", lambda: bool(again.reports))

                def settled() -> bool:
                    known = [each for each in again.attacher.attachments() if not each.detached]
                    if not known:
                        return world.held() == [] and world.links() == []
                    wired = [each.interface for each in known if each.device]
                    return world.links() == wired and len(world.held()) == 2

                wait_until(f"whole or nothing after {fuse.taken[-3:]}", settled)
                with suppress(UnknownContainer):
                    again.attacher.check(ONE)
    else:
        pytest.fail("the story never came to its end")


def test_a_reboot_detaches_every_container(tmp_path: Path) -> None:
    with host(tmp_path) as world:
        with world.rig.running() as agent:
            add(agent.attacher, world.place)
        world.rig.reboot()
        with world.rig.running() as again:
            with pytest.raises(UnknownContainer):
                again.attacher.check(ONE)
            wait_until("nothing left", lambda: world.held() == [] and world.links() == [])


def test_a_torn_file_is_nobodys_word(tmp_path: Path) -> None:
    with host(tmp_path) as world:
        with world.rig.running() as agent:
            add(agent.attacher, world.place)
        (path,) = world.rig.directory.glob("*")
        path.write_bytes(path.read_bytes()[:-20])
        with world.rig.running():
            wait_until("nothing left", world.is_clean)
