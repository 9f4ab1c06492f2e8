"""Laws of plan_host: any state to any state, torn anywhere, in safe order."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from calico.dataplane.changes import AddRoute, AttachTask, CommitTable, RemoveLink, RemoveRoute
from calico.dataplane.state import Chain, HostState, RouteKind
from calico.model import TaskId
from reconciler.core.plan import only_mending, plan_host, reached_state, stage_of
from tests.convergence.host_states import (
    BASE_CHAINS,
    NAMESPACES,
    TASKS,
    desired_states,
    observed_states,
)
from tests.convergence.kernel_model import after


@given(observed_states(), desired_states())
def test_carrying_a_plan_out_gives_what_is_desired(observed: HostState, desired: HostState) -> None:
    planned = plan_host(observed, desired, NAMESPACES)

    assert after(observed, planned.plan) == desired
    assert planned.waiting == ()


@given(observed_states(), desired_states(), st.sets(st.sampled_from(TASKS)))
def test_a_second_plan_is_empty(
    observed: HostState, desired: HostState, known: set[TaskId]
) -> None:
    namespaces = {task: NAMESPACES[task] for task in known}
    first = plan_host(observed, desired, namespaces)

    second = plan_host(after(observed, first.plan), desired, {})

    assert second.plan == ()
    assert second.waiting == first.waiting


@given(observed_states(), desired_states(), st.data())
def test_after_a_crash_anywhere_the_next_plan_converges(
    observed: HostState, desired: HostState, data: st.DataObject
) -> None:
    plan = plan_host(observed, desired, NAMESPACES).plan
    torn = after(observed, plan[: data.draw(st.integers(0, len(plan)))])

    assert after(torn, plan_host(torn, desired, NAMESPACES).plan) == desired


@given(observed_states(), desired_states(), st.sets(st.sampled_from(TASKS)))
def test_nothing_opens_before_its_policy_stands(
    observed: HostState, desired: HostState, known: set[TaskId]
) -> None:
    namespaces = {task: NAMESPACES[task] for task in known}
    plan = plan_host(observed, desired, namespaces).plan

    for length in range(len(plan)):
        before, change = after(observed, plan[:length]), plan[length]
        if isinstance(change, AttachTask) or (
            isinstance(change, AddRoute) and change.route.kind is RouteKind.TASK
        ):
            assert before.chains == desired.chains
            assert before.sets == desired.sets
        if isinstance(change, AddRoute) and change.route.kind is RouteKind.TASK:
            interface = change.route.interface
            assert interface is not None
            assert before.links.get(interface) == desired.links[interface]


@given(observed_states(), desired_states())
def test_a_withdrawn_task_is_closed_then_unrouted_then_unwired(
    observed: HostState, desired: HostState
) -> None:
    plan = plan_host(observed, desired, NAMESPACES).plan

    assert [stage_of(change) for change in plan] == sorted(map(stage_of, plan))
    for position, change in enumerate(plan):
        if isinstance(change, RemoveLink):
            before = after(observed, plan[:position])
            assert all(route.interface != change.name for route in before.routes)
        if isinstance(change, RemoveRoute | RemoveLink):
            assert not any(isinstance(later, CommitTable) for later in plan[position:])


@given(observed_states(), desired_states(), st.sets(st.sampled_from(BASE_CHAINS), min_size=1))
def test_base_chains_are_never_removed(
    observed: HostState, desired: HostState, unwanted: set[Chain]
) -> None:
    # given base chains that stand, and that nobody asks for
    standing = {chain.name: chain for chain in unwanted}
    observed = replace(observed, chains={**observed.chains, **standing})
    wanted = {name: each for name, each in desired.chains.items() if name not in standing}
    desired = replace(desired, chains=wanted)

    for change in plan_host(observed, desired, NAMESPACES).plan:
        if isinstance(change, CommitTable):
            assert not set(change.removed_chains) & standing.keys()


@given(observed_states(), desired_states())
def test_what_is_desired_and_there_is_not_touched(observed: HostState, desired: HostState) -> None:
    plan = plan_host(observed, desired, NAMESPACES).plan
    complete = {name for name, link in desired.links.items() if observed.links.get(name) == link}

    for change in plan:
        match change:
            case RemoveLink(name):
                assert name not in complete
            case AttachTask(link, _):
                assert link.name not in complete
            case RemoveRoute(route):
                assert route not in desired.routes or route.interface not in complete
            case CommitTable(removed_chains=chains, removed_sets=sets):
                assert not set(chains) & desired.chains.keys()
                assert not set(sets) & desired.sets.keys()


@given(observed_states(), desired_states())
def test_mending_from_an_old_state_takes_nothing_away(
    observed: HostState, desired: HostState
) -> None:
    mended = after(observed, only_mending(plan_host(observed, desired, NAMESPACES).plan, observed))

    assert {name: each.alias for name, each in mended.links.items()} == {
        name: each.alias for name, each in observed.links.items()
    }
    assert mended.mark_rules >= observed.mark_rules
    if observed.chains:
        assert (mended.chains, mended.sets) == (observed.chains, observed.sets)
        assert mended.routes >= observed.routes
        for route in mended.routes - observed.routes:
            assert route.kind is not RouteKind.HOST
            assert route.interface is None or mended.links[route.interface].up
    else:
        assert (mended.chains, mended.sets) == (desired.chains, desired.sets)


@given(desired_states(), desired_states(), st.sets(st.sampled_from(TASKS)))
def test_what_a_plan_is_said_to_reach_is_what_it_reaches(
    observed: HostState, desired: HostState, known: set[TaskId]
) -> None:
    # Half-built links are excluded: a state that was desired once has none, and
    # one that differs by its MTU only stays until its namespace is known.
    namespaces = {task: NAMESPACES[task] for task in known}
    reached = after(observed, plan_host(observed, desired, namespaces).plan)
    complete = {name for name, link in desired.links.items() if reached.links.get(name) == link}

    if reached.links.keys() <= complete:
        assert reached_state(desired, complete) == reached
