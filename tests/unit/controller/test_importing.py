"""What one host says that it holds, beside what this store has given meanwhile."""

from dataclasses import replace

from netaddr import IPAddress

from calico.addressing.addresses import Addresses
from calico.cluster import HoldKind
from calico.keys import BLOCKS, endpoint_key
from calico.model import Attachment
from reconciler.controller.adoption.hearing import WAIT
from tests.unit.controller.attaching import BOX, attach, tell
from tests.unit.controller.cluster import Cluster
from tests.unit.controller.objecting import (
    addresses,
    everything,
    object_to,
    replace_store,
    restored,
    told_by,
)
from tests.unit.reconciler.apps import app, task


def test_the_address_of_a_task_whose_host_follows_the_store_stays_with_it() -> None:
    # given two tasks on two hosts that follow the store
    cluster = Cluster()
    cluster.connect()
    cluster.run(app(task("a.1"), task("a.2", host="h2")))
    cluster.applied()
    before, told = addresses(cluster), told_by(cluster, "h1")

    # when one host comes with an earlier store, in which it had the other's address
    claimed = (
        (key, text.replace(before["a.1"], before["a.2"]) if "/endpoint/" in key else text)
        for key, text in told.entries
    )
    object_to(cluster, replace(told, guid="earlier", entries=tuple(claimed)))
    cluster.after(WAIT + 2)

    # then the other keeps it, and an operator has to know
    assert addresses(cluster) == before
    assert Addresses(cluster.store).holder(IPAddress(before["a.2"])) == "a.2"
    assert cluster.holds()[HoldKind.STORE].subjects == (before["a.2"],)


def test_a_claim_that_the_host_had_not_read_of_its_block_yet_costs_the_task_nothing() -> None:
    # given a task that claimed its container, whose agent has read its endpoint,
    # but not yet the block
    cluster = Cluster()
    cluster.connect()
    (address,) = attach(cluster.store, BOX, runs="a.1")
    tell(cluster, Attachment(BOX, (address,), "a.1"))
    unclaimed = {each.key: each.value for each in cluster.store.list(BLOCKS).entries}
    cluster.run(app(replace(task("a.1"), addresses=(address,))))
    cluster.applied()
    one, two = (told_by(cluster, each) for each in ("h1", "h2"))
    behind = tuple((key, unclaimed.get(key, text)) for key, text in one.entries)

    # when the store is set back to what it was after the claim
    store = restored(cluster, everything(cluster.store))
    cluster.mute = True
    replace_store(cluster, store)
    endpoint = endpoint_key(cluster.specs()["a.1"].id)
    before = store.get(endpoint)
    object_to(cluster, replace(one, entries=behind), two)
    cluster.after(WAIT + 2)

    # then its endpoint was there all the time
    assert not cluster.reconciler.adoption.closed
    assert store.get(endpoint) == before
    assert Addresses(store).holder(address) == "a.1"


def test_the_address_of_a_container_whose_host_follows_the_store_stays_with_it() -> None:
    # given a task, and a container of another host, which no task has claimed yet
    cluster = Cluster()
    cluster.connect()
    cluster.run(app(task("a.1")))
    cluster.applied()
    before, told = addresses(cluster), told_by(cluster, "h1")
    (given,) = attach(cluster.store, BOX, host="h2")
    holder = Addresses(cluster.store).holder(given)
    tell(cluster, Attachment(BOX, (given,)), host="h2")

    # when the task's host comes with an earlier store, in which the task had that address
    claimed = (
        (key, text.replace(before["a.1"], str(given)) if "/endpoint/" in key else text)
        for key, text in told.entries
    )
    object_to(cluster, replace(told, guid="earlier", entries=tuple(claimed)))
    cluster.after(WAIT + 2)

    # then the container keeps it
    assert Addresses(cluster.store).holder(given) == holder
    assert addresses(cluster) == before
    assert cluster.holds()[HoldKind.STORE].subjects == (str(given),)
