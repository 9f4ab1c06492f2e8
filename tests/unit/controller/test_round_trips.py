"""What a claim costs: a bound in round trips to the datastore, not in seconds."""

from dataclasses import replace

from netaddr import IPAddress, IPNetwork

from calico.datastore.memory import MemoryDatastore
from calico.keys import endpoint_key
from calico.model import ContainerId, Pool
from marathon_client.models import App, Task, TaskState
from tests.unit.controller.attaching import CountingStore, attach
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, network, task

POOL = Pool(IPNetwork("10.9.0.0/25"))
NAMED = network("g", name="calico")


def reporting(*addresses: IPAddress, name: str = "t") -> Task:
    return replace(task(name), addresses=addresses)


def running(*tasks: Task) -> App:
    return app(*tasks, net=NAMED)


#: What is read and written between a task's first sight and its endpoint: its block, its
#: container's handle; its own handle, the block, the record, the endpoint's key, the endpoint.
ROUND_TRIPS = 7


def test_a_claim_takes_few_round_trips_to_the_datastore() -> None:
    store = CountingStore(MemoryDatastore())
    cluster = Cluster(pools=(POOL,), store=store)
    cluster.connect()
    first, second, third = (
        reporting(*attach(store, ContainerId(f"box-{name}"), runs=name), name=name)
        for name in "abc"
    )
    cluster.run(running(first))
    cluster.after(5)

    store.log.clear()
    cluster.run(running(first, second))
    written = f"put {endpoint_key(cluster.specs()['b'].id)}"
    assert until_last(store, written) <= ROUND_TRIPS, store.log

    # Of several tasks at once the block is read once.
    store.log.clear()
    cluster.after(5)
    more = [
        reporting(
            *attach(store, ContainerId(f"box-{number}"), runs=f"m{number}"), name=f"m{number}"
        )
        for number in range(5)
    ]
    store.log.clear()
    cluster.marathon.put(running(first, second, third, *more))
    cluster.event(third, TaskState.RUNNING)
    assert len(cluster.specs()) == 8
    blocks = [each for each in store.log if each.startswith("get") and "/block/" in each]
    assert len(blocks) == 1
    last = max(
        until_last(store, f"put {endpoint_key(s.id)}")
        for s in cluster.specs().values()
        if f"put {endpoint_key(s.id)}" in store.log
    )
    assert last <= 1 + 6 * (ROUND_TRIPS - 1), store.log


def until_last(store: CountingStore, entry: str) -> int:
    """How many there were until the last of these."""
    return len(store.log) - store.log[::-1].index(entry)
