"""How far an agent says that it is: addresses are given again by its word."""

import pytest

from calico.dataplane.api import Applied
from calico.dataplane.changes import Change, Plan, RemoveLink, RemoveRoute
from calico.dataplane.memory import MemoryDataplane
from calico.datastore.memory import MemoryDatastore
from calico.keys import CALICO
from calico.model import TaskId
from reconciler.runtime.watchfeed import Unreachable
from tests.unit.agent.test_reconcile import FACTS, Agent, Machine
from tests.unit.agent.world import filled_store, put_spec, remove_spec, spec

WEB = spec(TaskId("web.1"), "192.168.0.1", "a")


class Stubborn(MemoryDataplane):
    """A kernel that refuses changes of one kind as long as it likes."""

    def __init__(self, refused: type[Change]) -> None:
        super().__init__(FACTS)
        self.refused: type[Change] | None = refused

    def apply(self, plan: Plan) -> Applied:
        kept = [each for each in plan if self.refused and isinstance(each, self.refused)]
        applied = super().apply(tuple(each for each in plan if each not in kept))
        return Applied({**applied.failures, **dict.fromkeys(kept, "busy")})


@pytest.fixture
def store() -> MemoryDatastore:
    made = filled_store()
    put_spec(made, WEB)
    return made


@pytest.mark.parametrize("refused", [RemoveLink, RemoveRoute])
def test_a_withdrawal_that_the_kernel_refuses_is_not_applied(
    store: MemoryDatastore, refused: type[Change]
) -> None:
    machine = Machine()
    machine.dataplane = kernel = Stubborn(refused)
    machine.start(WEB)
    agent = Agent(machine, store)
    agent.list()
    before = agent.settle().revision
    assert before == store.list(CALICO).revision

    remove_spec(store, WEB.id)
    agent.watch()
    reached = agent.turn()
    assert reached.revision == before
    assert any("busy" in problem for problem in reached.problems)

    kernel.refused = None
    assert agent.settle().revision == store.list(CALICO).revision
    assert machine.kernel.links == {}


def test_what_is_known_of_an_earlier_run_alone_is_not_applied(store: MemoryDatastore) -> None:
    machine = Machine()
    machine.start(WEB)
    agent = Agent(machine, store)
    agent.list()
    assert agent.settle().revision > 0

    restarted = Agent(machine, store, agent.reconciler.saved())
    restarted.reconciler.handle(Unreachable(CALICO, "no answer"))
    assert restarted.settle_without_store().revision == 0

    restarted.list()
    assert restarted.settle().revision == store.list(CALICO).revision
