"""What waits for an operator, and what the operator's word is worth."""

from dataclasses import replace

import pytest

from calico.cluster import HoldKind, HoldRecord
from calico.codec import decode_hold, encode_hold
from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict
from calico.keys import HOLD, hold_key
from reconciler.controller.removal.holds import Holds
from reconciler.core.removal.held import plan_name
from reconciler.runtime.clock import ManualClock
from tests.unit.controller.attaching import CountingStore

KIND = HoldKind.TASKS


class Bench:
    """Two controllers' holds on one store, and the operator."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = CountingStore(MemoryDatastore())
        self.holds = self.another()

    def another(self) -> Holds:
        """A controller that has just read what waits."""
        holds = Holds(self.store, self.clock)
        holds.load()
        return holds

    def stored(self) -> HoldRecord | None:
        found = self.store.get(hold_key(KIND))
        return None if found is None else decode_hold(KIND, found.value)

    def approve(self, plan: str) -> None:
        """The operator's word, as the command line writes it."""
        held = self.stored()
        assert held is not None
        self.store.put(hold_key(KIND), encode_hold(replace(held, approved=plan)))
        self.holds.load()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_waits_is_told_with_the_name_of_exactly_that(bench: Bench) -> None:
    bench.holds.hold(KIND, {"b", "a"}, "why")
    plan = plan_name(KIND, ["a", "b"])
    assert bench.stored() == HoldRecord(KIND, plan, "why", ("a", "b"), "2016-01-01T00:00:00Z")
    assert bench.holds.records == (bench.stored(),)


def test_what_waits_already_is_not_written_again(bench: Bench) -> None:
    bench.holds.hold(KIND, ["a"], "why")
    bench.store.log.clear()
    bench.holds.hold(KIND, ["a"], "why")
    assert bench.store.log == []


@pytest.mark.parametrize(
    ("approved", "asked", "counts"),
    [
        pytest.param(plan_name(KIND, ["a", "b"]), ["a", "b"], True, id="exactly this"),
        pytest.param("", ["a", "b"], False, id="nothing yet"),
        pytest.param(plan_name(KIND, ["a"]), ["a", "b"], False, id="less than waits"),
        pytest.param(plan_name(KIND, ["a"]), ["a"], False, id="what no longer waits"),
        pytest.param(plan_name(KIND, ["a", "b"]), ["a", "b", "c"], False, id="more is asked"),
        pytest.param(plan_name(HoldKind.STORE, ["a", "b"]), ["a", "b"], False, id="another kind"),
    ],
)
def test_an_approval_counts_for_exactly_its_plan(
    bench: Bench, approved: str, asked: list[str], counts: bool
) -> None:
    bench.holds.hold(KIND, ["a", "b"], "why")
    bench.approve(approved)
    assert bench.holds.approves(KIND, asked) is counts
    assert not bench.holds.approves(HoldKind.GROUPS, asked)


def test_another_plan_takes_no_approval_along_but_waits_as_long(bench: Bench) -> None:
    bench.holds.hold(KIND, ["a"], "why")
    bench.approve(plan_name(KIND, ["a"]))
    bench.clock.advance(60)
    bench.holds.hold(KIND, ["b"], "why else")
    held = bench.stored()
    assert held is not None
    assert (held.approved, held.since) == ("", "2016-01-01T00:00:00Z")
    # Nor does the first plan have it back.
    bench.holds.hold(KIND, ["a"], "why")
    assert bench.holds.approved_plan(KIND) is None


def test_an_approval_ends_with_its_hold(bench: Bench) -> None:
    bench.holds.hold(KIND, ["a"], "why")
    bench.approve(plan_name(KIND, ["a"]))
    bench.holds.end(KIND)
    assert bench.stored() is None
    bench.holds.hold(KIND, ["a"], "why")
    assert not bench.another().approves(KIND, ["a"])


def test_an_approval_that_came_meanwhile_is_not_lost(bench: Bench) -> None:
    bench.holds.hold(KIND, ["a"], "why")
    held = bench.stored()
    assert held is not None
    bench.store.put(hold_key(KIND), encode_hold(replace(held, approved=held.plan)))
    with pytest.raises(Conflict):
        bench.holds.hold(KIND, ["b"], "why")
    with pytest.raises(Conflict):
        bench.holds.end(KIND)
    assert bench.another().approves(KIND, ["a"])


def test_a_controller_that_led_before_changes_nothing(bench: Bench) -> None:
    former = bench.another()
    bench.holds.hold(KIND, ["a"], "why")
    former.end(KIND)
    with pytest.raises(Conflict):
        former.hold(KIND, ["b"], "why")
    held = bench.stored()
    assert held is not None
    assert held.subjects == ("a",)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"plan": 7}', '{"subjects": []}', '{"plan": "x", "subjects": "a"}']
)
def test_what_cannot_be_read_approves_nothing_and_is_replaced(bench: Bench, text: str) -> None:
    bench.store.put(hold_key(KIND), text)
    bench.holds.load()
    assert bench.holds.records == ()
    bench.holds.hold(KIND, ["a"], "why")
    assert bench.stored() == bench.holds.records[0]


def test_a_hold_without_a_plan_is_not_approved_by_no_word_at_all(bench: Bench) -> None:
    bench.store.put(hold_key(KIND), encode_hold(HoldRecord(KIND, "", "why")))
    bench.holds.load()
    assert bench.holds.approved_plan(KIND) is None


def test_a_key_of_no_kind_is_left_alone(bench: Bench) -> None:
    bench.store.put(Key(f"{HOLD}/other"), "{}")
    bench.holds.load()
    assert bench.holds.records == ()
