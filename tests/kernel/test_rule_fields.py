"""Every field of a rule, as an operator writes it, does in the kernel what Calico says it does.

Each row names all of the packets below that pass; the others do not.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from calico.codec import decode_profile
from calico.model import Profile, ProfileId, Snapshot
from reconciler.core.reaching.reach import ICMP, ICMPV6, TCP, UDP, Packet
from tests.dataplane_worlds import snapshot
from tests.kernel.between import Between, between_tasks
from tests.kernel.namespaces import Namespace
from tests.kernel.tables import A1, A1_6, A2, A2_6, SPECS

SCTP, OTHER = 132, 253
PACKETS = {
    "tcp 80": Packet(A1, A2, TCP, 4000, 80),
    "tcp 81": Packet(A1, A2, TCP, 4000, 81),
    "tcp 443": Packet(A1, A2, TCP, 5000, 443),
    "udp 80": Packet(A1, A2, UDP, 4000, 80),
    "udp 443": Packet(A1, A2, UDP, 5000, 443),
    "sctp 80": Packet(A1, A2, SCTP, 4000, 80),
    "echo": Packet(A1, A2, ICMP, icmp_type=8, icmp_code=0),
    "odd echo": Packet(A1, A2, ICMP, icmp_type=8, icmp_code=5),
    "time": Packet(A1, A2, ICMP, icmp_type=13, icmp_code=0),
    "other": Packet(A1, A2, OTHER),
    "tcp 80 over 6": Packet(A1_6, A2_6, TCP, 4000, 80),
    "udp 80 over 6": Packet(A1_6, A2_6, UDP, 4000, 80),
    "echo over 6": Packet(A1_6, A2_6, ICMPV6, icmp_type=128, icmp_code=0),
    "other over 6": Packet(A1_6, A2_6, OTHER),
}
ALL = frozenset(PACKETS)
OVER_6 = frozenset(name for name in ALL if "over 6" in name)
OVER_4 = ALL - OVER_6
WITH_TCP, WITH_UDP = (
    frozenset(name for name in ALL if name.startswith(word)) for word in ("tcp", "udp")
)
PORT_80 = frozenset(name for name in ALL if " 80" in name)
MANY = [*range(100, 140, 2), 80]
THERE = frozenset({"echo", "odd echo"})

Rules = Sequence[Mapping[str, object]]


@pytest.fixture
def between(namespace: Callable[[], Namespace]) -> Iterator[Between]:
    with between_tasks(namespace) as made:
        yield made


def profile(
    name: str, inbound: Rules = (), outbound: Rules = (), tags: Sequence[str] = ()
) -> Profile:
    rules = json.dumps({"inbound_rules": inbound, "outbound_rules": outbound})
    return decode_profile(ProfileId(name), {"tags": json.dumps(tags), "rules": rules})


OUT = profile("out", outbound=[{"action": "allow"}], tags=["mine"])
IN = profile("in", inbound=[{"action": "allow"}], tags=["theirs"])


def world(senders: Sequence[Profile], receivers: Sequence[Profile]) -> Snapshot:
    """a1 and a2 with these profiles, in this order."""
    specs = [
        replace(SPECS[task], profiles=tuple(each.id for each in listed))
        for task, listed in (("a1", senders), ("a2", receivers))
    ]
    return snapshot(specs, {each.id: each for each in (*senders, *receivers)}.values())


def passing(between: Between, asked: Snapshot) -> set[str]:
    """Which of the packets pass once this is brought in."""
    between.bring_in(asked)
    passed = between.passed(list(PACKETS.values()))
    return {name for name, packet in PACKETS.items() if packet in passed}


ROWS = [
    pytest.param([], set(), id="no rule"),
    pytest.param([{}], ALL, id="no field is an allow of everything"),
    pytest.param([{"action": "allow"}], ALL, id="allow"),
    pytest.param([{"action": "deny"}, {"action": "allow"}], set(), id="deny before allow"),
    pytest.param([{"action": "allow"}, {"action": "deny"}], ALL, id="allow before deny"),
    pytest.param([{"action": "log", "log_prefix": "x y"}, {}], ALL, id="log goes on"),
    pytest.param([{"action": "log"}], set(), id="log alone opens nothing"),
    pytest.param([{"ip_version": 4}], OVER_4, id="IPv4"),
    pytest.param([{"ip_version": 6}], OVER_6, id="IPv6"),
    pytest.param([{"protocol": "tcp"}], WITH_TCP, id="protocol by name"),
    pytest.param([{"protocol": 17}], WITH_UDP, id="protocol by number"),
    pytest.param([{"protocol": "132"}], {"sctp 80"}, id="protocol by number in text"),
    pytest.param([{"protocol": OTHER}], {"other", "other over 6"}, id="protocol without a name"),
    pytest.param([{"protocol": "icmp"}], {"echo", "odd echo", "time"}, id="icmp"),
    pytest.param([{"protocol": "icmpv6"}], {"echo over 6"}, id="icmpv6"),
    pytest.param([{"!protocol": "tcp"}], ALL - WITH_TCP, id="not a protocol"),
    pytest.param([{"src_tag": "mine"}], ALL, id="source tag"),
    pytest.param([{"src_tag": "theirs"}], set(), id="source tag of another"),
    pytest.param([{"src_tag": "nobody"}], set(), id="source tag of nobody"),
    pytest.param([{"dst_tag": "theirs"}], ALL, id="destination tag"),
    pytest.param([{"dst_tag": "mine"}], set(), id="destination tag of another"),
    pytest.param([{"!src_tag": "mine"}], set(), id="not a source tag"),
    pytest.param([{"!src_tag": "nobody"}], ALL, id="not a source tag of nobody"),
    pytest.param([{"!dst_tag": "theirs"}], set(), id="not a destination tag"),
    pytest.param([{"src_net": f"{A1}/32"}], OVER_4, id="source net opens its family only"),
    pytest.param([{"src_net": f"{A1_6}/128"}], OVER_6, id="source net of IPv6"),
    pytest.param([{"src_net": "10.9.0.2/31"}], set(), id="source net beside it"),
    pytest.param([{"dst_net": "10.9.0.2/31"}], OVER_4, id="destination net"),
    pytest.param([{"dst_net": "0.0.0.0/0"}], OVER_4, id="all of IPv4"),
    pytest.param([{"src_nets": ["10.8.0.0/16", f"{A1}/32", "fd00:9::/64"]}], ALL, id="source nets"),
    pytest.param([{"dst_nets": ["10.8.0.0/16", "fd00:9::/64"]}], OVER_6, id="destination nets"),
    pytest.param([{"!src_net": f"{A1}/32"}], set(), id="not a source net opens no other family"),
    pytest.param([{"!dst_net": "10.8.0.0/16"}], OVER_4, id="not a destination net"),
    pytest.param(
        [{"action": "deny", "!src_net": "10.8.0.0/16"}, {}], set(), id="deny outside a net, in both"
    ),
    pytest.param([{"action": "deny", "src_net": f"{A1}/32"}, {}], OVER_6, id="deny a net"),
    pytest.param([{"protocol": "tcp", "dst_ports": [80]}], PORT_80 & WITH_TCP, id="port of TCP"),
    pytest.param([{"protocol": "udp", "dst_ports": [80]}], PORT_80 & WITH_UDP, id="port of UDP"),
    pytest.param([{"protocol": "sctp", "dst_ports": [80]}], {"sctp 80"}, id="port of SCTP"),
    pytest.param(
        [{"protocol": "tcp", "dst_ports": [443, "79:81"]}], WITH_TCP, id="list and range of ports"
    ),
    pytest.param(
        [{"protocol": "tcp", "dst_ports": ["1:70", "200:900"]}], {"tcp 443"}, id="wide ranges"
    ),
    pytest.param(
        [{"protocol": "tcp", "dst_ports": MANY}], PORT_80 & WITH_TCP, id="more than 15 ports"
    ),
    pytest.param(
        [{"protocol": "tcp", "!dst_ports": [80, "81:90"]}], {"tcp 443"}, id="not these ports"
    ),
    pytest.param(
        [{"protocol": "tcp", "!dst_ports": MANY}], {"tcp 81", "tcp 443"}, id="not of many ports"
    ),
    pytest.param(
        [{"protocol": "tcp", "!dst_ports": ["1:80", "400:500"]}], {"tcp 81"}, id="not in ranges"
    ),
    pytest.param([{"protocol": "tcp", "src_ports": [5000]}], {"tcp 443"}, id="source port"),
    pytest.param(
        [{"protocol": "udp", "!src_ports": ["4000:4999"]}], {"udp 443"}, id="not a source port"
    ),
    pytest.param([{"protocol": "icmp", "icmp_type": 8}], THERE, id="ICMP type"),
    pytest.param([{"protocol": "icmp", "icmp_type": 8, "icmp_code": 0}], {"echo"}, id="ICMP code"),
    pytest.param([{"protocol": "icmp", "!icmp_type": 8}], {"time"}, id="not an ICMP type"),
    pytest.param(
        [{"protocol": "icmp", "!icmp_type": 8, "!icmp_code": 0}],
        {"odd echo", "time"},
        id="not a pair of ICMP type and code",
    ),
    pytest.param([{"protocol": "icmpv6", "icmp_type": 128}], {"echo over 6"}, id="ICMPv6 type"),
    pytest.param([{"protocol": 58, "!icmp_type": 128}], set(), id="not an ICMPv6 type"),
    pytest.param(
        [{"protocol": "tcp", "src_tag": "mine", "!src_net": "10.8.0.0/16", "dst_ports": ["1:100"],
          "!dst_ports": [81]}],
        {"tcp 80"},
        id="positive and negative together",
    ),
    pytest.param(
        [{"action": "deny", "protocol": "tcp", "dst_ports": [80]}, {"protocol": "tcp"}],
        WITH_TCP - PORT_80,
        id="a narrow deny before a wide allow",
    ),
    pytest.param([{}, {"colour": "red"}], set(), id="a field that is not known closes all"),
    pytest.param([{"src_selector": "all()"}], set(), id="a selector closes"),
    pytest.param([{"action": "next-tier"}], set(), id="the next tier closes"),
]  # fmt: skip


def test_each_field_of_an_inbound_rule(between: Between) -> None:
    wrong = {}
    for row in ROWS:
        rules, expected = row.values
        found = passing(between, world([OUT], [profile("app", inbound=rules, tags=["theirs"])]))
        if found != expected:
            wrong[row.id] = found ^ expected
    assert wrong == {}


def test_each_field_of_an_outbound_rule(between: Between) -> None:
    wrong = {}
    for row in ROWS:
        rules, expected = row.values
        found = passing(between, world([profile("app", outbound=rules, tags=["mine"])], [IN]))
        if found != expected:
            wrong[row.id] = found ^ expected
    assert wrong == {}


def test_profiles_are_asked_in_their_order_and_both_ends_must_agree(between: Between) -> None:
    tcp = profile("tcp", [{"protocol": "tcp"}], [{"protocol": "tcp"}])
    no_80 = [{"action": "deny", "protocol": "tcp", "dst_ports": [80]}]
    deny = profile("deny", no_80, no_80)
    udp = profile("udp", [{"protocol": "udp"}], [{"protocol": "udp"}])
    broken = profile("broken", [{"colour": 1}], [{"colour": 1}])
    for listed, expected in (
        ([tcp, deny], WITH_TCP),
        ([deny, tcp], WITH_TCP - PORT_80),
        ([tcp, udp], WITH_TCP | WITH_UDP),
        ([udp, broken, tcp], WITH_UDP),
        ([], set()),
    ):
        assert passing(between, world([OUT], [*listed, profile("last")])) == expected
        assert passing(between, world([*listed, profile("last")], [IN])) == expected
    assert passing(between, world([tcp], [udp])) == set()
    assert passing(between, world([tcp, udp], [deny, tcp])) == WITH_TCP - PORT_80


def test_a_profile_that_is_not_there_closes_until_it_is(between: Between) -> None:
    asked = world([OUT], [profile("app", [{}])])
    absent = replace(asked, profiles={OUT.id: OUT})
    assert [passing(between, each) for each in (absent, asked, absent)] == [set(), ALL, set()]
