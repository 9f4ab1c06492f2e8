"""What a host should hold: links, routes, sets, and what stays closed."""

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import EUI, IPAddress, IPNetwork

from calico.closing import Direction
from calico.dataplane.nft.expr import dropping
from calico.dataplane.render.host import Rendered, render_host
from calico.dataplane.render.policy import chain_name, tag_set_name
from calico.dataplane.state import (
    MAIN_TABLE,
    MarkRule,
    Protected,
    Route,
    RouteKind,
)
from calico.model import (
    Action,
    EndpointSpec,
    HostEndpoint,
    HostEndpointId,
    HostName,
    InterfaceName,
    Match,
    Policy,
    PolicyId,
    Pool,
    Profile,
    ProfileId,
    Rule,
    Snapshot,
    Tag,
)
from calico.selector import OneOf
from tests.dataplane_worlds import (
    CONFIG,
    HERE,
    HERE_ADDRESS,
    POOL,
    POOL6,
    THERE,
    THERE_ADDRESS,
    group,
    openings,
    snapshot,
    spec,
)

PROFILES = (group("red"), group("blue"), openings("app", "red", 9000))
TASK = spec("task", "red", "app", addresses=["10.9.0.1", "fd00:9::1"])


def route_of(rendered: Rendered, destination: str) -> Route:
    (found,) = (
        route
        for route in rendered.state.routes
        if str(route.destination) == destination and route.table != MAIN_TABLE
    )
    return found


def test_a_link_that_was_there_before_its_task_is_the_same_for_every_task() -> None:
    held = replace(TASK, interface=InterfaceName("cali00container"))
    later = replace(held, id=replace(TASK.id, workload="later"), profiles=())

    before, after = (
        render_host(snapshot([each], PROFILES), CONFIG).state.links[held.interface]
        for each in (held, later)
    )

    assert before == after
    assert before.alias.split(" ")[0] == held.interface
    own = render_host(snapshot([TASK], PROFILES), CONFIG).state.links[TASK.interface]
    assert own.alias.split(" ")[0] == "task"


def test_a_local_endpoint_gets_link_route_source_check_and_chains() -> None:
    rendered = render_host(snapshot([TASK], PROFILES), CONFIG)
    state = rendered.state
    link = state.links[TASK.interface]
    assert link.wiring is not None
    assert (link.wiring.mac, link.wiring.addresses) == (TASK.mac, TASK.addresses)
    assert link.alias == link.wiring.alias
    assert route_of(rendered, "10.9.0.1/32") == Route(
        IPNetwork("10.9.0.1/32"), RouteKind.TASK, interface=TASK.interface, source=HERE_ADDRESS
    )
    assert route_of(rendered, "fd00:9::1/128").source is None
    inbound = chain_name(TASK.profiles, Direction.INBOUND)
    outbound = chain_name(TASK.profiles, Direction.OUTBOUND)
    assert state.sets["in4"].elements == {("10.9.0.1", ("goto", inbound))}
    assert state.sets["in6"].elements == {("fd00:9::1", ("goto", inbound))}
    assert state.sets["out"].elements == {(TASK.interface, ("goto", outbound))}
    assert state.sets["local4"].elements == {"10.9.0.1"}
    mac = ":".join(f"{word:02x}" for word in link.wiring.mac.words)
    assert state.sets["source4"].elements == {("concat", TASK.interface, mac, "10.9.0.1")}
    assert {inbound, outbound} <= state.chains.keys()
    assert rendered.endpoint_problems == {}


def test_tasks_with_the_same_profiles_share_their_chains() -> None:
    others = [spec(f"t{n}", "red", "app", addresses=[f"10.9.0.{n}"]) for n in range(2, 9)]
    one = render_host(snapshot([TASK], PROFILES), CONFIG).state
    many = render_host(snapshot([TASK, *others], PROFILES), CONFIG).state
    assert many.chains == one.chains


def test_only_a_host_endpoint_that_is_active_is_wired() -> None:
    remote = spec("remote", "red", addresses=["10.9.0.2"], host=THERE)
    inactive = replace(TASK, active=False)
    rendered = render_host(snapshot([remote, inactive], PROFILES), CONFIG)
    assert rendered.state.links == {}
    assert rendered.state.sets["out"].elements == frozenset()
    assert rendered.endpoint_problems == {}


def test_base_chains_are_those_of_an_empty_host() -> None:
    empty = render_host(snapshot([]), CONFIG).state.chains
    full = render_host(snapshot([TASK], PROFILES), CONFIG).state.chains
    assert {name: chain.base for name, chain in empty.items()} == {
        name: chain.base for name, chain in full.items() if name in empty
    }
    hooks = {c.base.hook: (c.base.priority, c.base.policy) for c in empty.values() if c.base}
    assert hooks == {
        "prerouting": (-450, "accept"),
        "forward": (0, "drop"),
        "input": (0, "accept"),
        "postrouting": (100, "accept"),
    }


def test_the_mark_is_one_bit_added_to_those_of_others() -> None:
    chain = render_host(snapshot([]), CONFIG).state.chains["prerouting"]
    mark = {"meta": {"key": "mark"}}
    # Without a condition, so that nothing passes it by.
    (statement,) = next(
        found for each in chain.rules if len(found := json.loads(each.expression)) == 1
    )
    assert statement == {"mangle": {"key": mark, "value": {"|": [mark, CONFIG.mark]}}}


ROUTES = (("10.9.0.0/26", HERE), ("10.9.0.64/26", THERE), ("10.9.0.128/26", None))


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        pytest.param("10.9.0.0/26", (RouteKind.BLACKHOLE, None), id="own block"),
        pytest.param("10.9.0.64/26", (RouteKind.HOST, THERE_ADDRESS), id="another host's block"),
        pytest.param("10.9.0.5/32", (RouteKind.HOST, THERE_ADDRESS), id="borrowed from us"),
        pytest.param("10.9.0.130/32", (RouteKind.HOST, THERE_ADDRESS), id="in a block of none"),
        pytest.param("10.9.1.1/32", (RouteKind.HOST, THERE_ADDRESS), id="in no block"),
        pytest.param("10.9.0.70/32", None, id="in its host's block"),
        pytest.param("10.9.0.7/32", None, id="inactive"),
    ],
)
def test_routes_to_blocks_and_borrowed_addresses(
    destination: str, expected: tuple[RouteKind, IPAddress | None] | None
) -> None:
    addresses = ("10.9.0.5", "10.9.0.130", "10.9.1.1", "10.9.0.70")
    specs = [spec(f"r{a}", addresses=[a], host=THERE) for a in addresses]
    specs.append(replace(spec("off", addresses=["10.9.0.7"], host=THERE), active=False))
    rendered = render_host(snapshot(specs, block_hosts=ROUTES), CONFIG)
    found = {str(r.destination): r for r in rendered.state.routes if r.table != MAIN_TABLE}
    route = found.get(destination)
    assert (route and (route.kind, route.gateway)) == expected


@pytest.mark.parametrize(
    ("block", "pools", "routed"),
    [
        pytest.param("10.9.0.64/26", [POOL], True, id="of a pool"),
        pytest.param("10.9.0.64/26", [replace(POOL, disabled=True)], True, id="of a disabled pool"),
        pytest.param(
            "10.9.0.64/26", [replace(POOL, ipam=False)], True, id="of a pool without IPAM"
        ),
        pytest.param("10.9.0.64/26", [POOL6], False, id="of a pool that was deleted"),
        pytest.param("10.9.0.64/26", [], False, id="without any pool"),
        pytest.param("8.8.8.0/26", [POOL], False, id="of a name server"),
        pytest.param("2001:db8::/122", [POOL, POOL6], False, id="of nobody, in IPv6"),
        pytest.param("fd00:9::40/122", [POOL, POOL6], True, id="of a pool of IPv6"),
        pytest.param("10.0.0.0/8", [POOL], False, id="of a pool and more"),
        pytest.param(
            "10.9.0.64/26",
            [Pool(IPNetwork("10.9.0.64/27")), Pool(IPNetwork("10.9.0.96/27"))],
            True,
            id="of two pools, each a half",
        ),
        pytest.param("10.9.0.64/26", [Pool(IPNetwork("10.9.0.64/27"))], False, id="half of a pool"),
    ],
)
@pytest.mark.parametrize("host", [HERE, THERE])
def test_a_block_is_routed_within_the_pools_only_and_told_elsewhere(
    block: str, pools: list[Pool], routed: bool, host: HostName
) -> None:
    world = snapshot([], pools=pools, block_hosts=[(block, host)])
    both = replace(world.hosts[THERE], others=(IPAddress("fd00:77::2"),))
    config = replace(CONFIG, networks=(IPNetwork("fd00:77::/64"),))
    rendered = render_host(replace(world, hosts={**world.hosts, THERE: both}), config)
    table = {route.destination for route in rendered.state.routes if route.table != MAIN_TABLE}
    assert table == ({IPNetwork(block)} if routed else set())
    told = [f"block {block} of {host};" in each for each in rendered.host_problems]
    assert told == ([] if routed else [True])


def test_many_blocks_outside_the_pools_are_told_in_one_sentence() -> None:
    blocks = [(f"10.8.{number}.0/26", THERE) for number in range(40)]
    (told,) = render_host(snapshot([], block_hosts=blocks), CONFIG).host_problems
    assert "10.8.0.0/26 of there, 10.8.1.0/26 of there, 10.8.2.0/26 of there and 37 more;" in told


def test_of_a_deleted_pool_every_task_keeps_a_route_of_its_own() -> None:
    remote = [spec(f"r{a}", addresses=[a], host=THERE) for a in ("10.9.0.5", "10.9.0.70")]
    world = snapshot([TASK, *remote], PROFILES, pools=[], block_hosts=ROUTES)
    rendered = render_host(world, CONFIG)
    assert {(str(r.destination), r.kind, r.gateway) for r in rendered.state.routes} == {
        ("10.9.0.1/32", RouteKind.TASK, None),
        ("fd00:9::1/128", RouteKind.TASK, None),
        ("10.9.0.5/32", RouteKind.HOST, THERE_ADDRESS),
        ("10.9.0.70/32", RouteKind.HOST, THERE_ADDRESS),
    }
    assert rendered.state.sets["tasks4"].elements == {"10.9.0.1", "10.9.0.5", "10.9.0.70"}
    assert rendered.state.sets["tasks6"].elements == {"fd00:9::1"}
    # Without them nothing would look into the table of these routes.
    assert {rule.version for rule in rendered.state.mark_rules} == {4, 6}


@pytest.mark.parametrize(
    ("address", "routed"),
    [
        pytest.param("10.77.0.9", False, id="a neighbour of this host"),
        pytest.param("10.77.0.1", False, id="this host"),
        pytest.param("127.0.0.1", False, id="loopback"),
        pytest.param("169.254.169.254", False, id="link-local"),
        pytest.param("224.0.0.5", False, id="multicast"),
        pytest.param("10.99.0.9", True, id="an address in no pool"),
    ],
)
def test_no_endpoint_of_another_host_takes_what_is_this_hosts_own(
    address: str, routed: bool
) -> None:
    networks = (IPNetwork("10.77.0.0/24"),)
    remote = spec("r", "red", addresses=[address], host=THERE)
    local = spec("t", "red", addresses=["10.9.0.1"])
    red = replace(group("red"), inbound=(Rule(Action.ALLOW, Match(src_tag=Tag("red"))),))
    rendered = render_host(snapshot([remote, local], [red]), replace(CONFIG, networks=networks))
    assert (address in {str(each.destination.ip) for each in rendered.state.routes}) is routed
    for name in ("tasks4", tag_set_name(Tag("red"), 4)):
        assert (address in rendered.state.sets[name].elements) is routed


@pytest.mark.parametrize(
    ("others", "gateway"),
    [
        pytest.param(["fd00:77::2", "fd00:88::2"], "fd00:77::2", id="the first of its family"),
        pytest.param(["172.17.0.1", "fd00:99::1", "fd00:88::2"], "fd00:88::2", id="not ours too"),
        pytest.param(["fd00:99::2", "fd00:88::2"], "fd00:88::2", id="in a network of ours"),
        pytest.param(["fd00:99::2"], None, id="none in a network of ours"),
        pytest.param(["172.17.0.1"], None, id="none of its family"),
    ],
)
def test_the_other_family_is_routed_by_another_address_of_the_host(
    others: list[str], gateway: str | None
) -> None:
    remote = spec("r", addresses=["fd00:9::5"], host=THERE)
    world = snapshot([remote])
    hosts = {
        THERE: replace(world.hosts[THERE], others=tuple(map(IPAddress, others))),
        HERE: replace(world.hosts[HERE], others=(IPAddress("fd00:99::1"),)),
    }
    networks = tuple(IPNetwork(f"fd00:{each}::/64") for each in (77, 88))
    config = replace(CONFIG, networks=networks)
    found = render_host(replace(world, hosts=hosts), config).state.routes
    routes = {str(r.gateway) for r in found if r.destination == IPNetwork("fd00:9::5/128")}
    assert routes == ({gateway} if gateway else set())


def test_without_routing_only_own_addresses_and_blackholes_are_routed() -> None:
    remote = spec("r", addresses=["10.9.0.5"], host=THERE)
    world = snapshot([TASK, remote], PROFILES, block_hosts=ROUTES)
    rendered = render_host(world, replace(CONFIG, route_to_hosts=False))
    kinds = {route.kind for route in rendered.state.routes}
    assert kinds == {RouteKind.TASK, RouteKind.BLACKHOLE}


def test_an_address_that_two_hosts_claim_is_routed_to_neither() -> None:
    elsewhere = spec("b", addresses=["10.9.1.1"], host=THERE)
    third = replace(elsewhere, id=replace(elsewhere.id, host=HostName("third")))
    world = snapshot([elsewhere, third])
    world.hosts[HostName("third")] = replace(world.hosts[THERE], address=IPAddress("10.77.0.3"))
    destinations = {str(r.destination) for r in render_host(world, CONFIG).state.routes}
    assert "10.9.1.1/32" not in destinations


def test_a_local_address_is_never_routed_to_another_host() -> None:
    other = spec("other", addresses=["10.9.0.1"], host=THERE)
    rendered = render_host(snapshot([TASK, other], PROFILES), CONFIG)
    assert route_of(rendered, "10.9.0.1/32").kind is RouteKind.TASK


def test_the_main_table_blackholes_every_pool() -> None:
    routes = render_host(snapshot([TASK], PROFILES), CONFIG).state.routes
    main = {route for route in routes if route.table == MAIN_TABLE}
    assert main == {
        Route(pool.cidr, RouteKind.BLACKHOLE, table=MAIN_TABLE) for pool in (POOL, POOL6)
    }


@pytest.mark.parametrize(
    ("pools", "versions"),
    [pytest.param((POOL,), (4,), id="v4"), pytest.param((POOL, POOL6), (4, 6), id="v4 and v6")],
)
def test_rules_and_settings_follow_the_families_of_the_pools(
    pools: tuple[Pool, ...], versions: tuple[int, ...]
) -> None:
    state = render_host(snapshot([], pools=pools), CONFIG).state
    assert state.mark_rules == {
        rule
        for version in versions
        for rule in (MarkRule(version, 100, CONFIG.mark), MarkRule(version, 101, None))
    }
    assert state.sysctls.get("net/ipv4/ip_forward") == "1"
    assert state.sysctls.get("net/ipv4/conf/eth0/src_valid_mark") == "1"
    assert ("net/ipv6/conf/all/forwarding" in state.sysctls) == (6 in versions)


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        pytest.param([replace(TASK, addresses=())], "no address", id="no address"),
        pytest.param([replace(TASK, mac=None)], "no MAC", id="no MAC"),
        pytest.param(
            [replace(TASK, interface=InterfaceName("cali*"))],
            "no name that an interface",
            id="a wildcard for a name",
        ),
        pytest.param(
            [replace(TASK, interface=InterfaceName("eth0"))],
            "no name that an interface",
            id="not our prefix",
        ),
        pytest.param(
            [TASK, spec("other", addresses=["10.9.0.1"])],
            "10.9.0.1 is another endpoint's too",
            id="one address twice",
        ),
        pytest.param(
            [TASK, replace(spec("other", addresses=["10.9.0.2"]), interface=TASK.interface)],
            f"{TASK.interface} is another endpoint's too",
            id="one interface name twice",
        ),
        pytest.param(
            [spec("t", addresses=["10.77.0.9"])], "this host's own network", id="a neighbour's"
        ),
        pytest.param(
            [spec("t", addresses=["127.0.0.1"])], "none that a task can have", id="loopback"
        ),
        pytest.param(
            [spec("t", addresses=["ff02::1"])], "none that a task can have", id="multicast"
        ),
        pytest.param(
            [spec("t", addresses=["169.254.169.254"])],
            "none that a task can have",
            id="where a cloud hands out credentials",
        ),
        pytest.param(
            [replace(TASK, mac=EUI("03-00-00-00-00-01"))], "a group MAC", id="a group MAC"
        ),
    ],
)
def test_an_impossible_endpoint_is_closed_with_a_reason(
    specs: list[EndpointSpec], reason: str
) -> None:
    config = replace(CONFIG, networks=(IPNetwork("10.77.0.0/24"),))
    rendered = render_host(snapshot(specs, PROFILES), config)
    assert set(rendered.endpoint_problems) == {each.id for each in specs}
    assert all(reason in text for text in rendered.endpoint_problems.values())
    assert rendered.state.links == {}
    for name in ("out", "in4", "in6", "local4", "source4"):
        assert rendered.state.sets[name].elements == frozenset()


def test_a_host_that_registered_with_our_address_is_routed_nowhere() -> None:
    remote = spec("r", addresses=["10.9.1.1"], host=THERE)
    world = snapshot([remote], block_hosts=[("10.9.0.64/26", THERE)])
    for address, routed in ((THERE_ADDRESS, True), (HERE_ADDRESS, False)):
        hosts = {**world.hosts, THERE: replace(world.hosts[THERE], address=address)}
        routes = render_host(replace(world, hosts=hosts), CONFIG).state.routes
        assert any(route.kind is RouteKind.HOST for route in routes) is routed


def test_a_pool_that_overlaps_the_hosts_network_is_refused_with_a_remedy() -> None:
    config = replace(CONFIG, networks=(IPNetwork("10.9.128.0/24"),))
    inside = spec("inside", "red", addresses=["10.9.0.9"], host=THERE)
    world = snapshot([TASK, inside], PROFILES, block_hosts=[("10.9.0.0/26", THERE)])
    rendered = render_host(world, config)
    (sentence,) = rendered.host_problems
    assert "10.9.0.0/16" in sentence
    assert "10.9.128.0/24" in sentence
    assert "another range" in sentence
    assert rendered.endpoint_problems == {TASK.id: sentence}
    assert rendered.state.links == {}
    assert {str(route.destination) for route in rendered.state.routes} == {"fd00:9::/64"}
    assert rendered.state.sets["tasks4"].elements == frozenset()


def test_a_profile_problem_is_told_of_every_endpoint_that_names_it() -> None:
    broken = replace(group("red"), problem="unknown key 'foo'")
    rendered = render_host(snapshot([TASK], [broken, *PROFILES[1:]]), CONFIG)
    assert rendered.endpoint_problems == {TASK.id: "profile red: unknown key 'foo'"}
    assert TASK.interface in rendered.state.links


def test_a_protected_range_drops_before_anything_opens() -> None:
    protected = (Protected(IPNetwork("10.77.0.2/32"), 2379), Protected(IPNetwork("10.77.0.3")))
    state = render_host(snapshot([]), replace(CONFIG, protected=protected)).state
    plain = render_host(snapshot([]), CONFIG).state
    for name in ("from-task", "to-host"):
        added = [r for r in state.chains[name].rules if r not in plain.chains[name].rules]
        assert ["10.77.0.3" in r.expression for r in added] == [True, True, False, False]
        assert all('"drop"' in rule.expression for rule in added)


# Laws, over small worlds.

ADDRESSES = st.integers(1, 12).map(lambda n: f"10.9.0.{n}")
PROFILE_NAMES = st.sampled_from(["red", "blue", "app", "missing"])


@st.composite
def worlds(draw: st.DrawFn) -> Snapshot:
    specs = [
        replace(
            spec(
                f"t{number}",
                *draw(st.lists(PROFILE_NAMES, max_size=3, unique=True)),
                addresses=draw(st.lists(ADDRESSES, max_size=2)),
                host=draw(st.sampled_from([HERE, THERE])),
            ),
            active=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 8)))
    ]
    tagged = st.frozensets(st.sampled_from(["red", "blue"]).map(Tag)).map(tuple)
    asked = st.builds(
        lambda tag: Rule(Action.ALLOW, Match(src_tag=tag)),
        st.sampled_from(["red", "blue"]).map(Tag),
    )
    profiles = [
        Profile(ProfileId(name), draw(tagged), tuple(draw(st.lists(asked, max_size=2))))
        for name in ("red", "blue", "app")
    ]
    return snapshot(specs, profiles, block_hosts=ROUTES)


@settings(max_examples=60, deadline=None)
@given(world=worlds(), seed=st.integers())
def test_rendering_does_not_depend_on_the_order_of_what_it_reads(
    world: Snapshot, seed: int
) -> None:
    specs, profiles = list(world.specs.items()), list(world.profiles.items())
    blocks = list(world.block_hosts.items())
    for each in (specs, profiles, blocks):
        Random(seed).shuffle(each)
    shuffled = replace(
        world,
        specs=dict(specs),
        profiles=dict(profiles),
        block_hosts=dict(blocks),
        pools=tuple(reversed(world.pools)),
    )
    assert render_host(shuffled, CONFIG) == render_host(world, CONFIG)


@settings(max_examples=60, deadline=None)
@given(world=worlds())
def test_every_local_endpoint_is_wired_and_mapped_or_has_a_problem(world: Snapshot) -> None:
    rendered = render_host(world, CONFIG)
    inbound = {element[0] for element in rendered.state.sets["in4"].elements}
    outbound = {element[0] for element in rendered.state.sets["out"].elements}
    for each in world.specs.values():
        wired = each.interface in rendered.state.links
        if each.id.host != HERE or not each.active:
            assert not wired
            assert each.id not in rendered.endpoint_problems
        elif wired:
            assert each.interface in outbound
            assert set(map(str, each.addresses)) <= inbound
        else:
            assert rendered.endpoint_problems[each.id]
    assert outbound == set(rendered.state.links)


@settings(max_examples=60, deadline=None)
@given(world=worlds())
def test_a_tag_set_has_exactly_the_addresses_that_carry_the_tag(world: Snapshot) -> None:
    sets = render_host(world, CONFIG).state.sets
    for tag in (Tag("red"), Tag("blue")):
        found = sets.get(tag_set_name(tag, 4))
        if found is not None:
            assert found.elements == {
                str(address)
                for each in world.specs.values()
                for address in each.addresses
                if any(
                    tag in world.profiles[name].tags
                    for name in each.profiles
                    if name in world.profiles
                )
            }


@settings(max_examples=60, deadline=None)
@given(world=worlds())
def test_every_name_that_a_rule_or_verdict_uses_exists(world: Snapshot) -> None:
    state = render_host(world, CONFIG).state
    text = "".join(rule.expression for chain in state.chains.values() for rule in chain.rules)
    used = {part.split('"')[0] for part in text.split('"@')[1:]}
    assert used <= state.sets.keys()
    targets = {part.split('"')[0] for part in text.split('"target":"')[1:]}
    targets |= {
        element[1][1] for each in state.sets.values() if each.verdicts for element in each.elements
    }
    assert targets <= state.chains.keys()
    unused = {name for name in state.sets if name.startswith("tag")} - used
    assert unused == set()


POLICY = Policy(PolicyId("default", "web"), OneOf("role", frozenset({"web"})))


def selected_world(*specs: EndpointSpec) -> Snapshot:
    return replace(snapshot(specs, PROFILES), policies={POLICY.id: POLICY})


def test_a_task_that_a_tiered_policy_selects_is_wired_but_closed_and_no_other() -> None:
    closed = replace(TASK, labels=(("role", "web"),))
    other = spec("other", "red", "app", addresses=["10.9.0.2"])
    rendered = render_host(selected_world(closed, other), CONFIG)
    [inbound, outbound] = [chain_name((), each) for each in Direction]
    sets = rendered.state.sets
    assert ("10.9.0.1", ("goto", inbound)) in sets["in4"].elements
    assert ("fd00:9::1", ("goto", inbound)) in sets["in6"].elements
    assert (closed.interface, ("goto", outbound)) in sets["out"].elements
    for name in (inbound, outbound):
        assert rendered.state.chains[name].rules == (dropping(),)
    assert closed.interface in rendered.state.links
    assert rendered.endpoint_problems.keys() == {closed.id}
    assert "default/web" in rendered.endpoint_problems[closed.id]
    assert ("10.9.0.2", ("goto", chain_name(other.profiles, Direction.INBOUND))) in sets[
        "in4"
    ].elements


def test_a_task_that_is_closed_by_a_policy_stays_a_member_of_its_tags() -> None:
    closed = replace(TASK, labels=(("role", "web"),))
    other = spec("other", "red", "app", addresses=["10.9.0.2"])
    rendered = render_host(selected_world(closed, other), CONFIG)
    red = rendered.state.sets[tag_set_name(Tag("red"), 4)]
    assert red.elements == {"10.9.0.1", "10.9.0.2"}


def test_a_policy_that_selects_nobody_here_changes_nothing() -> None:
    plain = render_host(snapshot([TASK], PROFILES), CONFIG)
    assert render_host(selected_world(TASK), CONFIG) == plain


def test_a_host_s_own_interface_is_a_member_of_its_tags_and_told_where_it_is_not_enforced() -> None:
    here, there = (HostEndpointId(name, "eth0") for name in (HERE, THERE))
    names = (ProfileId("red"),)
    world = replace(
        snapshot([TASK], PROFILES),
        host_endpoints={
            here: HostEndpoint(here, (HERE_ADDRESS,), names),
            there: HostEndpoint(there, (THERE_ADDRESS, IPAddress("fd00:77::2")), names),
        },
    )
    rendered = render_host(world, CONFIG)
    sets = rendered.state.sets
    assert {str(HERE_ADDRESS), str(THERE_ADDRESS)} < sets[tag_set_name(Tag("red"), 4)].elements
    assert "fd00:77::2" in sets[tag_set_name(Tag("red"), 6)].elements
    assert sets["tasks4"] == render_host(snapshot([TASK], PROFILES), CONFIG).state.sets["tasks4"]
    [problem] = rendered.host_problems
    assert "eth0" in problem
