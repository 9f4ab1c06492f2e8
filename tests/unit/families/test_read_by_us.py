"""Whatever either of Calico's families writes, we take as it was meant, or closed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.datastore.api import Key
from calico.model import Profile, ProfileId
from tests.unit.calico.samples import sample
from tests.unit.families import go_family, ours, pycalico, python_family
from tests.unit.families.meaning import RefusedError, Rules

#: One object by key, and one by file, for each that the fixtures hold.
KEYED = ("v1-workload-endpoint", "v1-workload-endpoint-full", "v1-host-endpoint")
BLOCKS = ("ipam-block-python", "ipam-block-go")
TREES = (
    "v1-profile",
    "v1-policy",
    "v1-pools",
    "ipam-other",
    "bgp",
    "config-defaults-pycalico",
    "felix-status",
)


def stored() -> dict[str, str]:
    """Every key of every fixture, with its text."""
    found = {}
    for name in (*KEYED, *BLOCKS):
        found[sample(name)["key"]] = sample(name)["value"]
    for name in TREES:
        found.update(sample(name)["keys"])
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()
    }


def kind_of(key: str) -> str:
    """What we take a key for."""
    parsers: dict[str, Callable[[Key], object]] = {
        "endpoint": keys.parse_endpoint_key,
        "host endpoint": keys.parse_host_endpoint_key,
        "status": keys.parse_status_key,
        "profile": keys.parse_profile_key,
        "policy": keys.parse_policy_key,
        "pool": keys.parse_pool_key,
        "block": keys.parse_block_key,
        "affinity": keys.parse_affinity_key,
        "handle": keys.parse_handle_key,
    }
    [kind] = [name for name, parse in parsers.items() if parse(Key(key)) is not None] or ["other"]
    return kind


def of_kind(kind: str) -> dict[str, str]:
    return {key: text for key, text in stored().items() if kind_of(key) == kind}


def test_every_key_of_the_fixtures_is_known_or_is_none_of_ours_to_read() -> None:
    others = set(of_kind("other"))
    assert {key.split("/")[2] for key in others} == {"v1", "bgp", "ipam", "felix"}
    assert {key for key in others if key.startswith("/calico/felix")} == {
        "/calico/felix/v1/host/calico-host-01/endpoint/eth0",
        "/calico/felix/v1/host/calico-host-01/status",
        "/calico/felix/v1/host/calico-host-01/last_reported_status",
    }
    assert {key for key in others if key.startswith("/calico/ipam")} == {"/calico/ipam/v2/config"}
    read_as_text = ("/config/", "/Ready", "/bird_ip", "/metadata")
    assert all(
        any(part in key for part in read_as_text) for key in others if key.startswith("/calico/v1")
    )


@pytest.mark.parametrize("key", of_kind("endpoint"))
def test_an_endpoint_is_read_as_its_family_meant_it(key: str) -> None:
    text = stored()[key]
    endpoint = keys.parse_endpoint_key(Key(key))
    assert endpoint is not None
    named = (endpoint.host, endpoint.orchestrator, endpoint.workload, endpoint.endpoint)
    assert go_family.workload_key(key) == named
    found = ours.endpoint_meaning(codec.decode_endpoint(endpoint, text))
    assert found == python_family.felix_endpoint(text)
    assert found == go_family.endpoint(text)
    assert found == pycalico.endpoint(text)


@pytest.mark.parametrize("key", of_kind("host endpoint"))
def test_a_host_endpoint_is_read_as_felix_reads_it(key: str) -> None:
    endpoint = keys.parse_host_endpoint_key(Key(key))
    assert endpoint is not None
    found = codec.decode_host_endpoint(endpoint, stored()[key])
    assert set(map(str, found.addresses)) == python_family.felix_host_endpoint(stored()[key])


@pytest.mark.parametrize("key", of_kind("profile"))
def test_a_leaf_of_a_profile_is_read_as_its_family_meant_it(key: str) -> None:
    text = stored()[key]
    parsed = keys.parse_profile_key(Key(key))
    assert parsed is not None
    match parsed[1]:
        case "rules":
            inbound, outbound = codec.decode_rules(text)
            found = ours.rules_meaning(Profile(parsed[0], (), inbound, outbound))
            assert found == python_family.felix_rules(text) == go_family.rules(text)
            assert found == pycalico.rules(text)
        case "tags":
            assert set(codec.decode_tags(text)) == python_family.felix_tags(text)
        case "labels":
            assert set(codec.decode_labels(text)) == python_family.felix_labels(text)


@pytest.mark.parametrize("key", of_kind("pool"))
def test_a_pool_is_read_as_its_family_meant_it(key: str) -> None:
    cidr = keys.parse_pool_key(Key(key))
    assert cidr is not None
    found = ours.pool_meaning(codec.decode_pool(cidr, stored()[key]))
    # Go would take an absent flag for false, and a pool of the other family for unusable.
    assert found == pycalico.pool(stored()[key])


@pytest.mark.parametrize("key", of_kind("policy"))
def test_a_policy_selects_for_us_whom_it_selects_for_go(key: str) -> None:
    policy = keys.parse_policy_key(Key(key))
    assert policy is not None
    assert go_family.policy_selector(stored()[key])
    codec.decode_policy(policy, stored()[key])


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_read_as_its_family_meant_it(name: str) -> None:
    cidr = keys.parse_block_key(Key(sample(name)["key"]))
    assert cidr is not None
    text = json.dumps(sample(name)["value"])
    found = ours.block_meaning(codec.decode_block(cidr, text))
    assert found == (pycalico.block if name.endswith("python") else go_family.block)(text)


@pytest.mark.parametrize("key", of_kind("handle"))
def test_a_handle_is_read_as_its_family_meant_it(key: str) -> None:
    handle = keys.parse_handle_key(Key(key))
    assert handle is not None
    text = stored()[key]
    found = {str(cidr): count for cidr, count in codec.decode_handle(handle, text).items()}
    assert (handle, found) == pycalico.handle(text) == go_family.handle(key, text)


@pytest.mark.parametrize("key", of_kind("status"))
def test_a_status_is_read_as_felix_meant_it(key: str) -> None:
    word = codec.decode_status(stored()[key]).state.value
    assert word == python_family.felix_status(stored()[key])


# -- rules, field by field: whatever may stand in one --

junk: st.SearchStrategy[object] = st.sampled_from([None, "", "x", -1, True, 65536, [], {}, 1.5])
nets = st.sampled_from(
    ["10.0.0.0/8", "10.1.2.3", "10.1.2.3/8", "0.0.0.0/0", "fd80::/64", "::/0", "fd80::1"]
)
port_lists = st.lists(
    st.sampled_from([0, 80, 65535, "443", "1:2", "8000:8080", "9:8", "x"]), max_size=3
)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "protocol": st.sampled_from(["tcp", "udp", "icmp", "icmpv6", "sctp", 6, "17", 1, 58, 255]),
    "src_tag": st.sampled_from(["a", "b-c_d.e"]),
    "dst_tag": st.sampled_from(["a", "b"]),
    "src_net": nets,
    "dst_net": nets,
    "src_ports": port_lists,
    "dst_ports": port_lists,
    "icmp_type": st.integers(1, 255),
    "icmp_code": st.integers(0, 255),
}
ODDITIES: dict[str, st.SearchStrategy[object]] = {
    "action": st.sampled_from(["allow", "deny", "log", "next-tier"]),
    "ip_version": st.sampled_from([4, 6, 5]),
    "log_prefix": st.sampled_from(["seen", "a b"]),
    "src_nets": st.lists(nets, max_size=2),
    "src_selector": st.just("all()"),
    "unheard_of": st.just(1),
}
#: What some fields need beside them.
PARTNERS = {"ports": ["tcp", "udp", 6], "type": ["icmp", "icmpv6", 58], "code": ["icmp", 1]}


@st.composite
def raw_rules(draw: st.DrawFn) -> dict[str, Any]:
    """A few fields with likely values, now and then with one that is none."""
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=4, unique=True))
    raw: dict[str, Any] = {}
    for name in names:
        sign = draw(st.sampled_from(["", "!"]))
        raw[sign + name] = draw(FIELDS[name])
        partner = PARTNERS.get(name.rpartition("_")[2])
        if partner and draw(st.integers(0, 9)):
            raw["protocol"] = draw(st.sampled_from(partner))
        if name == "icmp_code" and draw(st.booleans()):
            raw[sign + "icmp_type"] = draw(FIELDS["icmp_type"])
    if draw(st.booleans()):
        odd = draw(st.sampled_from(sorted(ODDITIES)))
        raw[odd] = draw(ODDITIES[odd])
    if raw and not draw(st.integers(0, 5)):
        raw[draw(st.sampled_from(sorted(raw)))] = draw(junk)
    return raw


def read(reader: Callable[[str], Rules], text: str) -> Rules | None:
    try:
        return reader(text)
    except RefusedError:
        return None


@settings(max_examples=400, deadline=None)
@given(raw_rules())
def test_a_rule_means_what_felix_takes_it_for_or_closes_with_a_reason(
    raw: dict[str, Any],
) -> None:
    text = json.dumps({"inbound_rules": [raw]})
    profile = codec.decode_profile(ProfileId("p"), {"rules": text})
    if profile.problem:
        assert (profile.inbound, profile.outbound) == ((), ())
        return
    if "src_nets" in raw:
        # One rule for each network, which is what Go makes of the list.
        assert read(python_family.felix_rules, text) is None
        return
    found = ours.rules_meaning(profile)
    assert found == read(python_family.felix_rules, text)
    in_go = read(go_family.rules, text)
    assert in_go in (None, found) or raw.get("log_prefix") == "a b"


def families(raw: dict[str, Any]) -> set[int]:
    """The families that a rule speaks of."""
    nets = [str(raw[name]) for name in raw if name.endswith("_net")]
    found = {6 if ":" in net else 4 for net in nets}
    if "ip_version" in raw:
        found.add(raw["ip_version"])
    of_protocol = {"icmp": 4, 1: 4, "icmpv6": 6, 58: 6}.get(raw.get("protocol", ""))
    return found | ({of_protocol} if of_protocol else set())


@settings(max_examples=400, deadline=None)
@given(raw_rules())
def test_what_both_families_take_is_closed_only_for_a_known_reason(raw: dict[str, Any]) -> None:
    text = json.dumps({"inbound_rules": [raw]})
    if read(python_family.felix_rules, text) is None or read(go_family.rules, text) is None:
        return
    if None in raw.values():
        # Both drop the condition, so that the rule holds for more: we close it.
        return
    problem = codec.decode_profile(ProfileId("p"), {"rules": text}).problem
    reasons = {
        "next-tier": raw.get("action") == "next-tier",
        "selector": "src_selector" in raw,
        "from 0 to 254": 255 in (raw.get("icmp_type"), raw.get("!icmp_type")),
        "at once": len(families(raw)) > 1,
        "must be": any(each is True for each in raw.values()),
        "name a port": [] in raw.values(),
    }
    assert not problem or any(word in problem and holds for word, holds in reasons.items()), problem


def test_go_s_list_of_networks_is_its_union() -> None:
    raw = {"action": "deny", "src_net": "10.0.0.0/8", "src_nets": ["11.0.0.0/8", "fd80::/64"]}
    text = json.dumps({"inbound_rules": [raw]})
    inbound, _ = codec.decode_rules(text)
    [in_go] = go_family.rules(text)[0]
    assert dict(in_go.plain)["src_net"] == {str(rule.match.src_net) for rule in inbound}


@pytest.mark.parametrize(
    ("text", "reader"),
    [
        pytest.param('{"cidr": "10.0.0.0/8"}', pycalico.pool, id="Python leaves out defaults"),
        pytest.param(
            '{"cidr": "10.0.0.0/8", "ipip": "tunl0", "ipip_mode": "cross-subnet",'
            ' "masquerade": true, "ipam": true, "disabled": true}',
            go_family.pool,
            id="Go writes all",
        ),
        pytest.param(
            '{"cidr": "10.0.0.0/8", "ipam": false, "later": [1]}', pycalico.pool, id="not for us"
        ),
    ],
)
def test_a_pool_of_either_writer_keeps_its_meaning(text: str, reader: Callable[..., Any]) -> None:
    cidr = IPNetwork("10.0.0.0/8")
    assert ours.pool_meaning(codec.decode_pool(cidr, text)) == reader(text)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="all fields"),
        pytest.param({"state": "inactive"}, id="inactive"),
        pytest.param({"ipv4_gateway": "169.254.1.1", "active_instance_id": "x"}, id="gateway"),
        pytest.param({"ports": [{"name": "http", "protocol": "tcp", "port": 80}]}, id="ports"),
        pytest.param({"labels": {"a/b": ""}}, id="labels"),
        pytest.param({"profile_ids": ["b", "a", "b"]}, id="a profile twice"),
        pytest.param({"later": {"x": 1}}, id="a field of later writers"),
    ],
)
def test_a_foreign_endpoint_keeps_its_meaning(change: dict[str, Any]) -> None:
    given_endpoint = sample("v1-workload-endpoint")
    endpoint = keys.parse_endpoint_key(Key(given_endpoint["key"]))
    assert endpoint is not None
    text = json.dumps(given_endpoint["value"] | change)
    spec = codec.decode_endpoint(endpoint, text)
    assert spec.addresses == (IPAddress("192.168.1.4"),)
    assert ours.endpoint_meaning(spec) == python_family.felix_endpoint(text)
    assert ours.endpoint_meaning(spec) == go_family.endpoint(text)
