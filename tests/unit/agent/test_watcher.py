"""What a monitor notices reaches the loop, also after it failed."""

import logging
from collections.abc import Callable

import pytest
from netaddr import IPAddress

from calico.dataplane.api import Noticed
from calico.dataplane.changes import AddMarkRule
from calico.dataplane.memory import MemoryDataplane, MemoryMonitor
from calico.dataplane.state import HostFacts, MarkRule
from calico.errors import DataplaneError
from reconciler.agent.observation.watcher import Watcher
from reconciler.agent.reconciliation.passes import KernelChanged

RULE = AddMarkRule(MarkRule(4, 100, 1))
SOMETHING = KernelChanged(Noticed(foreign=True))


@pytest.fixture
def dataplane() -> MemoryDataplane:
    return MemoryDataplane(HostFacts("eth0", IPAddress("10.0.0.1"), 1500))


class Failing:
    """A monitor that the kernel refuses."""

    def __init__(self, opens: Callable[[], bool]) -> None:
        self._opens = opens

    def open(self) -> None:
        if not self._opens():
            raise DataplaneError("no right to hear")

    def close(self) -> None:
        pass

    def wait(self, timeout: float) -> Noticed | None:  # noqa: ARG002 - it never waits
        raise DataplaneError("the list kept changing")


def test_a_notice_is_passed_on(dataplane: MemoryDataplane) -> None:
    posted: list[KernelChanged] = []
    watcher = Watcher(MemoryMonitor(dataplane), posted.append)
    watcher.open()

    watcher.step(0.001)
    assert posted == []

    dataplane.meddle((RULE,))
    watcher.step(0.001)
    assert posted == [SOMETHING]


def test_a_monitor_that_failed_is_opened_again_and_all_is_looked_at() -> None:
    posted: list[KernelChanged] = []
    watcher = Watcher(Failing(lambda: True), posted.append)
    watcher.open()

    watcher.step(0.001)

    assert posted == [SOMETHING]


def test_a_monitor_that_is_refused_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    posted: list[KernelChanged] = []
    watcher = Watcher(Failing(lambda: False), posted.append)

    with caplog.at_level(logging.WARNING):
        watcher.open()
        watcher.open()

    assert posted == []
    assert [record.message for record in caplog.records] == ["changes of others are not noticed"]
