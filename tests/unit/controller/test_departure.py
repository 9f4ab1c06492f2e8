"""A host that an operator declared gone: nobody waits, nothing is cut too early."""

import pytest
from netaddr import IPAddress, IPNetwork

from calico.addressing.addresses import Addresses
from calico.cluster import ObjectionRecord
from calico.codec import decode_host, encode_objection
from calico.dataplane.render.host import render_host
from calico.dataplane.state import HostConfig
from calico.datastore.api import Key
from calico.errors import Conflict
from calico.keys import (
    FELIX,
    HOSTS,
    IPAM,
    affinity_key,
    applied_key,
    block_key,
    felix_status_key,
    handle_key,
    host_key,
    objection_key,
    status_key,
)
from calico.mirror import Mirror
from calico.model import BootId, EndpointId, HandleId, HostName, Pool, TaskId
from calico.names import endpoint_of_task
from reconciler.agent.belief import PREFIXES
from reconciler.controller.bootstrap import keys_of_host
from reconciler.controller.hosts.departure import Departure, Remains
from reconciler.core.removal.quarantine import REST
from reconciler.runtime.watchfeed import Changed
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, task

H1, H2 = HostName("h1"), HostName("h2")
RESYNC = 80


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.connect()
    return made


def forget(cluster: Cluster, host: HostName) -> Remains:
    """What the command does, and what the controller hears of it."""
    departure = Departure(cluster.store)
    departure.forget(host)
    remains = departure.clear(host)
    cluster.tell_hosts()
    return remains


def gateways(cluster: Cluster) -> dict[str, str]:
    """Where the agent of h1 leads packets to other hosts' addresses."""
    mirror = Mirror()
    for prefix in PREFIXES:
        mirror.load(prefix, cluster.store.list(prefix))
    config = HostConfig(host=H1, address=IPAddress("172.31.0.1"), mtu=1500, underlay="eth0")
    routes = render_host(mirror.snapshot(), config).state.routes
    return {str(each.destination): str(each.gateway) for each in routes if each.gateway}


def left_of(cluster: Cluster, host: HostName) -> list[str]:
    """Every key with the name of a host in it."""
    entries = cluster.store.list(Key("/calico")).entries
    entries += cluster.store.list(Key("/marathon-calico")).entries
    return [each.key for each in entries if f"/{host}" in each.key and "/policy/" not in each.key]


def test_an_address_no_longer_waits_for_a_host_that_is_forgotten(cluster: Cluster) -> None:
    made = app(task("t", host="h1"), task("u", host="h2"))
    cluster.run(made)
    cluster.kill(made, made.tasks[0])
    cluster.applied(hosts=("h1",))
    cluster.after(REST + 20)
    assert cluster.store.get(handle_key(HandleId("t"))) is not None
    forget(cluster, H2)
    cluster.applied(hosts=("h1",))
    cluster.after(20)
    assert cluster.store.get(handle_key(HandleId("t"))) is None


def test_a_forgotten_host_stays_reachable_until_its_addresses_are_free(cluster: Cluster) -> None:
    made = app(task("t", host="h1"), task("u", host="h2"))
    cluster.run(made)
    ((address,),) = [spec.addresses for name, spec in cluster.specs().items() if name == "u"]
    (block,) = [each for each, _ in Addresses(cluster.store).blocks() if each.affinity == H2]
    assert forget(cluster, H2) == Remains((block.cidr,), 1)
    cluster.kill(made, made.tasks[1])
    cluster.applied(hosts=("h1",))
    cluster.after(REST - 10)
    registered = cluster.store.get(host_key(H2))
    assert registered is not None
    assert decode_host(H2, registered.value).forgotten
    assert address in block.cidr
    assert cluster.store.get(block_key(block.cidr)) is not None
    cluster.after(30)
    assert cluster.store.get(block_key(block.cidr)) is None
    assert left_of(cluster, H2) == []


def test_a_forgotten_host_is_unrouted_only_after_its_addresses_are_free(cluster: Cluster) -> None:
    made = app(task("t", host="h1"), task("u", host="h2"))
    cluster.run(made)
    (block,) = [each.cidr for each, _ in Addresses(cluster.store).blocks() if each.affinity == H2]
    routes = {str(block): "172.31.0.2"}
    assert gateways(cluster) == routes
    forget(cluster, H2)
    assert gateways(cluster) == routes
    cluster.kill(made, made.tasks[1])
    cluster.applied(hosts=("h1",))
    cluster.after(REST - 10)
    assert gateways(cluster) == routes
    cluster.after(30)
    assert gateways(cluster) == {}


def test_a_forgotten_host_keeps_the_route_of_an_address_that_it_borrowed(cluster: Cluster) -> None:
    cluster = Cluster(pools=(Pool(IPNetwork("10.9.0.0/26")),))
    cluster.connect()
    made = app(task("t", host="h1"), task("u", host="h2"))
    cluster.run(app(made.tasks[0]))
    cluster.run(made)
    (borrowed,) = cluster.specs()["u"].addresses
    forget(cluster, H2)
    assert gateways(cluster) == {f"{borrowed}/32": "172.31.0.2"}
    assert cluster.store.get(host_key(H2)) is not None


def test_a_host_that_merely_falls_silent_stays_routed(cluster: Cluster) -> None:
    cluster.run(app(task("u", host="h2")))
    cluster.store.delete(felix_status_key(H2))
    before = gateways(cluster)
    cluster.after(10 * RESYNC)
    assert gateways(cluster) == before != {}


def test_forgetting_a_host_without_tasks_leaves_nothing_of_it(cluster: Cluster) -> None:
    cluster.applied()
    cluster.store.put(Key(f"{FELIX}/h2/last_reported_status"), "{}")
    forget(cluster, H2)
    assert left_of(cluster, H2) == []
    assert cluster.store.get(host_key(H1)) is not None
    assert cluster.store.get(applied_key(H1)) is not None


def test_what_somebody_else_keeps_of_the_host_stays(cluster: Cluster) -> None:
    theirs = Key("/calico/bgp/v1/host/h2/as_num")
    cluster.store.put(theirs, "64512")
    forget(cluster, H2)
    assert cluster.store.get(theirs) is not None


def test_tasks_of_a_forgotten_host_go_with_the_first_list_that_lacks_them(
    cluster: Cluster,
) -> None:
    tasks = [task(f"t{number}", host="h2") for number in range(9)]
    made = app(*tasks, task("stays", host="h2"))
    cluster.run(made)
    cluster.marathon.put(app(made.tasks[-1]))
    forget(cluster, H2)
    # Nine of ten at once would be held if nobody had said anything.
    assert set(cluster.specs()) == {"stays"}


def test_a_task_that_marathon_still_names_keeps_its_network_there(cluster: Cluster) -> None:
    cluster.run(app(task("t", host="h2")))
    before = cluster.specs()
    forget(cluster, H2)
    cluster.after(2 * RESYNC)
    assert cluster.specs() == before


def test_no_new_task_is_brought_to_a_forgotten_host(cluster: Cluster) -> None:
    cluster.run(app(task("old", host="h2")))
    forget(cluster, H2)
    cluster.run(app(task("old", host="h2"), task("new", host="h2")))
    assert set(cluster.specs()) == {"old"}
    assert cluster.records()["new"].reason == "no agent registered as h2"


def test_a_host_that_registers_again_is_as_new(cluster: Cluster) -> None:
    forget(cluster, H2)
    cluster.register("h2", 1)
    cluster.tell_hosts()
    assert cluster.store.get(Key("/calico/bgp/v1/host/h2/ip_addr_v4")) is not None
    cluster.run(app(task("t", host="h2")))
    assert set(cluster.specs()) == {"t"}


def test_a_host_that_registered_again_is_not_cleared_on_old_news(cluster: Cluster) -> None:
    cluster.run(app(task("t", host="h2")))
    departure = Departure(cluster.store)
    departure.forget(H2)
    cluster.register("h2", 1)
    before = cluster.store.list(Key("/calico")).entries
    with pytest.raises(Conflict, match="registered again"):
        departure.clear(H2)
    assert cluster.store.list(Key("/calico")).entries == before
    assert cluster.store.get(host_key(H2)) is not None


def test_a_host_that_registers_meanwhile_is_not_removed(cluster: Cluster) -> None:
    class RegistersMeanwhile:
        """The store, in which an agent comes back while its host is cleared."""

        def __init__(self) -> None:
            self.done = False

        def __getattr__(self, name: str) -> object:
            return getattr(cluster.store, name)

        def list(self, prefix: Key) -> object:
            if prefix == FELIX + "/h2":
                cluster.register("h2", 1)
            return cluster.store.list(prefix)

    before = {key: cluster.store.get(key) for key in keys_of_host(H2)}
    departure = Departure(RegistersMeanwhile())
    departure.forget(H2)
    with pytest.raises(Conflict):
        departure.clear(H2)
    registered = cluster.store.get(host_key(H2))
    assert registered is not None
    assert not decode_host(H2, registered.value).forgotten
    # Without its address confd would fail on every node.
    for key, stored in before.items():
        found = cluster.store.get(key)
        assert (found and found.value) == (stored and stored.value)


def test_a_host_that_did_not_change_is_not_written_with_every_listing(cluster: Cluster) -> None:
    address = Key("/calico/bgp/v1/host/h2/ip_addr_v4")
    cluster.store.delete(address)
    cluster.tell_hosts()
    assert cluster.store.get(address) is None


def test_a_host_that_cannot_be_written_holds_no_other_up(cluster: Cluster) -> None:
    # Somebody made a directory where the host's address should be.
    cluster.store.put(Key("/calico/v1/host/a/bird_ip/of"), "theirs")
    for number, name in enumerate(("a", "b")):
        cluster.register(name, number + 5)
    cluster.tell_hosts()
    assert cluster.store.get(Key("/calico/bgp/v1/host/a/ip_addr_v4")) is None
    assert cluster.store.get(Key("/calico/bgp/v1/host/b/ip_addr_v4")) is not None


def test_a_host_that_is_back_before_it_was_missed_has_its_keys_again(cluster: Cluster) -> None:
    address = Key("/calico/bgp/v1/host/h2/ip_addr_v4")
    listing = cluster.store.list(HOSTS)
    departure = Departure(cluster.store)
    departure.forget(H2)
    departure.clear(H2)
    assert cluster.store.get(address) is None
    cluster.register("h2", 1)
    # All of it in one go, as after a long piece of work.
    for event in cluster.store.watch(HOSTS, listing.revision, 0):
        cluster.loop.handle(Changed(HOSTS, event))
    cluster.settle()
    assert cluster.store.get(address) is not None


def test_a_host_that_went_and_came_unheard_has_its_keys_again(cluster: Cluster) -> None:
    address = Key("/calico/bgp/v1/host/h2/ip_addr_v4")
    departure = Departure(cluster.store)
    departure.forget(H2)
    departure.clear(H2)
    cluster.register("h2", 1)
    # The store no longer knew the events in between.
    cluster.tell_hosts()
    assert cluster.store.get(address) is not None


def test_a_registration_that_cannot_be_read_is_removed(cluster: Cluster) -> None:
    cluster.store.put(host_key(H2), "junk")
    cluster.tell_hosts()
    forget(cluster, H2)
    assert [each.key for each in cluster.store.list(HOSTS).entries] == [host_key(H1)]


def test_what_an_agent_reported_goes_where_its_registration_cannot_be_read(
    cluster: Cluster,
) -> None:
    # given reports of an agent of ours, one of a task that is there
    cluster.run(app(task("t", host="h2")))
    (spec,) = cluster.specs().values()
    gone = endpoint_of_task(H2, TaskId("gone"))
    for endpoint in (spec.id, gone):
        cluster.store.put(status_key(endpoint), '{"status": "up", "revision": 7}')
    # and Felix's, of which nobody knows whether the host is still his
    theirs = status_key(endpoint_of_task(H2, TaskId("theirs")))
    others = status_key(EndpointId(H2, "k8s", "pod", "eth0"))
    for key in (theirs, others):
        cluster.store.put(key, '{"status": "up"}')
    cluster.store.put(host_key(H2), "junk")
    cluster.tell_hosts()

    forget(cluster, H2)

    assert cluster.store.get(status_key(gone)) is None
    assert all(cluster.store.get(key) for key in (status_key(spec.id), theirs, others))


def test_a_block_in_use_keeps_its_claim_and_an_empty_one_is_given_up(cluster: Cluster) -> None:
    cluster = Cluster(pools=(Pool(IPNetwork("10.9.0.0/25")),))
    cluster.connect()
    addresses = Addresses(cluster.store)
    handles = [HandleId(f"x{number}") for number in range(65)]
    found = [addresses.assign(H2, handle) for handle in handles]
    for handle, address in list(zip(handles, found, strict=True))[:64]:
        assert addresses.release(handle, address)
    empty, used = IPNetwork(f"{found[0]}/26").cidr, IPNetwork(f"{found[64]}/26").cidr
    assert forget(cluster, H2).blocks == (used,)
    assert cluster.store.get(block_key(empty)) is None
    assert cluster.store.get(affinity_key(H2, empty)) is None
    assert cluster.store.get(affinity_key(H2, used)) is not None


def test_a_block_in_which_an_address_is_just_taken_is_not_given_up(cluster: Cluster) -> None:
    addresses = Addresses(cluster.store)
    assert addresses.release(HandleId("x"), addresses.assign(H2, HandleId("x")))
    (block,) = [each.cidr for each, _ in addresses.blocks() if each.affinity == H2]

    class TakenMeanwhile:
        """The store, in which an address is borrowed once the books were read."""

        def __getattr__(self, name: str) -> object:
            return getattr(cluster.store, name)

        def list(self, prefix: Key) -> object:
            listing = cluster.store.list(prefix)
            if prefix == IPAM:
                addresses.assign_fixed(H1, HandleId("y"), block[9])
            return listing

    departure = Departure(TakenMeanwhile())
    departure.forget(H2)
    with pytest.raises(Conflict):
        departure.clear(H2)
    assert addresses.holder(block[9]) == "y"
    assert cluster.store.get(host_key(H2)) is not None


def test_the_last_host_can_be_forgotten_too() -> None:
    cluster = Cluster("h2")
    cluster.connect()
    made = app(task("t", host="h2"))
    cluster.run(made)
    cluster.kill(made, made.tasks[0])
    forget(cluster, H2)
    cluster.after(REST + RESYNC)
    assert left_of(cluster, H2) == []
    assert Addresses(cluster.store).blocks() == ()


def test_keys_of_a_host_that_never_registered_are_not_ours(cluster: Cluster) -> None:
    stranger = HostName("stranger")
    Addresses(cluster.store).assign(stranger, HandleId("theirs"))
    theirs = Key("/calico/bgp/v1/host/stranger/ip_addr_v4")
    cluster.store.put(theirs, "172.31.0.77")
    assert forget(cluster, stranger).blocks != ()
    Addresses(cluster.store).release(
        HandleId("theirs"), Addresses(cluster.store).held_by(HandleId("theirs"))[0]
    )
    assert forget(cluster, stranger) == Remains()
    assert Addresses(cluster.store).blocks() == ()
    assert cluster.store.get(theirs) is not None


def test_what_its_agent_reported_goes_with_the_task(cluster: Cluster) -> None:
    made = app(task("t", host="h2"))
    cluster.run(made)
    (spec,) = cluster.specs().values()
    cluster.store.put(status_key(spec.id), '{"status": "up"}')
    forget(cluster, H2)
    assert cluster.store.get(status_key(spec.id)) is not None
    cluster.kill(made, made.tasks[0])
    cluster.after(10)
    assert cluster.store.get(status_key(spec.id)) is None
    assert cluster.store.get(host_key(H2)) is not None


def test_the_address_of_a_host_stays_beside_the_peers_that_an_operator_gave_it(
    cluster: Cluster,
) -> None:
    peer = Key("/calico/bgp/v1/host/h2/peer_v4/172.17.8.1")
    cluster.store.put(peer, '{"ip": "172.17.8.1", "as_num": "64511"}')
    assert forget(cluster, H2) == Remains()
    assert cluster.store.get(Key("/calico/bgp/v1/host/h2/ip_addr_v4")) is not None
    assert cluster.store.get(peer) is not None


def test_what_a_forgotten_host_told_of_an_earlier_store_goes_with_it(cluster: Cluster) -> None:
    told = ObjectionRecord(H2, BootId("boot"), "earlier", 3)
    cluster.store.put(objection_key(H2), encode_objection(told))
    forget(cluster, H2)
    assert cluster.store.get(objection_key(H2)) is None
