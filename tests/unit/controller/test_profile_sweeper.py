"""Profiles of apps that nothing refers to: collected late, whole, and only ours."""

from dataclasses import replace

import pytest

from calico.cluster import HoldKind
from calico.datastore.api import Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.errors import DatastoreUnavailable
from calico.keys import PROFILES, endpoint_key, parse_profile_key, profile_key
from calico.model import EndpointId, HostName, ProfileId
from reconciler.controller.removal.profile_sweeper import MOST_AT_ONCE, UNREFERENCED_FOR
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import V2, app, network, task

OTHERS_TASK = EndpointId(HostName("h9"), "docker", "box", "ab")


class BreakingStore(MemoryDatastore):
    """Answers no delete of a profile after the first few, or has somebody write before it."""

    deletes = 1_000_000
    meddles = False

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        if key.startswith(f"{PROFILES}/app-"):
            if self.meddles:
                self.put(key, '{"a": "b"}')
            self.deletes -= 1
            if self.deletes < 0:
                raise DatastoreUnavailable("no answer")
        super().delete(key, expect=expect)


@pytest.fixture
def store() -> BreakingStore:
    return BreakingStore()


@pytest.fixture
def cluster(store: BreakingStore) -> Cluster:
    """One task that stays, and one that ended: its app's profile is left."""
    cluster = Cluster(store=store)
    cluster.connect()
    cluster.run(app(task("stays", app="/stays"), name="/stays"))
    made = app(task("ends"))
    cluster.run(made)
    cluster.after(5)
    cluster.kill(made, made.tasks[0])
    assert set(cluster.specs()) == {"stays"}
    return cluster


def profiles(cluster: Cluster) -> dict[ProfileId, set[str]]:
    """Every profile of an app, with its leaves."""
    found: dict[ProfileId, set[str]] = {}
    for stored in cluster.store.list(PROFILES).entries:
        parsed = parse_profile_key(stored.key)
        if parsed is not None and parsed[0].startswith("app-"):
            found.setdefault(parsed[0], set()).add(parsed[1])
    return found


def left(cluster: Cluster) -> ProfileId:
    """The profile of the task that ended."""
    return next(each for each in profiles(cluster) if each.startswith("app-app-"))


def pass_time(cluster: Cluster, seconds: float) -> None:
    """In steps of the complete lists."""
    for _ in range(int(seconds / 30)):
        cluster.clock.advance(30)
        cluster.settle()


def test_what_nothing_refers_to_for_an_hour_is_collected_whole(cluster: Cluster) -> None:
    assert profiles(cluster)[left(cluster)] == {"rules", "tags", "labels"}
    pass_time(cluster, UNREFERENCED_FOR - 120)
    assert len(profiles(cluster)) == 2
    pass_time(cluster, 300)
    assert [each.rpartition("-")[0] for each in profiles(cluster)] == ["app-stays"]
    # Groups and hosts keep theirs.
    assert cluster.store.get(profile_key(ProfileId("g"), "rules")) is not None
    assert cluster.store.get(profile_key(ProfileId("default_h1"), "rules")) is not None


def test_a_task_that_needs_it_again_finds_it_whole(cluster: Cluster) -> None:
    name = left(cluster)
    pass_time(cluster, UNREFERENCED_FOR + 300)
    assert name not in profiles(cluster)
    cluster.run(app(task("again")))
    cluster.after(5)
    assert profiles(cluster)[name] == {"rules", "tags", "labels"}
    assert name in cluster.specs()["again"].profiles


def test_a_use_in_between_begins_the_hour_anew(cluster: Cluster) -> None:
    name = left(cluster)
    pass_time(cluster, UNREFERENCED_FOR - 300)
    again = app(task("again"))
    cluster.run(again)
    pass_time(cluster, 120)
    cluster.kill(again, again.tasks[0])
    pass_time(cluster, UNREFERENCED_FOR - 300)
    assert name in profiles(cluster)
    pass_time(cluster, 600)
    assert name not in profiles(cluster)


def test_a_takeover_begins_the_hour_anew(cluster: Cluster) -> None:
    pass_time(cluster, UNREFERENCED_FOR - 300)
    cluster.start()
    cluster.connect()
    pass_time(cluster, 600)
    assert len(profiles(cluster)) == 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{{"profile_ids": ["{0}"], "name": "x"}}', id="that makes sense"),
        pytest.param('{{"profile_ids": ["{0}', id="that nobody can read"),
    ],
)
def test_the_endpoint_of_another_orchestrator_keeps_it(cluster: Cluster, text: str) -> None:
    name = left(cluster)
    cluster.store.put(endpoint_key(OTHERS_TASK), text.format(name))
    pass_time(cluster, UNREFERENCED_FOR + 300)
    assert name in profiles(cluster)
    cluster.store.delete(endpoint_key(OTHERS_TASK))
    pass_time(cluster, UNREFERENCED_FOR - 300)
    assert name in profiles(cluster)


def test_a_task_that_waits_keeps_the_one_that_it_will_have(cluster: Cluster) -> None:
    name = left(cluster)
    cluster.run(app(task("waits", host="nowhere")))
    assert "waits" not in cluster.specs()
    pass_time(cluster, UNREFERENCED_FOR + 300)
    assert name in profiles(cluster)


def test_nothing_is_collected_while_anything_is_held(cluster: Cluster) -> None:
    current = dict(cluster.marathon.current)
    cluster.marathon.current.clear()
    cluster.connect()
    assert HoldKind.TASKS in cluster.holds()
    pass_time(cluster, UNREFERENCED_FOR + 600)
    assert len(profiles(cluster)) == 2
    cluster.marathon.current = current
    pass_time(cluster, 300)
    assert len(profiles(cluster)) == 1


def test_an_operators_own_that_begins_alike_is_left_alone(cluster: Cluster) -> None:
    own = ProfileId("app-of-mine")
    cluster.store.put(profile_key(own, "rules"), "{}")
    pass_time(cluster, UNREFERENCED_FOR + 300)
    assert own in profiles(cluster)


def test_what_somebody_writes_meanwhile_stays(cluster: Cluster, store: BreakingStore) -> None:
    name = left(cluster)
    store.meddles = True
    pass_time(cluster, UNREFERENCED_FOR + 300)
    assert profiles(cluster)[name] == {"rules", "tags", "labels"}
    store.meddles = False
    pass_time(cluster, 300)
    assert name not in profiles(cluster)


@pytest.mark.parametrize("deletes", [0, 1, 2])
def test_a_controller_that_dies_between_two_deletes_leaves_the_rules_to_the_last(
    cluster: Cluster, store: BreakingStore, deletes: int
) -> None:
    name = left(cluster)
    store.deletes = deletes
    pass_time(cluster, UNREFERENCED_FOR + 300)
    assert profiles(cluster)[name] >= {"rules"}
    store.deletes = 1_000_000
    cluster.start()
    cluster.connect()
    pass_time(cluster, UNREFERENCED_FOR + 300)
    assert name not in profiles(cluster)


def test_so_many_are_collected_at_once(cluster: Cluster) -> None:
    made = app(net=network("g"))
    for number in range(MOST_AT_ONCE + 5):
        each = replace(
            app(task(f"m{number}", app=f"/m{number}"), name=f"/m{number}", version=V2),
            networks=made.networks,
        )
        cluster.run(each)
        cluster.kill(each, each.tasks[0])
    before = len(profiles(cluster))
    assert before >= MOST_AT_ONCE + 5
    pass_time(cluster, UNREFERENCED_FOR - 120)
    counts = []
    for _ in range(20):
        pass_time(cluster, 30)
        counts.append(len(profiles(cluster)))
    steps = [was - now for was, now in zip([before, *counts], counts, strict=False)]
    assert max(steps) == MOST_AT_ONCE
    assert counts[-1] == 1
