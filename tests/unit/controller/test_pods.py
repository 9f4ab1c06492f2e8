"""Pods: an instance is what has an endpoint, whatever becomes of its containers."""

from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from calico.cluster import HoldKind
from calico.model import Attachment, ContainerId, Pool
from marathon_client.models import App, NetworkForm, Task, TaskState
from marathon_client.models import TaskId as TaskName
from tests.unit.controller.attaching import BOX, attach, tell
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, network, task


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster(pools=(Pool(IPNetwork("10.9.0.0/25")),))
    made.connect()
    return made


INSTANCE = "shop_cache.instance-2f8a1c44-5b1e-11e6-8d2b-0242ac110002"
EXECUTOR = "instance-shop_cache.2f8a1c44-5b1e-11e6-8d2b-0242ac110002"


def pod(*tasks: Task) -> App:
    net = network("g", name="calico", form=NetworkForm.NETWORKS)
    return replace(app(*tasks, name="/shop/cache", net=net), pod=True)


def instance(*addresses: IPAddress, state: TaskState = TaskState.RUNNING) -> Task:
    return replace(task(INSTANCE, app="/shop/cache", state=state), addresses=addresses)


def test_a_pod_instance_has_one_endpoint_for_all_its_containers(cluster: Cluster) -> None:
    given = attach(cluster.store, runs=EXECUTOR)
    cluster.run(pod(instance(*given)))
    assert set(cluster.specs()) == set(cluster.records()) == {INSTANCE}
    assert cluster.specs()[INSTANCE].addresses == given
    record = cluster.records()[INSTANCE]
    assert (record.pod, record.groups, record.container) == (True, ("g",), BOX)


def test_a_pod_instance_is_opened_at_once_when_its_host_tells_of_its_executor(
    cluster: Cluster,
) -> None:
    given = attach(cluster.store, runs="")
    cluster.run(pod(instance(*given)))
    assert cluster.specs() == {}
    tell(cluster, Attachment(BOX, given, EXECUTOR))
    assert cluster.specs()[INSTANCE].addresses == given


def test_a_pod_instance_goes_with_its_own_end_and_not_with_a_container_s(
    cluster: Cluster,
) -> None:
    given = attach(cluster.store, runs=EXECUTOR)
    made = pod(instance(*given))
    cluster.run(made)
    one = replace(made.tasks[0], id=TaskName(f"{INSTANCE}.redis"))
    cluster.event(one, TaskState.KILLED)
    assert set(cluster.specs()) == {INSTANCE}
    cluster.kill(made, made.tasks[0])
    assert cluster.specs() == {}


def test_a_pod_instance_that_is_being_killed_keeps_its_network(cluster: Cluster) -> None:
    given = attach(cluster.store, runs=EXECUTOR)
    cluster.run(pod(instance(*given)))
    cluster.run(pod(instance(*given, state=TaskState.KILLING)))
    cluster.after(100)
    assert set(cluster.specs()) == {INSTANCE}


def test_a_later_executor_goes_by_its_host_s_word_and_by_no_event(cluster: Cluster) -> None:
    given = attach(cluster.store, runs=EXECUTOR)
    later = replace(instance(*given), id=TaskName(f"{INSTANCE}.2"))
    made = pod(later)
    cluster.run(made)
    assert set(cluster.specs()) == {f"{INSTANCE}.2"}
    # Marathon tells of the instance, whose id has no number: which of its executors
    # ended, nobody knows.
    cluster.marathon.put(replace(made, tasks=()))
    cluster.event(instance(), TaskState.KILLED)
    assert set(cluster.specs()) == {f"{INSTANCE}.2"}
    cluster.applied(gone=(f"{INSTANCE}.2",))
    assert cluster.specs() == {}


def test_late_ends_of_the_first_executors_make_no_empty_list_true(cluster: Cluster) -> None:
    # given six instances, each with a second executor
    instances = [f"{INSTANCE}{number}" for number in range(6)]
    first = [task(each, app="/shop/cache") for each in instances]
    second = [task(f"{each}.2", app="/shop/cache") for each in instances]
    cluster.run(replace(app(*first, name="/shop/cache"), pod=True))
    cluster.marathon.put(replace(app(*second, name="/shop/cache"), pod=True))
    for each in first:
        cluster.event(each, TaskState.KILLED)
        cluster.event(each, TaskState.RUNNING)
    cluster.after(40)
    alive = {each.id for each in second}
    assert set(cluster.specs()) == alive
    # when the ends of the first ones are told again, and then a list is empty
    for each in first:
        cluster.event(each, TaskState.KILLED)
    cluster.marathon.current.clear()
    cluster.connect()
    # then all of them are held
    assert set(cluster.specs()) == alive
    assert HoldKind.TASKS in cluster.holds()


def test_an_executor_that_took_over_stays_when_the_one_before_it_ended(cluster: Cluster) -> None:
    first = instance(*attach(cluster.store, runs=EXECUTOR))
    cluster.run(pod(first))
    next_ = replace(
        instance(*attach(cluster.store, ContainerId("box-2"), runs=EXECUTOR)),
        id=TaskName(f"{INSTANCE}.2"),
    )
    cluster.marathon.put(pod(next_))
    cluster.event(first, TaskState.FAILED)
    assert set(cluster.specs()) == {f"{INSTANCE}.2"}
    cluster.after(100)
    assert set(cluster.specs()) == {f"{INSTANCE}.2"}
