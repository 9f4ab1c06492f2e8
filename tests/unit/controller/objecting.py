"""Stores that are lost or replaced under a controller, and hosts that object to them."""

from calico.cluster import ObjectionRecord
from calico.codec import decode_chain, encode_objection
from calico.datastore.api import Datastore, Key, Stored
from calico.datastore.memory import MemoryDatastore
from calico.keys import (
    CHAIN,
    CLUSTER_GUID,
    objection_key,
)
from calico.model import AppliedRecord, BootId, HostName
from marathon_client.models import App
from reconciler.agent.belief import PREFIXES
from reconciler.agent.reporting.objection import objection_record
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, task

WEB = app(task("a.1"), task("a.2", host="h2"))
DB = app(task("b.1", app="/b"), name="/b")
OTHER = app(task("c.1", app="/c", host="h2"), name="/c")


def running(*apps: App) -> Cluster:
    """A cluster in which these run, and whose agents have followed everything."""
    cluster = Cluster()
    cluster.connect()
    for each in apps:
        cluster.run(each)
    cluster.applied()
    return cluster


def addresses(cluster: Cluster) -> dict[str, str]:
    return {name: str(spec.addresses[0]) for name, spec in cluster.specs().items()}


def told_by(cluster: Cluster, host: str) -> ObjectionRecord:
    """What the agent of a host tells that saw the store as it is now."""
    guid, chain = cluster.store.get(CLUSTER_GUID), cluster.store.get(CHAIN)
    assert guid is not None
    assert chain is not None
    entries = (each for root in PREFIXES for each in cluster.store.list(root).entries)
    takeover = decode_chain(chain.value)[-1].number
    former = {each.key: each for each in entries}
    return objection_record(HostName(host), BootId("boot"), guid.value, takeover, former)


def object_to(cluster: Cluster, *records: ObjectionRecord) -> None:
    """Agents do not believe the store, and tell what they hold."""
    for record in records:
        word = AppliedRecord(
            record.host,
            record.boot_id,
            0,
            guid=record.guid,
            takeover=record.takeover,
            doubt="wiped",
        )
        cluster.say(word)
        cluster.store.put(objection_key(record.host), encode_objection(record))
    cluster.tell_hosts()


def replace_store(cluster: Cluster, store: MemoryDatastore) -> None:
    """Another leader finds this store, in which no agent has said anything yet."""
    cluster.store = store
    for number, name in enumerate(("h1", "h2")):
        cluster.register(name, number, silent=True)
    # The order of addresses is another one, were they given anew.
    cluster.marathon.current = dict(reversed(cluster.marathon.current.items()))
    cluster.start()
    cluster.connect()


def everything(store: Datastore) -> tuple[Stored, ...]:
    roots = (Key("/calico"), Key("/marathon-calico"))
    return tuple(each for root in roots for each in store.list(root).entries)


def restored(cluster: Cluster, backup: tuple[Stored, ...]) -> MemoryDatastore:
    """A store with what was saved, all of whose numbers are others."""
    store = wiped(cluster)
    for each in backup:
        store.put(each.key, each.value)
    return store


def wiped(cluster: Cluster) -> MemoryDatastore:
    return MemoryDatastore(cluster.clock.monotonic)
