"""What one host says that it holds, beside what this store has given meanwhile."""

from dataclasses import replace

from netaddr import IPAddress

from calico.addressing.addresses import Addresses
from calico.cluster import HoldKind
from reconciler.controller.adoption.adoption import WAIT
from tests.unit.controller.cluster import Cluster
from tests.unit.controller.test_adoption import addresses, object_to, told_by
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
