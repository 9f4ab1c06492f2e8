"""etcd wiped while the URL leads to another Marathon: hosts know whose tasks they run."""

from dataclasses import replace

import pytest

from calico.cluster import HoldKind, ObjectionRecord
from calico.codec import decode_cluster
from calico.keys import CLUSTER, FRAMEWORK
from tests.unit.controller.cluster import Cluster
from tests.unit.controller.objecting import object_to, replace_store, running, told_by, wiped
from tests.unit.reconciler.apps import app, task

OURS = (app(task("a.1"), task("a.2", host="h2")), app(task("b.1", app="/b"), name="/b"))
TASKS = {"a.1", "a.2", "b.1"}


@pytest.fixture
def cluster() -> Cluster:
    """Three tasks on two hosts, whose agents have followed everything."""
    return running(*OURS)


def pinned(cluster: Cluster) -> str:
    stored = cluster.store.get(CLUSTER)
    assert stored is not None
    return decode_cluster(stored.value).framework


def told(cluster: Cluster) -> tuple[ObjectionRecord, ObjectionRecord]:
    return told_by(cluster, "h1"), told_by(cluster, "h2")


def naming(record: ObjectionRecord, framework: str) -> ObjectionRecord:
    """What a host tells that knew another framework."""
    entries = tuple((k, framework if k == FRAMEWORK else text) for k, text in record.entries)
    return replace(record, entries=entries)


def lose_store_before_another_marathon(cluster: Cluster) -> None:
    cluster.marathon.framework = "second-0000"
    cluster.marathon.current.clear()
    cluster.marathon.put(app(task("stranger", app="/other"), name="/other"))
    replace_store(cluster, wiped(cluster))


@pytest.mark.parametrize("after", [0, 5], ids=["at once", "after a few lists"])
def test_hosts_tell_whose_tasks_they_run_before_another_marathon_is_believed(
    cluster: Cluster, after: int
) -> None:
    held = told(cluster)
    lose_store_before_another_marathon(cluster)
    for _ in range(after):
        cluster.connect()
        cluster.after(1)
    object_to(cluster, *held)
    cluster.after(5)
    cluster.applied()
    cluster.after(300)
    # then the other one is held, and has neither ended nor begun anything
    assert pinned(cluster) == "first-0000"
    assert cluster.holds()[HoldKind.FRAMEWORK].subjects == ("second-0000",)
    assert set(cluster.specs()) == TASKS
    assert "stranger" not in cluster.records()
    # and once the URL leads to the right one, all goes on
    cluster.marathon.framework = "first-0000"
    cluster.marathon.current.clear()
    for each in OURS:
        cluster.marathon.put(each)
    cluster.connect()
    cluster.after(100)
    assert cluster.holds() == {}
    assert set(cluster.specs()) == set(cluster.records()) == TASKS


def test_nobody_is_pinned_before_hosts_could_tell(cluster: Cluster) -> None:
    lose_store_before_another_marathon(cluster)
    assert cluster.reconciler.adoption.closed
    assert pinned(cluster) == ""


def test_where_no_host_tells_the_first_answer_is_pinned_once_addresses_are_given(
    cluster: Cluster,
) -> None:
    lose_store_before_another_marathon(cluster)
    cluster.after(100)
    assert not cluster.reconciler.adoption.closed
    assert pinned(cluster) == "second-0000"


@pytest.mark.parametrize(
    "frameworks",
    [
        pytest.param(("first-0000", "third-0000"), id="two of them"),
        pytest.param(("no id\n",) * 2, id="what is none"),
    ],
)
def test_hosts_that_tell_nothing_clear_are_not_asked(
    cluster: Cluster, frameworks: tuple[str, str]
) -> None:
    held = [naming(*each) for each in zip(told(cluster), frameworks, strict=True)]
    lose_store_before_another_marathon(cluster)
    object_to(cluster, *held)
    cluster.after(5)
    cluster.applied()
    cluster.after(100)
    assert pinned(cluster) == "second-0000"


def test_what_is_pinned_outweighs_what_a_host_tells(cluster: Cluster) -> None:
    object_to(cluster, naming(told_by(cluster, "h1"), "third-0000"))
    cluster.start()
    cluster.connect()
    cluster.after(30)
    assert pinned(cluster) == "first-0000"


def test_agents_are_told_of_a_framework_that_was_pinned_before_they_were(cluster: Cluster) -> None:
    cluster.store.delete(FRAMEWORK)
    cluster.start()
    cluster.connect()
    stored = cluster.store.get(FRAMEWORK)
    assert stored is not None
    assert stored.value == "first-0000"


def test_agents_are_told_of_a_framework_that_an_operator_approved(cluster: Cluster) -> None:
    cluster.marathon.framework = "second-0000"
    cluster.connect()
    cluster.approve(HoldKind.FRAMEWORK)
    cluster.after(100)
    stored = cluster.store.get(FRAMEWORK)
    assert stored is not None
    assert stored.value == pinned(cluster) == "second-0000"
