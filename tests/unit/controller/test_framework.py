"""A controller whose URL leads to another Marathon, or to one that does not say who it is."""

from dataclasses import replace

import pytest
from netaddr import IPNetwork

from calico.cluster import HoldKind
from calico.codec import decode_cluster, encode_cluster
from calico.errors import UnknownSchema
from calico.keys import CLUSTER, READY
from marathon_client.events import TaskStatus
from marathon_client.models import AppId, TaskId, TaskState
from reconciler.core.removal.withdrawal import CONFIRM_AFTER
from tests.unit.controller.cluster import UNAVAILABLE, Cluster, MemoryMarathon
from tests.unit.reconciler.apps import app, task


@pytest.fixture
def cluster() -> Cluster:
    """Five tasks of the Marathon that was pinned."""
    cluster = Cluster()
    cluster.connect()
    cluster.run(app(*(task(f"t{number}") for number in range(5))))
    return cluster


def pinned(cluster: Cluster) -> str:
    stored = cluster.store.get(CLUSTER)
    assert stored is not None
    return decode_cluster(stored.value).framework


def let_in(cluster: Cluster) -> set[str]:
    """From where health checks reach every task."""
    stored = cluster.store.get(CLUSTER)
    assert stored is not None
    return set(map(str, decode_cluster(stored.value).allow_from))


def meet_another(cluster: Cluster) -> None:
    """The URL leads to a Marathon with one app of its own."""
    cluster.marathon.framework = "second-0000"
    cluster.marathon.current.clear()
    cluster.marathon.put(app(task("stranger", app="/other"), name="/other"))


def test_the_first_answer_is_pinned_with_its_leader_and_nothing_else_changes() -> None:
    marathon = MemoryMarathon()
    marathon.framework = None
    cluster = Cluster(marathon=marathon)
    before = cluster.store.get(CLUSTER)
    assert before is not None
    assert pinned(cluster) == ""
    marathon.framework = "first-0000"
    cluster.after(100)
    after = cluster.store.get(CLUSTER)
    assert after is not None
    old = decode_cluster(before.value)
    assert decode_cluster(after.value) == replace(
        old,
        framework="first-0000",
        marathon="1.1.1",
        allow_from=(*old.allow_from, IPNetwork("10.0.0.9")),
    )


def test_of_another_framework_nothing_is_believed(cluster: Cluster) -> None:
    before = cluster.specs()
    meet_another(cluster)
    cluster.connect()
    cluster.after(300)
    assert cluster.specs() == before
    assert "stranger" not in cluster.records()
    held = cluster.holds()
    assert set(held) == {HoldKind.FRAMEWORK}
    assert held[HoldKind.FRAMEWORK].subjects == ("second-0000",)
    assert "first-0000" in held[HoldKind.FRAMEWORK].reason
    assert pinned(cluster) == "first-0000"


def test_not_even_one_task_of_another_framework_is_taken_in_by_its_event(cluster: Cluster) -> None:
    meet_another(cluster)
    # What was told before the connection is due before the list.
    for app_id, name, state in (
        ("/other", "stranger", TaskState.RUNNING),
        ("/app", "t0", TaskState.KILLED),
    ):
        cluster.loop.handle(TaskStatus(AppId(app_id), TaskId(name), state, "h1"))
    cluster.connect()
    assert set(cluster.records()) == {f"t{number}" for number in range(5)}


def test_an_end_that_is_told_late_and_another_framework_end_no_task(cluster: Cluster) -> None:
    # given an event that Marathon's own word contradicts
    cluster.loop.handle(TaskStatus(AppId("/app"), TaskId("t0"), TaskState.KILLED, "h1"))
    cluster.after(1)
    before = cluster.specs()

    # when the next look is answered by another, on a connection that stands
    meet_another(cluster)
    cluster.after(20)

    # then what it lacks has not ended
    assert cluster.specs() == before
    assert len(before) == 5


def test_the_leader_of_another_framework_is_not_let_in(cluster: Cluster) -> None:
    meet_another(cluster)
    cluster.marathon.leader = "b:8080"
    cluster.connect()
    assert "10.0.0.8/32" not in let_in(cluster)


def test_the_leader_of_who_does_not_say_who_it_is_is_let_in_once_it_does(cluster: Cluster) -> None:
    # given a list of a new leader that may be anybody's
    cluster.marathon.unnamed, cluster.marathon.leader = UNAVAILABLE, "b:8080"
    cluster.after(130)
    assert let_in(cluster) == {"10.0.0.9/32"}

    # when it is known to be ours
    cluster.marathon.unnamed = None
    cluster.after(130)

    assert let_in(cluster) == {"10.0.0.8/32", "10.0.0.9/32"}


def test_the_pinned_framework_ends_the_hold_by_coming_back(cluster: Cluster) -> None:
    own = dict(cluster.marathon.current)
    meet_another(cluster)
    cluster.connect()
    cluster.marathon.framework = "first-0000"
    cluster.marathon.current = own
    cluster.after(100)
    assert cluster.holds() == {}
    assert len(cluster.specs()) == 5


def test_an_adopted_framework_is_pinned_and_its_tasks_taken_in(cluster: Cluster) -> None:
    meet_another(cluster)
    cluster.connect()
    cluster.approve(HoldKind.FRAMEWORK)
    cluster.after(100)
    assert pinned(cluster) == "second-0000"
    assert "stranger" in cluster.specs()
    # What it does not name is many tasks without evidence: another question.
    assert set(cluster.holds()) == {HoldKind.TASKS}
    assert len(cluster.specs()) == 6


def test_an_approval_of_one_framework_adopts_no_other(cluster: Cluster) -> None:
    meet_another(cluster)
    cluster.connect()
    cluster.approve(HoldKind.FRAMEWORK)
    cluster.marathon.framework = "third-0000"
    cluster.after(100)
    assert pinned(cluster) == "first-0000"
    assert cluster.holds()[HoldKind.FRAMEWORK].subjects == ("third-0000",)
    assert len(cluster.specs()) == 5


def test_the_next_controller_knows_the_pin(cluster: Cluster) -> None:
    meet_another(cluster)
    cluster.start()
    cluster.connect()
    cluster.after(300)
    assert len(cluster.specs()) == 5
    assert HoldKind.FRAMEWORK in cluster.holds()


@pytest.mark.parametrize("silence", ["fails", "lacks the id"])
def test_who_does_not_say_who_it_is_may_add_but_not_remove_unproven(
    cluster: Cluster, silence: str
) -> None:
    made = cluster.marathon.current[AppId("/app")]
    cluster.marathon.unnamed = UNAVAILABLE if silence == "fails" else None
    cluster.marathon.framework = None
    left = made.tasks[2:]
    cluster.marathon.put(replace(made, tasks=(*left, task("new"))))
    cluster.connect()
    cluster.after(5 * CONFIRM_AFTER)
    assert set(cluster.specs()) == {f"t{number}" for number in range(5)} | {"new"}
    assert cluster.holds() == {}
    # What is proven ends as ever.
    cluster.event(made.tasks[0], TaskState.KILLED)
    assert "t0" not in cluster.specs()
    assert "t1" in cluster.specs()
    # Once it says so again, two lists are asked for from then on.
    cluster.marathon.unnamed, cluster.marathon.framework = None, "first-0000"
    cluster.connect()
    assert "t1" in cluster.specs()
    cluster.after(3 * CONFIRM_AFTER)
    assert "t1" not in cluster.specs()


def test_who_does_not_say_who_it_is_ends_no_hold(cluster: Cluster) -> None:
    cluster.marathon.current.clear()
    cluster.connect()
    held = cluster.holds()
    assert set(held) == {HoldKind.TASKS}
    cluster.marathon.framework = None
    cluster.after(100)
    assert cluster.holds() == held


def test_a_foreign_framework_that_falls_silent_is_foreign_still(cluster: Cluster) -> None:
    meet_another(cluster)
    cluster.connect()
    cluster.marathon.framework = None
    cluster.after(100)
    assert "stranger" not in cluster.records()
    assert HoldKind.FRAMEWORK in cluster.holds()


def test_a_record_of_another_schema_stops_everything_but_what_is_there(cluster: Cluster) -> None:
    stored = cluster.store.get(CLUSTER)
    assert stored is not None
    later = encode_cluster(replace(decode_cluster(stored.value), schema=2))
    cluster.store.put(CLUSTER, later)
    cluster.marathon.put(app(task("new", app="/b"), name="/b"))
    with pytest.raises(UnknownSchema):
        cluster.connect()
    assert set(cluster.specs()) == {f"t{number}" for number in range(5)}
    assert cluster.store.get(READY) is not None
    assert cluster.store.get(CLUSTER) is not None
    cluster.store.put(CLUSTER, stored.value)
    cluster.after(60)
    assert "new" in cluster.specs()
