"""Whatever we write, both of Calico's families accept and take as it is meant."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress

from calico import codec, keys
from calico.addressing.blocks import Block, IpamConfig
from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.model import (
    Action,
    BootId,
    EndpointSpec,
    EndpointState,
    EndpointStatus,
    HandleId,
    HostName,
    HostRecord,
    Pool,
    Profile,
    Rule,
    TaskRecord,
)
from calico.names import reservation_of
from reconciler.agent.reporting.registration import render_alive
from reconciler.controller.bootstrap import DIRECTORIES, bootstrap, bootstrap_host, make_ready
from reconciler.core.tasks.profiles import NetworkPolicy, profiles_of
from tests.unit.families import go_family, ours, pycalico, python_family
from tests.unit.families.meaning import PacketMeaning, RefusedError, RuleMeaning

FEW = settings(max_examples=60, deadline=None)


def test_every_directory_that_confd_watches_is_made() -> None:
    assert set(pycalico.WATCHED) <= set(map(str, DIRECTORIES))


@FEW
@given(ours.specs | ours.endpoint_ids.map(reservation_of))
def test_an_endpoint_is_one_to_every_reader(spec: EndpointSpec) -> None:
    text = codec.encode_endpoint(spec)
    meant = ours.endpoint_meaning(spec)
    assert python_family.felix_endpoint(text) == meant
    assert pycalico.endpoint(text) == meant
    assert go_family.endpoint(text) == meant


@FEW
@given(ours.specs)
def test_an_endpoint_s_key_names_it_to_every_reader(spec: EndpointSpec) -> None:
    key = keys.endpoint_key(spec.id)
    named = (spec.id.host, spec.id.orchestrator, spec.id.workload, spec.id.endpoint)
    assert go_family.workload_key(key) == named
    assert python_family.felix_endpoint_id(key.rpartition("/")[2]) == spec.id.endpoint
    assert not any(part.startswith("_") for part in key.split("/"))


@FEW
@given(ours.profiles)
def test_a_profile_means_the_same_to_felix_of_both_families(profile: Profile) -> None:
    rules, tags = codec.encode_rules(profile), codec.encode_tags(profile)
    meant = ours.rules_meaning(profile)
    assert python_family.felix_rules(rules) == meant
    assert go_family.rules(rules) == meant
    assert python_family.felix_tags(tags) == go_family.tags(tags) == set(profile.tags)
    segment = keys.profile_key(profile.id, "rules").split("/")[-2]
    assert python_family.felix_profile_id(segment) == go_family.unescaped(segment) == profile.id


@FEW
@given(ours.records, ours.host_records, ours.policies())
def test_every_profile_that_the_controller_makes_is_read_by_calicoctl_too(
    record: TaskRecord, host: HostRecord, policy: NetworkPolicy
) -> None:
    for profile in profiles_of(record, host, policy):
        rules, meant = codec.encode_rules(profile), ours.rules_meaning(profile)
        assert python_family.felix_rules(rules) == go_family.rules(rules) == meant
        if policy.ipv6 and any(each.ip_version for each in (*profile.inbound, *profile.outbound)):
            # Felix would else open the other family; see DECISIONS.md.
            with pytest.raises(RefusedError, match="ip_version"):
                pycalico.rules(rules)
        else:
            assert pycalico.rules(rules) == meant
        assert python_family.felix_labels(codec.NO_LABELS) == frozenset()
        assert go_family.profile_labels(codec.NO_LABELS) == frozenset()


ADDRESSES = {
    4: ("192.168.0.1", "172.17.8.101", "203.0.113.7"),
    6: ("fd80::1", "fd00::7", "fd00::8"),
}


@st.composite
def packets(draw: st.DrawFn, record: TaskRecord, versions: tuple[int, ...]) -> PacketMeaning:
    version = draw(st.sampled_from(versions))
    protocol = draw(st.sampled_from([6, 17, 1 if version == 4 else 58, 132]))
    numbers = [port.number for port in record.ports] or [80]
    has_ports = protocol in (6, 17, 132)
    groups = st.sets(st.sampled_from([*record.groups, "stranger"]))
    return PacketMeaning(
        version,
        draw(st.sampled_from(ADDRESSES[version])),
        ADDRESSES[version][0],
        protocol,
        40000 if has_ports else None,
        draw(st.sampled_from(numbers) | st.integers(1, 65535)) if has_ports else None,
        None if has_ports else draw(st.sampled_from([8, 13, 128])),
        frozenset(draw(groups)),
    )


def plainly_allows(rules: tuple[Rule, ...], packet: PacketMeaning) -> bool:
    """What the controller means: an opening is for its sources, ports and family alone."""
    for rule in rules:
        match = rule.match
        assert rule.action is Action.ALLOW
        net = match.src_net
        if net is not None and IPAddress(packet.source) not in net:
            continue
        if rule.ip_version not in (None, packet.version):
            continue
        wanted = (
            (match.src_tag, match.src_tag in packet.source_tags),
            (match.protocol, match.protocol == packet.protocol),
            (match.icmp_type, match.icmp_type == packet.icmp_type),
            (
                match.dst_ports or None,
                any(
                    each.first <= (packet.destination_port or -1) <= each.last
                    for each in match.dst_ports
                ),
            ),
        )
        if all(holds for asked, holds in wanted if asked is not None):
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(st.data(), ours.records, st.booleans(), st.lists(st.sampled_from([4, 6]), max_size=2))
def test_both_felixes_let_in_exactly_what_the_controller_opens(
    data: Any, record: TaskRecord, ipv6: bool, sources: list[int]
) -> None:
    nets = tuple(data.draw(ours.nets[version]) for version in sources)
    host = HostRecord(HostName("h"), IPAddress("172.17.8.101"), "b", "m", "1")
    made = profiles_of(record, host, NetworkPolicy(allow_from=nets, ipv6=ipv6))
    packet = data.draw(packets(record, (4, 6) if ipv6 else (4,)))
    inbound = tuple(rule for profile in made for rule in profile.inbound)
    allowed = plainly_allows(inbound, packet)
    texts = [codec.encode_rules(profile) for profile in made]
    assert python_family.felix_allows(_inbound(python_family.felix_rules, texts), packet) is allowed
    assert go_family.felix_allows(_inbound(go_family.rules, texts), packet) is allowed


def _inbound(read: Any, texts: list[str]) -> list[RuleMeaning]:
    return [rule for text in texts for rule in read(text)[0]]


@FEW
@given(ours.pools)
def test_a_pool_means_the_same_to_every_reader(pool: Pool) -> None:
    key, text = keys.pool_key(pool), codec.encode_pool(pool)
    meant = ours.pool_meaning(pool)
    assert pycalico.pool(text) == go_family.pool(text) == meant
    seen = python_family.felix_pool(key, text)
    assert (seen.cidr, seen.masquerade) == (meant.cidr, meant.masquerade)


@FEW
@given(ours.blocks())
def test_a_block_means_the_same_to_both_allocators(block: Block) -> None:
    text = codec.encode_block(block)
    assert pycalico.block(text) == go_family.block(text) == ours.block_meaning(block)


@FEW
@given(ours.handles, st.lists(ours.pools.map(lambda pool: pool.cidr), max_size=2, unique=True))
def test_a_handle_means_the_same_to_both_allocators(handle: HandleId, ranges: list[Any]) -> None:
    counts = {cidr: number for number, cidr in enumerate(ranges, start=1)}
    text = codec.encode_handle(handle, counts, writer="somebody")
    meant = (handle, {str(cidr): number for cidr, number in counts.items()})
    assert pycalico.handle(text) == meant
    assert go_family.handle(keys.handle_key(handle), text) == meant


@given(st.booleans(), st.booleans())
def test_the_choice_for_blocks_means_the_same_to_both_allocators(auto: bool, strict: bool) -> None:
    text = codec.encode_ipam_config(IpamConfig(auto, strict))
    assert pycalico.ipam_config(text) == go_family.ipam_config(text) == (auto, strict)


@given(st.sampled_from(EndpointState), st.integers(0), st.text(max_size=20))
def test_a_status_is_one_to_both_families(state: EndpointState, revision: int, why: str) -> None:
    text = codec.encode_status(EndpointStatus(state, revision, (IPAddress("10.0.0.1"),), why))
    assert python_family.felix_status(text) == go_family.endpoint_status(text) == state.value


def test_a_sign_of_life_is_one_to_the_go_family() -> None:
    moment = datetime(2016, 4, 15, 19, 14, 55, tzinfo=UTC)
    boot = BootId("boot")
    first = render_alive(moment, 12.5, first=True, boot_id=boot)
    assert go_family.process_status(first) == (moment, 12.5, True)
    later = render_alive(moment, 0.0, first=False, boot_id=boot)
    assert go_family.process_status(later)[1:] == (0.0, False)


@FEW
@given(st.lists(ours.host_records, max_size=3, unique_by=lambda host: host.name))
def test_a_first_start_is_complete_for_confd_and_for_both_calicoctls(
    registered: list[HostRecord],
) -> None:
    store = MemoryDatastore()
    bootstrap(store, ())
    make_ready(store)
    for host in registered:
        bootstrap_host(store, host)
    found = {str(each.key): each.value for each in store.list(Key("/calico")).entries}
    addresses = {host.name: str(host.address) for host in registered}
    assert pycalico.confd_mesh(found) == go_family.nodes(found) == addresses
    assert python_family.felix_ready(found["/calico/v1/Ready"])
    assert pycalico.ipam_config(found["/calico/ipam/v2/config"]) == (True, False)
    [pool] = [value for key, value in found.items() if "/pool/" in key]
    assert pycalico.pool(pool) == go_family.pool(pool)
