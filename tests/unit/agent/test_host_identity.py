"""Of two machines with one name the second tells nothing, and the first is not disturbed."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from netaddr import IPAddress

from calico.codec import encode_host
from calico.datastore.api import Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.keys import FELIX, felix_status_key, host_key
from calico.model import AppliedRecord, BootId, HostName, HostRecord
from reconciler.agent.reporting.host_identity import Machine
from reconciler.agent.reporting.registration import ALIVE_TTL
from reconciler.agent.reporting.reporter import RELOAD_EVERY, Report, Reporter
from reconciler.runtime.clock import ManualClock
from tests.unit.agent.flaky_store import FlakyStore

HOST = HostName("h1")
FIRST = HostRecord(HOST, IPAddress("10.0.0.1"), BootId("boot-1"), "machine-1", "1")
SECOND = HostRecord(HOST, IPAddress("10.0.0.2"), BootId("boot-2"), "machine-2", "1")


@dataclass
class Agent:
    """The reporting half of an agent; `ended` is how often it asked to be ended."""

    record: HostRecord
    store: FlakyStore
    clock: ManualClock
    reporter: Reporter = field(init=False)
    ended: int = 0

    def __post_init__(self) -> None:
        machine = Machine(self.record.boot_id, self.record.machine_id)
        self.reporter = Reporter(HOST, self.store, self.clock, lambda: 1.0, machine, self._end)
        self.reporter.post(Report(self.record, AppliedRecord(HOST, self.record.boot_id, 1)))

    def _end(self) -> None:
        self.ended += 1


@pytest.fixture
def start(memory: MemoryDatastore, clock: ManualClock) -> Callable[[HostRecord], Agent]:
    """Starts an agent, which tells at once."""

    def started(record: HostRecord) -> Agent:
        agent = Agent(record, FlakyStore(memory), clock)
        agent.reporter.step()
        return agent

    return started


Start = Callable[[HostRecord], Agent]


def told(memory: MemoryDatastore) -> tuple[Revision, str]:
    stored = memory.get(host_key(HOST))
    return memory.list(FELIX).revision, "" if stored is None else stored.value


def test_a_second_machine_of_a_living_name_writes_nothing_and_says_whose_it_is(
    start: Start, memory: MemoryDatastore, clock: ManualClock
) -> None:
    start(FIRST)
    before = told(memory)

    second = start(SECOND)
    for _ in range(3):
        clock.advance(1)
        second.reporter.step()

    assert told(memory) == before
    assert second.ended == 1
    assert second.reporter.why_not == (
        "h1 is the name of another machine, whose agent at 10.0.0.1 was alive within the last"
        " 90 seconds: stop that agent, or give this host a name of its own by --host"
    )
    assert second.reporter.wait() > 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(FIRST, FIRST, id="its agent, started again"),
        pytest.param(FIRST, replace(FIRST, boot_id=BootId("later")), id="the machine, rebooted"),
        pytest.param(
            FIRST, replace(FIRST, machine_id="new"), id="the agent's container, made anew"
        ),
        pytest.param(FIRST, replace(SECOND, machine_id=""), id="one that has no id"),
        pytest.param(replace(FIRST, machine_id=""), SECOND, id="one after one without an id"),
        pytest.param(replace(FIRST, forgotten=True), SECOND, id="one after one declared gone"),
    ],
)
def test_whoever_may_be_the_same_machine_or_its_heir_goes_on_under_the_name(
    start: Start, memory: MemoryDatastore, first: HostRecord, second: HostRecord
) -> None:
    start(first)

    heir = start(second)

    assert (heir.ended, heir.reporter.why_not) == (0, "")
    assert told(memory)[1] == encode_host(second)


def test_the_name_of_a_machine_that_died_is_free_once_its_last_word_expired(
    start: Start, memory: MemoryDatastore, clock: ManualClock
) -> None:
    start(FIRST)
    clock.advance(ALIVE_TTL - 1)
    assert start(SECOND).ended == 1
    clock.advance(2)

    assert start(SECOND).ended == 0

    assert told(memory)[1] == encode_host(SECOND)


def test_a_machine_that_was_cut_off_while_another_took_its_name_gives_way(
    start: Start, memory: MemoryDatastore, clock: ManualClock
) -> None:
    first = start(FIRST)
    first.store.reachable = False
    clock.advance(ALIVE_TTL + 1)
    first.reporter.step()
    second = start(SECOND)
    clock.advance(10)

    first.store.reachable = True
    first.reporter.step()

    assert (first.ended, second.ended) == (1, 0)
    assert told(memory)[1] == encode_host(SECOND)


def test_its_own_sign_of_life_is_not_another_machines(
    start: Start, memory: MemoryDatastore, clock: ManualClock
) -> None:
    # As a store has it that was set back to before the machine was replaced.
    first = start(FIRST)
    memory.put(host_key(HOST), encode_host(SECOND))
    clock.advance(RELOAD_EVERY + 1)

    first.reporter.step()

    assert first.ended == 0
    assert told(memory)[1] == encode_host(FIRST)


@pytest.mark.parametrize("alive", ['{"time": "2016-05-01T09:04:00Z"}', "torn", "[]"])
def test_a_sign_of_life_that_does_not_say_whose_it_is_is_the_registered_machines(
    start: Start, memory: MemoryDatastore, alive: str
) -> None:
    memory.put(host_key(HOST), encode_host(FIRST))
    memory.put(felix_status_key(HOST), alive, ttl=ALIVE_TTL)

    assert start(SECOND).ended == 1

    assert memory.get(Key(f"{FELIX}/h1/last_reported_status")) is None


def test_a_registration_that_cannot_be_read_is_nobodys(
    start: Start, memory: MemoryDatastore
) -> None:
    memory.put(host_key(HOST), "torn")
    memory.put(felix_status_key(HOST), "{}", ttl=ALIVE_TTL)

    assert start(SECOND).ended == 0
