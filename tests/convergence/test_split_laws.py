"""Laws of a change of policy that is made in several transactions."""

from dataclasses import replace
from itertools import permutations, product

from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress

from calico.dataplane.changes import CommitTable
from calico.dataplane.nft.split import Room, split_commit, weight
from calico.dataplane.nft.walk import Probe, Table, Verdict, walk
from calico.dataplane.render.host import render_host
from calico.dataplane.state import HostState, NftSet
from calico.model import Action, EndpointSpec, Match, PortRange, Profile, ProfileId, Rule, Tag
from reconciler.core.plan import plan_host
from tests.convergence.kernel_model import after
from tests.dataplane_worlds import CONFIG, HERE, THERE, group, snapshot, spec

GROUPS = ("red", "blue")
PORTS = (80, 81)
#: Of each of these there is one endpoint at most, at a place of its own.
PLACES = [(HERE, n) for n in range(3)] + [(THERE, n) for n in range(3, 5)]
LOCAL = 3
TIGHT, ROOMY = Room(any=1, elements=1), Room(any=1, elements=1_000_000)

matches = st.builds(
    Match,
    protocol=st.just(6),
    src_tag=st.none() | st.sampled_from([Tag(each) for each in GROUPS]),
    dst_ports=st.sampled_from([(), *((PortRange(port, port),) for port in PORTS)]),
)
exceptions = st.builds(Match, src_tag=st.none() | st.sampled_from([Tag(each) for each in GROUPS]))
rules = st.builds(
    Rule, st.sampled_from([Action.ALLOW, Action.ALLOW, Action.DENY]), matches, exceptions
)


@st.composite
def tables(draw: st.DrawFn) -> HostState:
    """The table of a host with some tasks, whose apps open this and that."""
    apps = [
        Profile(
            ProfileId(f"app-{n}"),
            inbound=tuple(draw(st.lists(rules, max_size=2))),
            outbound=(Rule(Action.ALLOW),),
        )
        for n in range(2)
    ]
    specs: list[EndpointSpec] = []
    for host, number in PLACES:
        if draw(st.booleans()):
            groups = draw(st.sets(st.sampled_from(GROUPS)))
            app = draw(st.sampled_from(apps))
            address = f"10.9.0.{number + 1}"
            profiles = (*sorted(groups), str(app.id))
            specs.append(spec(f"t{number}", *profiles, addresses=[address], host=host))
    world = snapshot(specs, [*map(group, GROUPS), *apps])
    rendered = render_host(world, CONFIG).state
    return HostState(chains=rendered.chains, sets=rendered.sets)


def table_change(before: HostState, desired: HostState) -> CommitTable:
    (change,) = plan_host(before, desired, {}).plan or (CommitTable(),)
    assert isinstance(change, CommitTable)
    return change


def let_pass(state: HostState) -> set[tuple[int, int, int]]:
    """Who may begin a connection to whom, on which port.

    Without the chain that marks packets, none finds a route to a task.
    """
    passing: set[tuple[int, int, int]] = set()
    if "prerouting" not in state.chains:
        return passing
    table = Table(state.chains, state.sets)
    for (source, target), port in product(permutations(range(len(PLACES)), 2), PORTS):
        probe = Probe(
            IPAddress(f"10.9.0.{source + 1}"),
            IPAddress(f"10.9.0.{target + 1}"),
            6,
            *(
                spec(f"t{n}", host=HERE).interface if n < LOCAL else "eth0"
                for n in (source, target)
            ),
            source_port=40000,
            destination_port=port,
        )
        if walk(table, "forward", probe).verdict is Verdict.ACCEPT:
            passing.add((source, target, port))
    return passing


@settings(deadline=None)
@given(tables() | st.just(HostState()), tables(), st.sampled_from([TIGHT, Room(2000, 300)]))
def test_the_steps_lead_where_one_transaction_would(
    before: HostState, desired: HostState, room: Room
) -> None:
    change = table_change(before, desired)
    steps = split_commit(change, before.chains, before.sets, room)
    assert after(before, steps) == after(before, [change]) == desired


@settings(max_examples=60, deadline=None)
@given(tables() | st.just(HostState()), tables(), st.sampled_from([TIGHT, Room(2000, 300)]))
def test_nothing_passes_in_between_that_neither_end_lets_pass(
    before: HostState, desired: HostState, room: Room
) -> None:
    change = table_change(before, desired)
    allowed = let_pass(before) | let_pass(desired)
    state = before
    for step in split_commit(change, before.chains, before.sets, room):
        state = after(state, [step])
        assert let_pass(state) <= allowed


def grown_set(before: NftSet | None, desired: NftSet) -> NftSet:
    """A set with what another has beside it; a key that is there keeps its verdict."""
    if before is None:
        return desired
    keys = {key_of(before, each) for each in before.elements}
    come = {each for each in desired.elements if key_of(desired, each) not in keys}
    return replace(before, elements=before.elements | come)


def key_of(each: NftSet, element: object) -> object:
    return element[0] if each.verdicts and isinstance(element, tuple) else element


@settings(deadline=None)
@given(tables(), tables())
def test_whoever_only_comes_closes_nobody(before: HostState, desired: HostState) -> None:
    grown = replace(
        before,
        chains=desired.chains | before.chains,
        sets={name: grown_set(before.sets.get(name), each) for name, each in desired.sets.items()}
        | {name: each for name, each in before.sets.items() if name not in desired.sets},
    )
    allowed = let_pass(before)
    state = before
    for step in split_commit(table_change(before, grown), before.chains, before.sets, ROOMY):
        state = after(state, [step])
        assert let_pass(state) >= allowed & let_pass(grown)


@settings(deadline=None)
@given(tables(), tables())
def test_each_step_is_in_its_room_if_it_can_be_divided(
    before: HostState, desired: HostState
) -> None:
    room = Room(20_000, 300)
    for step in split_commit(table_change(before, desired), before.chains, before.sets, room):
        alone = not step.chains and not step.removed_chains and not step.removed_sets
        known = {each.name for each in step.previous_sets}
        elements_only = alone and all(each.name in known for each in step.sets)
        assert weight(step) <= (room.elements + 512 if elements_only else room.any)
