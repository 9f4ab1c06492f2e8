"""Traps of endpoints, profiles, rules and names; see `traps`."""

import json
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec, identifiers, keys
from calico.dataplane.render.policy import families_of
from calico.datastore.api import Key, Listing, Put, Revision, Stored
from calico.datastore.memory import MemoryDatastore
from calico.errors import InvalidName, InvalidValue
from calico.mirror import Mirror
from calico.model import (
    Action,
    BootId,
    EndpointId,
    EndpointSpec,
    HostName,
    HostRecord,
    Match,
    PortOpening,
    PortRange,
    Profile,
    ProfileId,
    Rule,
    Snapshot,
    TaskId,
    TaskRecord,
    TaskVerdict,
)
from calico.names import endpoint_of_task, interface_of
from reconciler.controller.bootstrap import bootstrap_host
from reconciler.core.desired import desired_tasks
from reconciler.core.endpoint_status import local_specs
from reconciler.core.tasks.profiles import NetworkPolicy, profiles_of
from tests.unit.families import go_family, pycalico, python_family
from tests.unit.families.meaning import PacketMeaning, RefusedError
from tests.unit.reconciler.apps import app, task

HOST = HostRecord(HostName("h"), IPAddress("172.17.8.101"), BootId("b"), "m", "1")
ID = endpoint_of_task(HOST.name, TaskId("shop_web.1"))
SPEC = EndpointSpec(
    ID, interface_of(ID), None, (IPAddress("192.168.0.1"),), (ProfileId("default_h"),)
)
RECORD = TaskRecord(
    TaskId("shop_web.1"),
    "/shop/web",
    "2016-08-05T12:00:01.250Z",
    HOST.name,
    ("shop",),
    (PortOpening("tcp", 80), PortOpening("udp", 53)),
)
BOTH = NetworkPolicy(allow_from=(IPNetwork("203.0.113.7"), IPNetwork("fd00::7")), ipv6=True)
ONLY4 = NetworkPolicy(allow_from=BOTH.allow_from)


def decoded(rule: dict[str, Any]) -> Profile:
    return codec.decode_profile(ProfileId("p"), {"rules": text_of(rule)})


def text_of(*rules: dict[str, Any]) -> str:
    return json.dumps({"inbound_rules": rules})


def written(policy: NetworkPolicy) -> list[str]:
    """The rules of every profile that one task gets."""
    return [codec.encode_rules(profile) for profile in profiles_of(RECORD, HOST, policy)]


def inbound(texts: list[str]) -> list[Any]:
    return [rule for text in texts for rule in python_family.felix_rules(text)[0]]


def test_a_policy_counts_also_in_a_tier_without_metadata() -> None:
    key = Key("/calico/v1/policy/tier/bare/policy/web")
    mirror = Mirror()
    mirror.load(
        keys.CALICO,
        Listing(Revision(1), (Stored(key, '{"selector": "all()"}', Revision(1)),)),
    )
    assert [str(policy) for policy in mirror.snapshot().policies] == ["bare/web"]


def test_a_new_host_lets_its_executors_reach_their_agent() -> None:
    store = MemoryDatastore()
    bootstrap_host(store, HOST)
    stored = store.get(Key("/calico/v1/host/h/config/DefaultEndpointToHostAction"))
    assert stored is not None
    assert stored.value == "RETURN"


def test_a_mac_is_never_null() -> None:
    text = codec.encode_endpoint(SPEC)
    assert SPEC.mac is None
    assert python_family.felix_endpoint(text).mac is not None
    nulled = json.dumps(json.loads(text) | {"mac": None})
    with pytest.raises(RefusedError):
        python_family.felix_endpoint(nulled)
    # Go may write it, so it is read.
    assert codec.decode_endpoint(ID, nulled).mac is None


@pytest.mark.parametrize("field", ["state", "mac", "name", "ipv4_nets", "ipv6_nets"])
def test_the_five_fields_that_pycalico_needs_are_always_there(field: str) -> None:
    value = json.loads(codec.encode_endpoint(EndpointSpec(ID, interface_of(ID), None, ())))
    assert pycalico.endpoint(json.dumps(value)).addresses == frozenset()
    del value[field]
    with pytest.raises(RefusedError, match=field):
        pycalico.endpoint(json.dumps(value))


def test_nothing_of_ours_is_lost_when_calicoctl_rewrites_an_endpoint() -> None:
    text = codec.encode_endpoint(SPEC)
    rewritten = json.loads(pycalico.rewritten_endpoint(text, "more"))
    assert rewritten == json.loads(text) | {"profile_ids": ["default_h", "more"]}


def test_interfaces_of_tasks_that_are_named_alike_differ() -> None:
    tasks = [TaskId(f"shop_frontend_web.4f5a6b7c-0000-0000-0000-{n:012}") for n in range(500)]
    endpoints = [endpoint_of_task(HOST.name, each) for each in tasks]
    names = {interface_of(each) for each in endpoints}
    assert len(names) == len(tasks)
    assert all(
        name == f"cali{each.endpoint[:11]}"
        for name, each in zip(map(interface_of, endpoints), endpoints, strict=True)
    )


def test_lists_of_rules_as_the_old_documentation_names_them_close() -> None:
    text = json.dumps({"inbound": [{"action": "allow"}], "outbound": [{"action": "allow"}]})
    assert python_family.felix_rules(text) == ((), ())
    profile = codec.decode_profile(ProfileId("p"), {"rules": text})
    assert "inbound" in profile.problem
    assert json.loads(codec.encode_rules(profile)).keys() == {"inbound_rules", "outbound_rules"}


def test_the_directory_of_a_bgp_host_begins_with_its_address() -> None:
    store = MemoryDatastore()
    bootstrap_host(store, HOST)
    events = [
        event.stored.key
        for event in store.watch(keys.BGP, Revision(0), 0)
        if isinstance(event, Put)
    ]
    assert events[0] == "/calico/bgp/v1/host/h/ip_addr_v4"


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(identifiers.check_task_id, id="task"),
        pytest.param(identifiers.check_group, id="group"),
        pytest.param(identifiers.check_host, id="host"),
        pytest.param(identifiers.check_handle, id="handle"),
        pytest.param(
            lambda bad: keys.endpoint_key(EndpointId(HOST.name, "mesos", "w", bad)), id="endpoint"
        ),
    ],
)
@pytest.mark.parametrize("bad", ["a/b", "a%2fb", "a%25b"])
def test_no_id_of_ours_needs_escaping(build: Any, bad: str) -> None:
    assert python_family.felix_endpoint_id(ID.endpoint) == ID.endpoint
    with pytest.raises(InvalidName):
        build(bad)


@pytest.mark.parametrize(
    "check",
    [
        identifiers.check_group,
        identifiers.check_host,
        identifiers.check_task_id,
        identifiers.check_handle,
    ],
)
def test_no_name_begins_with_an_underscore(check: Any) -> None:
    with pytest.raises(InvalidName, match="hides"):
        check("_hidden")


def test_a_host_under_another_spelling_of_its_name_is_told_and_not_served() -> None:
    made = app(task("t", host="h.example.org"))
    [desired] = desired_tasks(made, {}, {}, {HOST.name: HOST}, NetworkPolicy())
    assert desired.record.verdict is TaskVerdict.PENDING
    assert desired.record.reason == "no agent registered as h.example.org"
    elsewhere = endpoint_of_task(HostName("h.example.org"), TaskId("t"))
    specs = {elsewhere: EndpointSpec(elsewhere, interface_of(elsewhere), None, ())}
    assert list(local_specs(Snapshot(specs=specs), HOST.name)) == []


def test_no_profile_names_a_family_while_all_is_ipv4() -> None:
    for text in written(ONLY4):
        assert "ip_version" not in text
        assert pycalico.rules(text) == python_family.felix_rules(text)
    with pytest.raises(RefusedError, match="ip_version"):
        pycalico.rules(text_of({"ip_version": 4}))


def test_lists_of_networks_are_read_and_never_written() -> None:
    text = text_of({"src_nets": ["10.0.0.0/8", "11.0.0.0/8"]})
    with pytest.raises(RefusedError, match="src_nets"):
        python_family.felix_rules(text)
    profile = codec.decode_profile(ProfileId("p"), {"rules": text})
    assert [str(rule.match.src_net) for rule in profile.inbound] == ["10.0.0.0/8", "11.0.0.0/8"]
    assert "_nets" not in codec.encode_rules(profile)


def test_ports_of_sctp_are_enforced_and_never_written() -> None:
    text = text_of({"protocol": "sctp", "dst_ports": [80]}, {})
    web = PacketMeaning(4, "10.0.0.1", "10.0.0.2", 6, 40000, 80)
    assert not python_family.felix_allows(python_family.felix_rules(text)[0], web)
    assert decoded({"protocol": "sctp", "dst_ports": [80]}).inbound == (
        Rule(Action.ALLOW, Match(protocol=132, dst_ports=(PortRange(80, 80),))),
    )
    with pytest.raises(InvalidValue):
        codec.decode_task(
            RECORD.task,
            json.dumps(
                json.loads(codec.encode_task(RECORD))
                | {"ports": [{"protocol": "sctp", "number": 80}]}
            ),
        )


FOUR = PacketMeaning(4, "203.0.113.8", "10.0.0.2", 6, 40000, 80)
SIX = PacketMeaning(6, "fd00::8", "fd80::2", 6, 40000, 80)


@pytest.mark.parametrize(
    ("net", "version", "stranger"), [("10.0.0.1/32", 4, SIX), ("fd80::1/128", 6, FOUR)]
)
def test_a_network_of_one_family_opens_nothing_in_the_other(
    net: str, version: int, stranger: PacketMeaning
) -> None:
    text = text_of({"src_net": net})
    assert python_family.felix_allows(python_family.felix_rules(text)[0], stranger)
    assert not go_family.felix_allows(go_family.rules(text)[0], stranger)
    [rule] = decoded({"src_net": net}).inbound
    assert families_of(rule) == (version,)
    assert not python_family.felix_allows(inbound(written(BOTH)), stranger)
    # Without tasks of IPv6 a source of IPv6 is not even named.
    assert not python_family.felix_allows(inbound(written(ONLY4)), FOUR)


def test_echo_cuts_no_opening_in_either_family() -> None:
    bare = python_family.felix_rules(text_of({"protocol": "icmp", "icmp_type": 8}, {}))[0]
    six = PacketMeaning(6, "fd80::1", "fd80::2", 6, 40000, 80, source_tags=frozenset({"shop"}))
    four = PacketMeaning(4, "10.0.0.1", "10.0.0.2", 6, 40000, 80, source_tags=six.source_tags)
    assert not python_family.felix_allows(bare, six)
    assert python_family.felix_allows(bare, four)
    for packet in (four, six):
        assert python_family.felix_allows(inbound(written(BOTH)), packet)
    assert python_family.felix_allows(inbound(written(ONLY4)), four)
    [rule] = decoded({"protocol": "icmp", "icmp_type": 8}).inbound
    assert families_of(rule) == (4,)


def test_next_tier_closes_and_is_never_written() -> None:
    profile = decoded({"action": "next-tier"})
    assert "next-tier" in profile.problem
    assert not any("next-tier" in text for text in [*written(BOTH), *written(ONLY4)])
