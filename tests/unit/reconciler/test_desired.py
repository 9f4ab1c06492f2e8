"""What an app asks for, and what its tasks get."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork

from calico.codec import decode_rules, encode_rules
from calico.model import Action, PortRange, Rule, Tag, TaskId, TaskVerdict
from marathon_client.models import NetworkForm, NetworkMode, PortOpening, TaskState
from reconciler.core.desired import (
    DesiredTask,
    desired_tasks,
    record_id,
    versions_needed,
)
from reconciler.core.tasks.profiles import (
    ICMP,
    NetworkPolicy,
    app_profile,
    host_profile,
    profiles_of,
)
from reconciler.core.tasks.wishes import AnyAddress, FixedAddresses, parse_fixed_addresses
from tests.unit.reconciler.apps import HOST, HOSTS, V1, V2, V3, app, network, task

POLICY = NetworkPolicy()


def one(
    net: object = None, *, policy: NetworkPolicy = POLICY, labels: object = (), **fields: object
) -> DesiredTask:
    """The desired network of the one task of an app."""
    made = app(task("t", **fields), net=net, labels=labels)
    (desired,) = desired_tasks(made, {}, {}, HOSTS, policy)
    return desired


def test_a_running_task_gets_an_address_and_its_profiles_in_order() -> None:
    desired = one(network("star-1", "star-2"))
    assert desired.wish == AnyAddress()
    assert desired.record.verdict is TaskVerdict.ACCEPTED
    host, first, second, own = (profile.id for profile in desired.profiles)
    assert (host, first, second) == ("default_h1", "star-1", "star-2")
    assert own.startswith("app-app-")


def test_a_group_opens_only_the_declared_ports_and_echo() -> None:
    own = one(network("g")).profiles[-1]
    opening, echo = own.inbound
    assert opening.match.src_tag == echo.match.src_tag == Tag("g")
    assert (opening.match.protocol, opening.match.dst_ports) == (6, (PortRange(80, 80),))
    assert (echo.match.protocol, echo.match.icmp_type) == (ICMP, 8)
    assert own.outbound == (Rule(Action.ALLOW),)


def test_public_opens_to_everyone() -> None:
    own = one(network("g", "public")).profiles[-1]
    assert [rule.match.src_tag for rule in own.inbound] == [None, None]


def test_no_group_opens_to_nobody_but_its_host() -> None:
    desired = one(network())
    assert [profile.id for profile in desired.profiles[:-1]] == ["default_h1"]
    assert desired.profiles[-1].inbound == ()


def test_marathon_reaches_the_openings_of_a_task_without_groups() -> None:
    policy = NetworkPolicy(allow_from=(IPNetwork("10.0.0.9/32"),))
    opening, echo = one(network(), policy=policy).profiles[-1].inbound
    assert opening.match.src_net == echo.match.src_net == IPNetwork("10.0.0.9/32")


@pytest.mark.parametrize(
    ("ports", "policy", "label", "declared"),
    [
        pytest.param(((80, "tcp"),), True, None, True, id="declared by default"),
        pytest.param(((80, "tcp"),), False, None, False, id="flag opens all"),
        pytest.param(((80, "tcp"),), True, "open", False, id="label opens all"),
        pytest.param(((80, "tcp"),), False, "declared", True, id="label wins over flag"),
        pytest.param(((80, "tcp"),), False, "nonsense", False, id="an unknown label is no label"),
        pytest.param((), True, None, False, id="none declared opens all"),
    ],
)
def test_openings_follow_policy_and_label(
    ports: tuple[tuple[int, str], ...], policy: bool, label: str | None, declared: bool
) -> None:
    labels = () if label is None else (("MARATHON_CALICO_PORTS", label),)
    net = network("g", ports=tuple(PortOpening(n, p, "") for n, p in ports))
    desired = one(net, policy=NetworkPolicy(ports_declared=policy), labels=labels)
    assert desired.record.ports_declared is declared
    everything = Rule(Action.ALLOW, replace(desired.profiles[-1].inbound[0].match))
    assert (everything.match.protocol is None) is not declared


@pytest.mark.parametrize("number", [0, 70000, -1])
def test_an_impossible_port_stays_closed_and_does_not_open_the_rest(number: int) -> None:
    desired = one(network("g", ports=(PortOpening(number, "tcp", "x"),)))
    assert desired.record.verdict is TaskVerdict.ACCEPTED
    assert f"port {number} stays closed" in desired.record.reason
    (echo,) = desired.profiles[-1].inbound
    assert echo.match.protocol == ICMP


@pytest.mark.parametrize("group", ["a/b", "", "_x", "..", "default_h2", "app-x", "ü", "x" * 129])
def test_a_bad_group_is_left_out_with_a_reason(group: str) -> None:
    desired = one(network("g", group))
    assert desired.wish == AnyAddress()
    assert desired.record.groups == ("g",)
    assert repr(group) in desired.record.reason


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(network(*(f"g{n}" for n in range(17))), id="17 groups"),
        pytest.param(
            network("g", ports=tuple(PortOpening(n, "tcp", "") for n in range(1, 66))),
            id="65 ports",
        ),
        pytest.param(network("g", labels=(("ipv4_addrs", "192.168.1.5"),)), id="label is no list"),
        pytest.param(
            network("g", labels=(("ipv4_addrs", "['fd00::1']"),)), id="address of other family"
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_a_reason(net: object) -> None:
    desired = one(net)
    assert desired.wish is None
    assert desired.record.verdict is TaskVerdict.REFUSED
    assert desired.record.reason


def test_a_task_waits_for_an_agent_on_its_host() -> None:
    desired = one(network("g"), host="elsewhere")
    assert desired.wish is None
    assert desired.record.verdict is TaskVerdict.PENDING
    assert desired.record.reason == "no agent registered as elsewhere"


@pytest.mark.parametrize(
    ("net", "ours"),
    [
        pytest.param(network("g"), True, id="ipAddress without a name"),
        pytest.param(network("g", name="calico"), True, id="our name"),
        pytest.param(network("g", name="other"), False, id="another network"),
        pytest.param(network("g", mode=NetworkMode.BRIDGE), False, id="bridge"),
        pytest.param(
            network("g", form=NetworkForm.NETWORKS, name="calico"), True, id="networks form"
        ),
        pytest.param(network("g", form=NetworkForm.NETWORKS), False, id="networks without name"),
    ],
)
def test_only_our_networks_are_ours(net: object, ours: bool) -> None:
    made = app(task("t"), net=net)
    assert bool(desired_tasks(made, {}, {}, HOSTS, POLICY)) is ours


def test_a_task_on_a_named_network_waits_for_its_address() -> None:
    desired = one(network("g", name="calico"))
    assert desired.record.verdict is TaskVerdict.PENDING
    assert "no address reported" in desired.record.reason


@pytest.mark.parametrize("state", [state for state in TaskState if state.is_terminal])
def test_a_task_that_ended_has_no_network(state: TaskState) -> None:
    made = app(task("t", state=state))
    assert desired_tasks(made, {}, {}, HOSTS, POLICY) == ()


@pytest.mark.parametrize(
    "state", [TaskState.LOST, TaskState.UNREACHABLE, TaskState.KILLING, TaskState.UNKNOWN]
)
def test_a_task_that_may_still_run_keeps_what_it_has_but_is_given_nothing(
    state: TaskState,
) -> None:
    running = one(network("g"))
    made = app(task("t", state=state))
    assert desired_tasks(made, {}, {}, HOSTS, POLICY) == ()
    records = {TaskId("t"): running.record}
    assert desired_tasks(made, {}, records, HOSTS, POLICY) == (running,)


def test_an_old_task_stays_under_what_was_accepted() -> None:
    before = one(network("old"))
    changed = app(
        task("t", version=V1),
        task("u", version=V2),
        net=network("new"),
        version=V2,
        config_version=V2,
    )
    records = {TaskId("t"): before.record}
    assert versions_needed(changed, records) == frozenset()
    old, new = desired_tasks(changed, {}, records, HOSTS, POLICY)
    assert (old.record.groups, new.record.groups) == (("old",), ("new",))


def test_an_old_task_without_a_record_needs_its_own_version() -> None:
    changed = app(task("t", version=V1), net=network("new"), version=V2, config_version=V2)
    assert versions_needed(changed, {}) == {V1}
    versions = {V1: app(net=network("old"))}
    (old,) = desired_tasks(changed, versions, {}, HOSTS, POLICY)
    assert old.record.groups == ("old",)
    (unknown,) = desired_tasks(changed, {V1: None}, {}, HOSTS, POLICY)
    assert unknown.record.verdict is TaskVerdict.PENDING


def test_a_mere_scale_needs_no_other_version() -> None:
    scaled = app(task("t", version=V2), version=V3, config_version=V1)
    assert versions_needed(scaled, {}) == frozenset()


def test_container_port_zero_means_the_tasks_own_port() -> None:
    zero = PortOpening(0, "tcp", "web", task_port_index=1)
    made = app(task("t", ports=(31000, 31001)), net=network("g", ports=(zero,)))
    (desired,) = desired_tasks(made, {}, {}, HOSTS, POLICY)
    assert [port.number for port in desired.record.ports] == [31001]


def test_a_task_id_that_may_not_be_a_key_is_refused_under_a_hash() -> None:
    made = app(task("a/../b"))
    (desired,) = desired_tasks(made, {}, {}, HOSTS, POLICY)
    assert desired.record.verdict is TaskVerdict.REFUSED
    assert desired.record.task == record_id("a/../b")
    assert "a/../b" in desired.record.reason


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        pytest.param('["192.168.1.5"]', ("192.168.1.5",), id="JSON"),
        pytest.param(
            "['192.168.1.5', '192.168.1.6']",
            ("192.168.1.5", "192.168.1.6"),
            id="as calico-mesos had it",
        ),
    ],
)
def test_fixed_addresses_are_read(text: str, addresses: tuple[str, ...]) -> None:
    assert parse_fixed_addresses(text) == tuple(map(IPAddress, addresses))
    desired = one(network("g", labels=(("ipv4_addrs", text),)))
    assert desired.wish == FixedAddresses(tuple(map(IPAddress, addresses)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "192.168.1.5",
        "['192.168.1.5'",
        "['010.1.1.1']",
        "['1.2.3']",
        "__import__('os').system('true')",
        "['192.168.1.5'] + ['192.168.1.6']",
        "['192.168.1.5', '192.168.1.5']",
        "['a' 'b']",
    ],
)
def test_anything_else_is_refused_and_never_evaluated(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_fixed_addresses(text)


@given(st.text(max_size=60))
def test_a_label_is_read_or_is_one_kind_of_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_fixed_addresses(text)


def test_an_apps_profile_is_named_by_its_content() -> None:
    record = one(network("g")).record
    same = app_profile(replace(record, task=TaskId("other")), POLICY)
    other = app_profile(replace(record, groups=("h",)), POLICY)
    assert app_profile(record, POLICY) == same
    assert app_profile(record, POLICY).id != other.id


@given(
    groups=st.lists(st.sampled_from(["public", "a", "b", "c"]), max_size=4, unique=True),
    ports=st.lists(st.tuples(st.integers(-1, 66000), st.sampled_from(["tcp", "udp", "x"]))),
    ipv6=st.booleans(),
)
def test_profiles_survive_their_json(
    groups: list[str], ports: list[tuple[int, str]], ipv6: bool
) -> None:
    net = network(*groups, ports=tuple(PortOpening(n, p, "") for n, p in ports[:64]))
    desired = one(net, policy=NetworkPolicy(ipv6=ipv6))
    for profile in profiles_of(desired.record, HOST, NetworkPolicy(ipv6=ipv6)):
        assert decode_rules(encode_rules(profile)) == (profile.inbound, profile.outbound)


def test_an_address_label_on_the_app_itself_is_pointed_out() -> None:
    desired = one(network("g"), labels=(("ipv4_addrs", "['192.168.1.5']"),))
    assert desired.wish == AnyAddress()
    assert "belongs in ipAddress.labels" in desired.record.reason


V4_SOURCE, V6_SOURCE = IPNetwork("203.0.113.7/32"), IPNetwork("fd00::7/128")


@pytest.mark.parametrize(
    ("ipv6", "families"),
    [
        pytest.param(False, {V4_SOURCE: {None}}, id="IPv4 alone: no field that calicoctl lacks"),
        pytest.param(True, {V4_SOURCE: {4}, V6_SOURCE: {6}}, id="both families: each its own"),
    ],
)
def test_a_rule_with_a_network_never_opens_the_other_family(
    ipv6: bool, families: dict[IPNetwork, set[int | None]]
) -> None:
    policy = NetworkPolicy(allow_from=(V4_SOURCE, V6_SOURCE), ipv6=ipv6)
    record = one(network("g", ports=(PortOpening(80, "tcp", ""),)), policy=policy).record
    found: dict[IPNetwork, set[int | None]] = {}
    for rule in app_profile(record, policy).inbound:
        if rule.match.src_net is not None:
            found.setdefault(rule.match.src_net, set()).add(rule.ip_version)
    assert found == families


@pytest.mark.parametrize(
    ("address", "ipv6", "version"),
    [
        pytest.param("172.17.8.101", False, None, id="IPv4 alone"),
        pytest.param("172.17.8.101", True, 4, id="IPv4 beside IPv6"),
        pytest.param("fd00::1", False, 6, id="IPv6"),
    ],
)
def test_a_host_s_profile_names_the_family_where_it_matters(
    address: str, ipv6: bool, version: int | None
) -> None:
    profile = host_profile(replace(HOST, address=IPAddress(address)), NetworkPolicy(ipv6=ipv6))
    assert {rule.ip_version for rule in (*profile.inbound, *profile.outbound)} == {version}
