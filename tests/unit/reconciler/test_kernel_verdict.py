"""The kernel's rules, followed by hand, against the answer of the policy."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from calico.dataplane.nft.expr import ACCEPT, matches, meta, rule
from calico.dataplane.render.host import render_host
from calico.dataplane.state import HostState
from calico.model import (
    Action,
    EndpointSpec,
    HostFlags,
    HostName,
    Match,
    PortRange,
    Profile,
    ProfileId,
    Protected,
    Rule,
    Snapshot,
    Tag,
)
from reconciler.core.kernels.look import Look
from reconciler.core.kernels.verdict import kernel_verdict
from reconciler.core.reaching.reach import (
    ICMP,
    TCP,
    UDP,
    EndpointParty,
    HostParty,
    OutsideParty,
    Packet,
    Party,
    first_packet,
    reach,
)
from tests.dataplane_worlds import (
    CONFIG,
    HERE,
    HERE_ADDRESS,
    THERE,
    THERE_ADDRESS,
    group,
    openings,
    snapshot,
    spec,
)

PROTECTED = (Protected(IPNetwork("203.0.113.0/24"), 2379), Protected(IPNetwork("198.51.100.0/24")))
HERE_CONFIG = replace(CONFIG, protected=PROTECTED)
THERE_CONFIG = replace(HERE_CONFIG, host=THERE, address=THERE_ADDRESS)
CONFIGS = {HERE: HERE_CONFIG, THERE: THERE_CONFIG}
FLAGS = {host: HostFlags(config.host_ports, config.protected) for host, config in CONFIGS.items()}
BLOCKS = (("10.9.0.0/26", HERE), ("10.9.1.0/26", THERE))
OUTSIDE = IPAddress("8.8.8.8")


def look_at(world: Snapshot, host: str = HERE, observed: HostState | None = None) -> Look:
    """A host whose kernel is as it should be, unless it is told otherwise."""
    config = CONFIGS[HERE if host == HERE else THERE]
    desired = render_host(world, config).state
    kernel = desired if observed is None else observed
    return Look(config.host, (config.address,), config.underlay, "", 1, "", desired, kernel, world)


def verdict(world: Snapshot, packet: Packet, *hosts: str) -> str:
    """What some hosts in a row do with a packet."""
    told = [kernel_verdict(look_at(world, host), packet).verdict for host in hosts]
    return next((each for each in told if each != "accept"), "accept")


RED, BLUE = Tag("red"), Tag("blue")
PORTS = st.lists(
    st.sampled_from([PortRange(1, 79), PortRange(80, 80), PortRange(81, 65535)]), max_size=2
).map(tuple)
NETS = st.sampled_from(
    [None, IPNetwork("10.9.0.0/26"), IPNetwork("10.9.0.1/32"), IPNetwork("0.0.0.0/0")]
)
TAGS = st.sampled_from([None, RED, BLUE])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Any rule that is enforced."""
    protocol = draw(st.sampled_from([None, TCP, UDP, ICMP]))
    ports = protocol in (TCP, UDP)
    negated = Match(
        src_tag=draw(TAGS),
        src_net=draw(NETS),
        dst_ports=draw(PORTS) if ports else (),
    )
    match = Match(
        protocol=protocol,
        src_tag=draw(TAGS),
        dst_tag=draw(TAGS),
        src_net=draw(NETS),
        dst_net=draw(NETS),
        dst_ports=draw(PORTS) if ports else (),
        icmp_type=draw(st.sampled_from([None, 8, 0])) if protocol == ICMP else None,
    )
    action = draw(st.sampled_from([Action.ALLOW, Action.DENY, Action.LOG]))
    return Rule(action, match, negated if draw(st.booleans()) else Match())


@st.composite
def profiles(draw: st.DrawFn, name: str) -> Profile:
    """Any profile, also one that nobody can read."""
    return Profile(
        ProfileId(name),
        tuple(draw(st.sets(st.sampled_from([RED, BLUE])))),
        inbound=tuple(draw(st.lists(rules(), max_size=3))),
        outbound=tuple(draw(st.lists(rules(), max_size=2))),
        problem=draw(st.sampled_from(["", "", "", "unreadable"])),
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Snapshot, list[EndpointSpec]]:
    """Three tasks on two hosts under any profiles."""
    made = [draw(profiles(name)) for name in ("p", "q")]
    named = st.lists(st.sampled_from(["p", "q", "absent"]), unique=True, max_size=2)
    specs = [
        spec("a", *draw(named), addresses=["10.9.0.1"]),
        spec("b", *draw(named), addresses=["10.9.0.2"]),
        spec("c", *draw(named), addresses=["10.9.1.1"], host=THERE),
    ]
    return snapshot(specs, made, block_hosts=BLOCKS), specs


ASKED = [(TCP, 80), (TCP, 2379), (UDP, 53), (TCP, 5051), (ICMP, None)]
PROTOCOLS = st.sampled_from(ASKED)
FAR = (
    *(str(HERE_ADDRESS), str(THERE_ADDRESS)),
    *("8.8.8.8", "169.254.169.254", "203.0.113.5", "198.51.100.5"),
)


@settings(max_examples=150, deadline=None)
@given(world=worlds(), data=st.data(), asked=PROTOCOLS)
def test_hosts_that_are_as_they_should_be_do_what_the_policy_answers(
    world: tuple[Snapshot, list[EndpointSpec]], data: st.DataObject, asked: tuple[int, int | None]
) -> None:
    stored, specs = world
    source = data.draw(st.sampled_from(specs))
    ends: list[tuple[Party, IPAddress]] = [
        *((EndpointParty(each), each.addresses[0]) for each in specs if each is not source),
        (HostParty(HERE), HERE_ADDRESS),
        (HostParty(THERE), THERE_ADDRESS),
        (OutsideParty(), OUTSIDE),
    ]
    party, address = data.draw(st.sampled_from(ends))
    packet = first_packet(source.addresses[0], address, *asked)
    # when
    answer = reach(stored, EndpointParty(source), party, packet, flags=FLAGS)
    # then every host on the way lets it pass, or one of them does not
    way = [source.id.host]
    match party:
        case EndpointParty(each):
            way.append(each.id.host)
        case HostParty(host):
            way.append(host)
        case OutsideParty():
            pass
    wanted = "accept" if answer.allowed else "drop"
    assert verdict(stored, packet, *dict.fromkeys(way)) == wanted, answer


@pytest.mark.parametrize("host", [HERE, THERE])
@pytest.mark.parametrize("out", [(), (Rule(Action.ALLOW),)], ids=["nothing out", "all out"])
@pytest.mark.parametrize("address", [*map(IPAddress, FAR)], ids=FAR)
@pytest.mark.parametrize("asked", ASKED)
def test_hosts_and_the_outside_are_judged_as_flags_say(
    host: HostName, out: tuple[Rule, ...], address: IPAddress, asked: tuple[int, int | None]
) -> None:
    task = spec("a", "p", addresses=["10.9.0.1"], host=host)
    stored = snapshot([task], [Profile(ProfileId("p"), outbound=out)], block_hosts=BLOCKS)
    parties: dict[IPAddress, Party] = {
        HERE_ADDRESS: HostParty(HERE),
        THERE_ADDRESS: HostParty(THERE),
    }
    party = parties.get(address, OutsideParty())
    packet = first_packet(task.addresses[0], address, *asked)
    answer = reach(stored, EndpointParty(task), party, packet, flags=FLAGS)
    way = [host, *([party.host] if isinstance(party, HostParty) else [])]
    assert answer.allowed is not None
    assert verdict(stored, packet, *dict.fromkeys(way)) == ("accept" if answer.allowed else "drop")


@settings(max_examples=50, deadline=None)
@given(world=worlds(), asked=PROTOCOLS)
def test_from_elsewhere_too(
    world: tuple[Snapshot, list[EndpointSpec]], asked: tuple[int, int | None]
) -> None:
    stored, specs = world
    for party, source in ((HostParty(THERE), THERE_ADDRESS), (OutsideParty(), OUTSIDE)):
        packet = first_packet(source, specs[0].addresses[0], *asked)
        answer = reach(stored, party, EndpointParty(specs[0]), packet)
        assert verdict(stored, packet, HERE) == ("accept" if answer.allowed else "drop")


# -- kernels that are not as they should be --

A, B = (
    spec("a", "red", "app", addresses=["10.9.0.1"]),
    spec("b", "red", "app", addresses=["10.9.0.2"]),
)
WORLD = snapshot([A, B], [group("red"), openings("app", "red", 80)], block_hosts=BLOCKS)
DESIRED = render_host(WORLD, HERE_CONFIG).state
WEB = first_packet(A.addresses[0], B.addresses[0], TCP, 80)


def with_rule(chain: str, *statements: object) -> HostState:
    """The kernel after somebody put a rule first."""
    held = DESIRED.chains[chain]
    first = replace(rule(*statements), digest="foreign")
    changed = replace(held, rules=(first, *held.rules))
    return replace(DESIRED, chains={**DESIRED.chains, chain: changed})


def without_route(spec_: EndpointSpec) -> HostState:
    routes = {each for each in DESIRED.routes if each.interface != spec_.interface}
    return replace(DESIRED, routes=frozenset(routes))


DROP_FROM_A = (
    matches({"payload": {"protocol": "ip", "field": "saddr"}}, "10.9.0.1"),
    {"drop": None},
)


@pytest.mark.parametrize(
    ("observed", "told", "by"),
    [
        pytest.param(DESIRED, "accept", "chain in-", id="as it should be"),
        pytest.param(with_rule("forward", *DROP_FROM_A), "drop", "forward, rule 1", id="a drop"),
        pytest.param(
            with_rule("forward", {"counter": {"packets": 1, "bytes": 1}}),
            "accept",
            "chain in-",
            id="a rule that decides nothing",
        ),
        pytest.param(
            with_rule("forward", matches(meta("skuid"), 7), ACCEPT),
            "unknown",
            "rule 1",
            id="asks for something unknown",
        ),
        pytest.param(
            with_rule("forward", {"queue": {"num": 1}}),
            "unknown",
            "queue",
            id="does something unknown",
        ),
        pytest.param(without_route(B), "drop", "blackhole 10.9.0.0/26", id="no route"),
        pytest.param(replace(DESIRED, links={}), "drop", "the link is gone", id="no link"),
        pytest.param(
            replace(
                DESIRED,
                links={each.name: replace(each, up=False) for each in DESIRED.links.values()},
            ),
            "drop",
            "the link is down",
            id="link down",
        ),
        pytest.param(
            replace(DESIRED, mark_rules=frozenset()),
            "drop",
            "blackhole 10.9.0.0/16 table 254",
            id="no ip rule",
        ),
        pytest.param(replace(DESIRED, chains={}, sets={}), "drop", "blackhole", id="no table"),
        pytest.param(
            replace(
                DESIRED,
                sets={
                    **DESIRED.sets,
                    "source4": replace(DESIRED.sets["source4"], elements=frozenset()),
                },
            ),
            "drop",
            "chain prerouting",
            id="not known as the source",
        ),
    ],
)
def test_what_the_kernel_holds_decides(observed: HostState, told: str, by: str) -> None:
    found = kernel_verdict(look_at(WORLD, observed=observed), WEB)
    assert found.verdict == told
    assert by in found.by
