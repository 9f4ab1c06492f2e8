"""Where there is a pool of each family, a task has an address of each, or none."""

from netaddr import IPNetwork

from calico.addressing.addresses import Addresses
from calico.model import HandleId, Pool, TaskVerdict
from reconciler.core.removal.quarantine import REST
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, task


def test_a_task_waits_for_both_of_its_addresses_and_keeps_the_one_it_has() -> None:
    cluster = Cluster(pools=(Pool(IPNetwork("10.9.0.0/25")), Pool(IPNetwork("fd80::/122"))))
    cluster.connect()
    many = app(*(task(f"t{number}") for number in range(64)))
    cluster.run(many)
    assert all(len(spec.addresses) == 2 for spec in cluster.specs().values())
    cluster.run(app(task("late", app="/late"), name="/late"))
    assert "late" not in cluster.specs()
    waiting = cluster.records()["late"]
    assert waiting.verdict is TaskVerdict.PENDING
    assert waiting.reason == (
        "no address is free in the IPv6 pools fd80::/122: add a pool, or wait until"
        " those of ended tasks have rested"
    )
    (four,) = Addresses(cluster.store).held_by(HandleId("late"))
    cluster.kill(many, many.tasks[0])
    cluster.applied()
    cluster.after(2 * REST)
    assert cluster.specs()["late"].addresses[0] == four
    assert len(cluster.specs()["late"].addresses) == 2
