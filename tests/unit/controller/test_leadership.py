"""The order in which a controller stands by, leads, and gives the lease back."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from calico.cluster import ClusterRecord, Standing
from calico.codec import decode_leader
from calico.codec.cluster import encode_cluster
from calico.datastore.api import DirectoryStore, Fence, Key, unfenced
from calico.datastore.memory import MemoryDatastore
from calico.errors import UnknownSchema
from calico.keys import APPLIED, CLUSTER, HOSTS, LEADER, READY
from reconciler.controller.adoption.adoption import UNHEARD
from reconciler.controller.leadership import Leadership, ProcessContext
from reconciler.controller.metrics import ControllerMetrics
from reconciler.controller.scheduling.intake import Message
from reconciler.controller.settings import ControllerSettings
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.inbox import Inbox
from reconciler.runtime.lease import RENEW_EVERY, TTL, Lease
from reconciler.runtime.watchfeed import Loaded
from tests.contract.etcd.lossy import LossyStore
from tests.unit.controller.cluster import MemoryMarathon


class Told:
    """A stop that is asked for after so many waits; meanwhile time passes."""

    def __init__(self, clock: ManualClock, waits: float = float("inf")) -> None:
        self.waits = waits
        self._clock = clock

    def is_set(self) -> bool:
        return self.waits <= 0

    def wait(self, timeout: float) -> bool:
        if not self.is_set():
            self._clock.advance(timeout)
            self.waits -= 1
        return self.is_set()


@dataclass
class Later:
    """What runs beside the loop: not before it is waited for, which is noted."""

    run: Callable[[], None]
    note: Callable[[], None]

    def join(self, timeout: float) -> None:  # noqa: ARG002 - it takes no time
        self.note()
        self.run()


class Mailbox(Inbox[Message]):
    """An inbox at which something happens when it is looked into, in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Callable[[], object]] = []

    def drain(self, timeout: float) -> tuple[Message, ...]:  # noqa: ARG002 - nothing comes
        if self.steps:
            self.steps.pop(0)()
        return super().drain(0.0)


@dataclass
class Bench:
    """One controller's turn on a store, on a clock that is turned by hand."""

    clock: ManualClock = field(default_factory=ManualClock)
    started: list[str] = field(default_factory=list)
    #: Whether the lease was there still when what runs beside was waited for.
    waited_with_lease: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = LossyStore(MemoryDatastore(self.clock.monotonic))
        self.stop = Told(self.clock)
        self.inbox = Mailbox()
        settings = ControllerSettings(self._open, (), allow_from=())
        context = ProcessContext(
            self.inbox,
            self._start,
            self.stop,
            self.clock,
            lambda: 0.5,
            lambda: None,
            ControllerMetrics(),
        )
        self.turn = Leadership(settings, MemoryMarathon(), "one", context)
        self.rival = Lease(self.store, LEADER, "rival", self.clock)

    def _open(self, fence: Fence = unfenced) -> DirectoryStore:  # noqa: ARG002 - the lease fences
        return self.store

    def _start(self, name: str, run: Callable[[], None]) -> Later:
        self.started.append(name)
        return Later(run, self._note_wait)

    def _note_wait(self) -> None:
        self.waited_with_lease.append(self.store.get(LEADER) is not None)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_stands_by_until_the_lease_is_free(bench: Bench) -> None:
    assert bench.rival.keep()
    before = bench.rival.token
    assert before is not None

    assert bench.turn.stand_by()

    assert bench.clock.monotonic() == pytest.approx(TTL, abs=RENEW_EVERY)
    assert bench.turn.token is not None
    assert bench.turn.token > before
    assert bench.turn.leads


def test_one_that_stands_by_ends_when_told_to(bench: Bench) -> None:
    assert bench.rival.keep()
    bench.stop.waits = 2

    assert not bench.turn.stand_by()

    assert bench.rival.keep()


def test_what_it_may_have_won_unknowingly_is_given_back_when_it_is_told_to_stop(
    bench: Bench,
) -> None:
    bench.store.swallow = 0
    bench.stop.waits = 1

    assert not bench.turn.stand_by()

    assert bench.turn.trouble == "the answer was lost"
    assert bench.rival.keep()


def test_a_leader_that_is_told_to_stop_has_given_the_lease_back(bench: Bench) -> None:
    assert bench.turn.stand_by()
    bench.inbox.steps = [lambda: None, lambda: setattr(bench.stop, "waits", 0)]

    assert bench.turn.lead()

    assert "lease" in bench.started
    assert not bench.turn.leads
    assert bench.rival.keep()


def test_the_lease_tells_from_its_first_write_that_no_address_is_given(bench: Bench) -> None:
    assert bench.turn.stand_by()

    stored = bench.store.get(LEADER)
    assert stored is not None
    assert decode_leader(stored.value).standing == Standing(waits=UNHEARD)


def test_a_leader_ends_when_the_lease_is_lost_and_takes_nothing_from_the_next(
    bench: Bench,
) -> None:
    assert bench.turn.stand_by()
    bench.inbox.steps = [
        lambda: None,
        lambda: bench.clock.advance(TTL + 1),
        lambda: pytest.fail("it worked on"),
    ]

    assert not bench.turn.lead()

    assert bench.rival.keep()
    assert bench.store.get(Key(READY)) is None


def test_a_store_of_another_schema_is_left_by_the_thread_that_renews_the_lease(
    bench: Bench,
) -> None:
    other = encode_cluster(ClusterRecord("u")).replace('"schema": 1', '"schema": 2')
    bench.store.put(CLUSTER, other)
    assert bench.turn.stand_by()
    for prefix in (HOSTS, APPLIED):
        bench.inbox.post(Loaded(prefix, bench.store.list(prefix)))

    with pytest.raises(UnknownSchema):
        bench.turn.lead()

    assert bench.waited_with_lease == [True]
    assert bench.rival.keep()
