"""However many calls a plugin's request is made of, whoever asked is told in time what is wrong."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from netaddr import IPNetwork

from calico.model import ContainerId
from reconciler.agent.attachments.allocator import WORD_WITHIN
from reconciler.agent.attachments.turns import Turns
from reconciler.attach.api import ANSWER_WITHIN, Wish
from reconciler.attach.calls.cni import CniCalls
from reconciler.attach.plugin import TRY_LATER
from reconciler.attach.server import AttachServer
from reconciler.runtime.clock import ManualClock
from tests.contract.attach.agent_rig import Fuse, Rig
from tests.contract.attach.plugin_process import run_cni
from tests.kernel.namespaces import Namespace, fresh_network

ONE, OTHER = ContainerId("one"), ContainerId("other")
POOLS = (IPNetwork("192.168.0.0/24"), IPNetwork("fd80::/64"))
#: Seconds that a plugin's process may take beside the agent's answer.
BESIDE = 0.8
REMEDY = "no right to make network namespaces: run inside unshare --user --map-root-user --net"


class HangingKernel(Fuse):
    """A fuse that never blows; the kernel does nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = threading.Event()

    def __call__(self, what: str) -> None:
        if what.startswith("kernel "):
            self.goes_on.wait()
        super().__call__(what)


@pytest.fixture
def make() -> Iterator[Callable[[], Namespace]]:
    with ExitStack() as stack:
        try:
            stack.enter_context(fresh_network())
        except PermissionError:
            pytest.skip(REMEDY)

        def made() -> Namespace:
            namespace = Namespace.start()
            stack.callback(namespace.end)
            return namespace

        yield made


def test_a_kernel_that_hangs_is_told_before_the_plugin_gives_up(
    tmp_path: Path, make: Callable[[], Namespace]
) -> None:
    inside = make()
    rig, kernel = Rig(tmp_path / "state", POOLS), HangingKernel()
    rig.directory.mkdir()
    rig.begin(inside)
    socket = tmp_path / "agent.sock"
    with rig.running(kernel) as agent:
        try:
            with AttachServer(socket, agent.attacher, {"cni": CniCalls().answer}):
                began = time.monotonic()
                added = run_cni(socket, "ADD", CNI_NETNS=f"/proc/{inside.pid}/ns/net")
                took = time.monotonic() - began
        finally:
            kernel.goes_on.set()

    assert (added.code, added.answer["code"]) == (1, TRY_LATER)
    assert "did not get to it in time" in added.complaint
    assert took < ANSWER_WITHIN + BESIDE


def test_a_mesos_agent_that_hangs_keeps_no_container_waiting_for_others(tmp_path: Path) -> None:
    # Nobody answers the rig's questions to Mesos.
    rig = Rig(tmp_path / "state", POOLS)
    rig.directory.mkdir()
    containers = [ContainerId(f"box-{number}") for number in range(12)]
    with rig.running() as agent, ThreadPoolExecutor(len(containers)) as pool:
        began = time.monotonic()
        given = list(pool.map(lambda each: agent.attacher.allocate(each, Wish()), containers))
        took = time.monotonic() - began

    assert len({address for each in given for address in each.addresses}) == 2 * len(containers)
    assert WORD_WITHIN <= took < WORD_WITHIN + 0.5


def test_the_calls_of_one_request_share_its_time() -> None:
    clock = ManualClock()
    turns = Turns(clock, 2.0)
    began = clock.monotonic()

    with turns.in_time():
        clock.advance(1.5)
        with turns.of(ONE) as first:
            clock.advance(1.5)
        with turns.of(OTHER) as second:
            assert turns.is_taken(OTHER)
            assert not turns.is_taken(ONE)
    with turns.of(ONE) as alone:
        pass

    assert (first, second, alone) == (began + 2.0, began + 2.0, began + 5.0)


def test_a_request_takes_no_time_of_another_thread_s() -> None:
    clock = ManualClock()
    turns = Turns(clock, 2.0)
    found: list[float] = []

    def ask() -> None:
        with turns.of(ONE) as deadline:
            found.append(deadline)

    with turns.in_time():
        clock.advance(1.5)
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    assert found == [clock.monotonic() + 2.0]
