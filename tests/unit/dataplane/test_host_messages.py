"""A host's own addresses and ip rules, packed and read by hand."""

import pytest
from netaddr import IPNetwork
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from calico.dataplane import host_messages as messages
from calico.dataplane.netlink_wire import attribute, number
from calico.dataplane.state import MarkRule

RULES = [
    pytest.param(MarkRule(version, preference, mark), id=f"IPv{version}, {words}")
    for version in (4, 6)
    for preference, mark, words in ((100, 0x10000, "marked packets"), (101, None, "own packets"))
]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_means_to_pyroute2_what_it_means_to_us(rule: MarkRule) -> None:
    request = messages.add_rule(rule)
    message = fibmsg(request.packed(7))
    message.decode()
    seen = {
        name: message.get_attr(f"FRA_{name}")
        for name in ("PRIORITY", "TABLE", "PROTOCOL", "FWMARK", "FWMASK", "IIFNAME")
    }
    own = rule.mark is None
    assert seen == {
        "PRIORITY": rule.preference,
        "TABLE": 80,
        "PROTOCOL": 80,
        "FWMARK": rule.mark,
        "FWMASK": rule.mark,
        "IIFNAME": "lo" if own else None,
    }
    assert messages.parse_rule(request.body) == rule


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(number(messages.FRA_PRIORITY, 99), id="another preference"),
        pytest.param(attribute(messages.FRA_PROTOCOL, b"\4"), id="another protocol"),
        pytest.param(number(messages.FRA_TABLE, 254), id="another table"),
        pytest.param(number(messages.FRA_FWMASK, 0xFF), id="another mask"),
        pytest.param(attribute(messages.FRA_IIFNAME, b"eth0\0"), id="another interface"),
    ],
)
def test_a_rule_that_differs_is_not_ours(more: bytes) -> None:
    # Of equal attributes the last one counts.
    assert messages.parse_rule(messages.add_rule(MarkRule(4, 100, 0x10000)).body + more) is None


@pytest.mark.parametrize("text", ["10.1.2.3/24", "fd00::7/64"])
def test_an_address_is_read_with_its_prefix(text: str) -> None:
    network = IPNetwork(text)
    message = ifaddrmsg()
    message["family"] = 2 if network.version == 4 else 10
    message["prefixlen"], message["index"] = network.prefixlen, 5
    message["attrs"] = [("IFA_ADDRESS", str(network.ip))]
    message.encode()
    assert messages.parse_address(bytes(message.data[16:])) == (5, network)
