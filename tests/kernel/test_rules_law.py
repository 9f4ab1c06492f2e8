"""What the kernel lets through is what Calico's rules admit, whatever they are."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from calico.codec import decode_profile
from calico.model import EndpointSpec, Profile, ProfileId, Snapshot
from reconciler.core.reaching.reach import ICMP, ICMPV6, TCP, UDP, EndpointParty, Packet, reach
from tests.counts import Counts
from tests.dataplane_worlds import snapshot
from tests.kernel.between import Between, between_tasks
from tests.kernel.namespaces import Namespace
from tests.kernel.tables import A1, A1_6, A2, A2_6, SPECS

SCTP, UNKNOWN = 132, 253
ENDS = {4: (A1, A2), 6: (A1_6, A2_6)}
LISTED = {
    "a1": tuple(map(ProfileId, ("from-1", "from-2"))),
    "a2": tuple(map(ProfileId, ("to-1", "to-2"))),
    "b1": (ProfileId("other"),),
}
PROFILES = tuple(dict.fromkeys(name for names in LISTED.values() for name in names))
TAGS = ("t1", "t2", "t3")
#: Around what the two ends have, and far from it; all of a family too.
NETS = {
    4: ("10.9.0.1/32", "10.9.0.2/32", "10.9.0.0/31", "10.9.0.2/31", "10.9.0.3/8", "0.0.0.0/0",
        "192.168.0.0/16"),
    6: ("fd00:9::1/128", "fd00:9::2/127", "fd00:9::/64", "::/0", "2001:db8::/32"),
}  # fmt: skip
SOURCE_PORTS, PORTS = (1024, 4000, 65535), (1, 80, 81, 443, 8080, 65535)
MANY_PORTS = (*range(90, 130, 2), 443)
NAMES = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmpv6", SCTP: "sctp"}
WITH_PORTS = (TCP, UDP, SCTP)
#: Those that connection tracking takes for a beginning; it calls the others invalid.
ICMP_TYPES = {ICMP: (8, 13), ICMPV6: (128, 139)}
#: The family of those that have one.
FAMILY = {ICMP: 4, ICMPV6: 6}

Fields = dict[str, object]


def ports(known: tuple[int, ...]) -> st.SearchStrategy[list[int | str]]:
    one = st.sampled_from(known)
    ranged = st.tuples(one, one).map(sorted).map(lambda ends: f"{ends[0]}:{ends[1]}")
    return st.one_of(
        st.lists(st.one_of(one, ranged), min_size=1, max_size=3),
        st.just(list(MANY_PORTS)),
        st.just(["0:65535"]),
    )


def texts(number: int) -> st.SearchStrategy[int | str]:
    """The ways to write a protocol."""
    return st.sampled_from([number, str(number), *([NAMES[number]] if number in NAMES else [])])


def rules() -> st.SearchStrategy[Fields]:
    """One rule as an operator would write it; now and then it asks for what cannot be."""
    return st.sampled_from(KINDS).flatmap(lambda kind: RULES[kind])


def rules_for(protocol: int | None, version: int) -> st.SearchStrategy[Fields]:
    """Rules for a protocol that look at addresses of one family."""
    tag, net = st.sampled_from(TAGS), st.sampled_from(NETS[version])
    listed = st.lists(st.sampled_from(NETS[4] + NETS[6]), min_size=1, max_size=4)
    other = st.sampled_from((TCP, UDP, ICMP, UNKNOWN)).flatmap(texts)
    offered: list[tuple[str, st.SearchStrategy[object]]] = [
        ("ip_version", st.just(version)),
        ("log_prefix", st.just('so "far"')),
        ("!protocol", other),
        ("src_nets", listed),
        ("dst_nets", listed),
    ]
    for sign, side in itertools.product(("", "!"), ("src", "dst")):
        offered += [(f"{sign}{side}_tag", tag), (f"{sign}{side}_net", net)]
        if protocol in WITH_PORTS:
            known = ports(SOURCE_PORTS if side == "src" else PORTS)
            offered += [(f"{sign}{side}_ports", known)] * (1 if side == "src" else 3)
    if protocol in ICMP_TYPES:
        for sign in ("", "!"):
            types = st.sampled_from((*ICMP_TYPES[protocol], 0))
            typed = st.tuples(types, st.sampled_from((None, 0, 1, 5)))
            offered += [(f"{sign}icmp_type", typed)] * 3
    asked = [st.tuples(st.just(name), values) for name, values in offered]
    return st.builds(
        partial(_rule, protocol),
        st.sampled_from(ACTIONS),
        st.just(None) if protocol is None else texts(protocol),
        st.lists(st.one_of(asked), max_size=4),
    )


def _rule(
    number: int | None, action: str | None, protocol: object, asked: list[tuple[str, object]]
) -> Fields:
    found: Fields = {} if action is None else {"action": action}
    if number is not None:
        found["protocol"] = protocol
    for name, value in asked:
        found[name] = value
        if isinstance(value, tuple):
            found[name], code = value
            if code is not None:
                found[name.replace("type", "code")] = code
    return found


ACTIONS = ("allow", "allow", "allow", "allow", "deny", "deny", "log", None)
#: Protocol and family of a rule's conditions, the usual ones more often.
KINDS = (
    *itertools.product((None, None, TCP, TCP, UDP, UDP, SCTP, UNKNOWN), (4, 6)),
    (ICMP, 4),
    (ICMP, 4),
    (ICMPV6, 6),
    (ICMPV6, 6),
)
RULES = {kind: rules_for(*kind) for kind in dict.fromkeys(KINDS)}


@st.composite
def profiles(draw: st.DrawFn, name: ProfileId) -> Profile:
    """A profile read from JSON, as the agent reads it."""
    lists = {}
    for direction, openness in (("inbound", 3), ("outbound", 1)):
        listed = draw(st.lists(rules(), max_size=4))
        # Else hardly anything would ever pass both ends.
        if draw(st.integers(0, openness)) <= 1:
            listed.append({"action": "allow"})
        lists[f"{direction}_rules"] = listed
    tags = draw(st.lists(st.sampled_from(TAGS), unique=True, max_size=2))
    return decode_profile(name, {"tags": json.dumps(tags), "rules": json.dumps(lists)})


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """The first packet of a connection from a1 to a2."""
    version = draw(st.sampled_from((4, 6)))
    kinds = (TCP, UDP, SCTP, UNKNOWN, ICMP, ICMPV6)
    protocol = draw(
        st.sampled_from([each for each in kinds if FAMILY.get(each, version) == version])
    )
    if protocol in WITH_PORTS:
        port = draw(st.one_of(st.sampled_from(PORTS), st.sampled_from(MANY_PORTS)))
        return Packet(*ENDS[version], protocol, draw(st.sampled_from(SOURCE_PORTS)), port)
    if protocol in ICMP_TYPES:
        kind = draw(st.sampled_from(ICMP_TYPES[protocol]))
        code = draw(st.sampled_from((0, 1, 5)))
        return Packet(*ENDS[version], protocol, icmp_type=kind, icmp_code=code)
    return Packet(*ENDS[version], protocol)


@st.composite
def worlds(draw: st.DrawFn) -> Snapshot:
    """Some of the profiles, and which of them the endpoints list in what order."""
    made = [draw(profiles(name)) for name in PROFILES if draw(st.integers(0, 40))]
    specs = []
    for task, names in LISTED.items():
        listed = draw(st.permutations(names)) if draw(st.booleans()) else names[:1]
        specs.append(replace(SPECS[task], profiles=tuple(listed)))
    return snapshot(specs, made)


@pytest.fixture
def between(namespace: Callable[[], Namespace]) -> Iterator[Between]:
    with between_tasks(namespace) as made:
        yield made


def expected(world: Snapshot, sent: list[Packet]) -> list[Packet]:
    """What Calico's rules admit by their letter."""
    by_task: Mapping[str, EndpointSpec] = {
        endpoint.workload: spec for endpoint, spec in world.specs.items()
    }
    one, two = EndpointParty(by_task["a1"]), EndpointParty(by_task["a2"])
    return [each for each in sent if reach(world, one, two, each).allowed]


@pytest.mark.soak
def test_the_kernel_lets_through_what_the_rules_admit_and_nothing_else(
    between: Between, counts: Counts, pytestconfig: pytest.Config
) -> None:
    admitted = denied = 0

    @settings(
        max_examples=counts.policies,
        derandomize=not pytestconfig.getoption("--soak"),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds(), st.lists(packets(), min_size=6, max_size=12, unique=True))
    def holds(world: Snapshot, sent: list[Packet]) -> None:
        nonlocal admitted, denied
        between.bring_in(world)
        wanted = expected(world, sent)
        for name, profile in sorted(world.profiles.items()):
            note(f"{name}: {profile}")
        assert between.passed(sent) == wanted
        admitted += len(wanted)
        denied += len(sent) - len(wanted)

    holds()

    assert admitted > counts.policies
    assert denied > counts.policies


def test_the_law_notices_a_rule_that_is_wider_than_it_should_be(between: Between) -> None:
    """That it can fail: the kernel gets another policy than the one that is asked."""
    narrow, wide = (
        snapshot(
            [replace(SPECS["a1"], profiles=(ProfileId("p"),)),
             replace(SPECS["a2"], profiles=(ProfileId("p"),))],
            [decode_profile(ProfileId("p"), {"rules": json.dumps(
                {"inbound_rules": [{"protocol": "tcp", **ports}], "outbound_rules": [{}]})})],
        )
        for ports in ({"dst_ports": [80]}, {})
    )  # fmt: skip
    sent = [Packet(A1, A2, TCP, 4000, port) for port in PORTS]
    between.bring_in(wide)
    assert between.passed(sent) == expected(wide, sent) != expected(narrow, sent)
