"""Keys of the wrong shape, which no read and no write of the controller's mends."""

import pytest

from calico.datastore.api import Key, Listing
from calico.datastore.memory import MemoryDatastore
from calico.keys import endpoint_key, task_key
from calico.model import HostName, TaskId
from calico.names import endpoint_of_task
from marathon_client.models import AppList
from reconciler.controller.scheduling.reloads import LATE, SOON
from reconciler.runtime.clock import ManualClock
from tests.unit.controller.cluster import Cluster, MemoryMarathon
from tests.unit.reconciler.apps import app, task

#: Seconds that a wrong key is left alone, between timed lists every minute.
LONG = 600
TASK = TaskId("u")
WORKLOAD = endpoint_key(endpoint_of_task(HostName("h1"), TASK)).rpartition("/endpoint/")[0]


class CountedMarathon(MemoryMarathon):
    """Counts lists of every app."""

    lists = 0

    def apps(self) -> AppList:
        self.lists += 1
        return super().apps()


class CountedStore(MemoryDatastore):
    """Counts lists of any prefix."""

    lists = 0

    def list(self, prefix: Key) -> Listing:
        self.lists += 1
        return super().list(prefix)


class Counted:
    """A cluster of one task that counts what its controller reads."""

    def __init__(self) -> None:
        clock = ManualClock()
        self.store, self.marathon = CountedStore(clock.monotonic), CountedMarathon()
        self.cluster = Cluster(store=self.store, marathon=self.marathon)
        self.cluster.connect()
        self.cluster.run(app(task("t")))
        self.cluster.after(5)

    def lists_of_both(self) -> tuple[int, int]:
        """How many lists there are of etcd and of Marathon in a long time."""
        before = self.store.lists, self.marathon.lists
        self.cluster.after(LONG)
        return self.store.lists - before[0], self.marathon.lists - before[1]

    def spoil(self, wrong: str) -> None:
        if wrong == "directory":
            self.store.make_directory(task_key(TASK))
        else:
            self.store.put(Key(WORKLOAD), "x")
        self.cluster.run(app(task(TASK, app="/other"), name="/other"))
        assert TASK not in self.cluster.specs()


@pytest.fixture
def counted() -> Counted:
    return Counted()


wrong_shapes = pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("directory", id="a directory where a record should be"),
        pytest.param("value", id="a value where a directory should be"),
    ],
)


@wrong_shapes
def test_a_wrong_key_does_not_have_everything_read_again_and_again(
    counted: Counted, wrong: str
) -> None:
    of_etcd, of_marathon = counted.lists_of_both()
    counted.spoil(wrong)

    found = counted.lists_of_both()

    assert found[1] <= of_marathon + 1
    assert found[0] <= 2 * of_etcd


def test_many_wrong_keys_ask_for_no_more_than_one(counted: Counted) -> None:
    of_etcd, of_marathon = counted.lists_of_both()
    for number in range(10):
        name = f"u{number}"
        counted.store.make_directory(task_key(TaskId(name)))
        counted.cluster.run(app(task(name, app=f"/{name}"), name=f"/{name}"))

    found = counted.lists_of_both()

    assert found[1] <= of_marathon + 1
    assert found[0] <= 2 * of_etcd


@wrong_shapes
def test_a_task_is_brought_once_its_key_was_put_right(counted: Counted, wrong: str) -> None:
    counted.spoil(wrong)
    counted.cluster.after(LONG)

    counted.store.delete(task_key(TASK) if wrong == "directory" else Key(WORKLOAD))
    counted.cluster.after(LATE)

    assert TASK in counted.cluster.specs()


def test_what_another_wrote_is_mended_in_seconds_also_beside_a_wrong_key(
    counted: Counted,
) -> None:
    # given a wrong key since long
    cluster = counted.cluster
    counted.spoil("directory")
    cluster.run(app(task("v", app="/third"), name="/third"))
    cluster.after(LONG + 1)
    specs = cluster.specs()

    # when another writes one endpoint anew, and takes another app's away
    stored = cluster.store.get(endpoint_key(specs["t"].id))
    assert stored is not None
    cluster.store.put(stored.key, stored.value)
    cluster.store.delete(endpoint_key(specs["v"].id))
    made = app(task("t"))
    cluster.kill(made, made.tasks[0])
    assert set(cluster.specs()) == {"t"}

    cluster.after(2 * SOON)
    assert set(cluster.specs()) == {"v"}
