"""A small cluster as etcd holds it, for tests of the agent."""

from netaddr import IPAddress, IPNetwork

from calico.cluster import LeaderRecord
from calico.codec import encode_endpoint, encode_host, encode_pool, encode_rules, encode_tags
from calico.datastore.api import Datastore, Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.keys import CLUSTER_GUID, READY, endpoint_key, host_key, pool_key, profile_key
from calico.model import (
    Action,
    BootId,
    EndpointId,
    EndpointSpec,
    HostName,
    HostRecord,
    Match,
    Pool,
    Profile,
    ProfileId,
    Rule,
    Tag,
    TaskId,
)
from calico.names import endpoint_of_task, interface_of, mac_of
from reconciler.agent.belief import PREFIXES
from reconciler.agent.reconciliation.reconcile import HostReconciler
from reconciler.agent.vouching import RENEWALS, LeaderSeen
from reconciler.runtime.watchfeed import Loaded

HOST, OTHER_HOST = HostName("h1"), HostName("h2")
UNDERLAY, OTHER_UNDERLAY = IPAddress("10.0.0.1"), IPAddress("10.0.0.2")
POOL = Pool(IPNetwork("192.168.0.0/16"))


def vouch_for(reconciler: HostReconciler) -> None:
    """Have a leader that lives vouch for the store, as one of an earlier version does."""
    for revision in range(1, 2 + RENEWALS):
        reconciler.handle(LeaderSeen(LeaderRecord("controller"), Revision(revision)))


def spec(
    task: TaskId, address: str, *groups: str, host: HostName = HOST, active: bool = True
) -> EndpointSpec:
    """The network of a task in some groups."""
    endpoint = endpoint_of_task(host, task)
    return EndpointSpec(
        id=endpoint,
        interface=interface_of(endpoint),
        mac=mac_of(endpoint),
        addresses=(IPAddress(address),),
        profiles=tuple(map(ProfileId, groups)),
        active=active,
    )


def put_group(store: Datastore, group: str) -> None:
    """A profile whose members reach each other."""
    tag = Tag(group)
    profile = Profile(
        ProfileId(group),
        (tag,),
        inbound=(Rule(Action.ALLOW, Match(src_tag=tag)),),
        outbound=(Rule(Action.ALLOW),),
    )
    store.put(profile_key(profile.id, "tags"), encode_tags(profile))
    store.put(profile_key(profile.id, "rules"), encode_rules(profile))


def put_spec(store: Datastore, wanted: EndpointSpec) -> None:
    """Ask for a task's network."""
    store.put(endpoint_key(wanted.id), encode_endpoint(wanted))


def remove_spec(store: Datastore, endpoint: EndpointId) -> None:
    """Withdraw a task's network."""
    store.delete(endpoint_key(endpoint))


def filled_store(cluster: str = "one", ready: str = "true") -> MemoryDatastore:
    """A store as the controller's first start leaves it, with two hosts and groups."""
    store = MemoryDatastore()
    store.put(CLUSTER_GUID, cluster)
    store.put(pool_key(POOL), encode_pool(POOL))
    for group in ("a", "b"):
        put_group(store, group)
    for host, address in ((HOST, UNDERLAY), (OTHER_HOST, OTHER_UNDERLAY)):
        record = HostRecord(host, address, BootId(f"boot-{host}"), "", "")
        store.put(host_key(host), encode_host(record))
    store.put(READY, ready)
    return store


def loaded(store: Datastore) -> tuple[Loaded, ...]:
    """What the feeds say after a complete list of each prefix."""
    return tuple(Loaded(prefix, store.list(prefix)) for prefix in PREFIXES)


def key_of(endpoint: EndpointId) -> Key:
    """Where a spec is kept."""
    return endpoint_key(endpoint)
