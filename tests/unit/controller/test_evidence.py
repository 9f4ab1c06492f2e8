"""What counts as a task's end, and for how long; and which failure stops whom."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from calico.datastore.api import Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.errors import DatastoreRefused
from calico.keys import task_key
from calico.model import TaskId
from marathon_client.events import AppChanged, EverythingChanged, Subscribed, TaskStatus
from marathon_client.models import App, AppId, TaskState
from marathon_client.models import TaskId as TaskName
from marathon_client.stream import Connected
from reconciler.controller.removal.event_order import BEHIND, SET_BACK
from reconciler.core.removal.withdrawal import CONFIRM_AFTER
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, task

APP = app(*(task(f"t{number}") for number in range(20)))
ENDED, OTHER = APP.tasks[:2]


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.connect()
    made.run(APP)
    assert ENDED.id in made.specs()
    return made


def without(gone: App) -> App:
    """The app as a list shows it that lacks its first task."""
    return replace(gone, tasks=gone.tasks[1:])


def look(cluster: Cluster) -> None:
    """Have the app read, as after an event that names it and no task."""
    cluster.loop.handle(AppChanged((AppId("/app"),)))
    cluster.settle()


def test_an_app_that_is_absent_in_a_read_keeps_its_tasks(cluster: Cluster) -> None:
    cluster.marathon.current.clear()
    look(cluster)
    assert len(cluster.specs()) == 20


def test_a_task_that_is_absent_in_a_read_is_kept(cluster: Cluster) -> None:
    cluster.marathon.put(without(APP))
    look(cluster)
    assert ENDED.id in cluster.specs()


def test_a_task_that_ended_by_an_event_and_is_absent_is_withdrawn_at_once(
    cluster: Cluster,
) -> None:
    cluster.marathon.put(without(APP))
    cluster.event(ENDED, TaskState.KILLED)
    assert ENDED.id not in cluster.specs()


def test_an_end_that_marathon_does_not_follow_is_none_later(cluster: Cluster) -> None:
    # given a task that is said to have ended, and is listed for long after that
    cluster.event(ENDED, TaskState.KILLED)
    cluster.after(BEHIND + 1)
    look(cluster)
    assert ENDED.id in cluster.specs()

    # when one read lacks it
    cluster.marathon.put(without(APP))
    look(cluster)

    # then the old event is no proof any more
    assert ENDED.id in cluster.specs()


def test_a_task_that_runs_after_its_end_was_told_has_not_ended(cluster: Cluster) -> None:
    cluster.event(ENDED, TaskState.KILLED)
    cluster.event(ENDED, TaskState.RUNNING)

    cluster.marathon.put(without(APP))
    look(cluster)

    assert ENDED.id in cluster.specs()


@pytest.mark.parametrize(
    ("ended", "is_proof"),
    [
        pytest.param(7.0, False, id="said before"),
        pytest.param(9.0, True, id="said after"),
        pytest.param(None, True, id="said at no time"),
    ],
)
def test_an_end_that_comes_after_the_word_that_the_task_runs(
    cluster: Cluster, ended: float | None, *, is_proof: bool
) -> None:
    # given a task that was lost and found, and a word of its end that comes late
    cluster.event(ENDED, TaskState.KILLED, 5.0)
    cluster.event(ENDED, TaskState.RUNNING, 8.0)
    cluster.event(ENDED, TaskState.RUNNING, 4.0)

    # when it comes while a read lacks the task
    cluster.marathon.put(without(APP))
    cluster.event(ENDED, TaskState.KILLED, ended)

    assert (ENDED.id not in cluster.specs()) is is_proof


@pytest.mark.parametrize(
    ("again", "is_proof"),
    [pytest.param(5.0, False, id="a second time"), pytest.param(5.1, True, id="anew")],
)
def test_a_word_of_an_end_counts_once(cluster: Cluster, again: float, *, is_proof: bool) -> None:
    # given a task that lost its network by that word, and was found again
    cluster.marathon.put(without(APP))
    cluster.event(ENDED, TaskState.KILLED, 5.0)
    assert ENDED.id not in cluster.specs()
    cluster.marathon.put(APP)
    look(cluster)
    assert ENDED.id in cluster.specs()

    # when it is told while a read lacks the task
    cluster.marathon.put(without(APP))
    cluster.event(ENDED, TaskState.KILLED, again)

    assert (ENDED.id not in cluster.specs()) is is_proof


def open_stream(cluster: Cluster, told: float) -> None:
    cluster.connect()
    cluster.loop.handle(Subscribed(told))
    cluster.loop.handle(Subscribed(None))


def tell_of_another(cluster: Cluster, told: float) -> None:
    cluster.event(OTHER, TaskState.RUNNING, told)
    cluster.event(OTHER, TaskState.RUNNING, told - SET_BACK + 1.0)


TOLD_AT_1000 = [
    pytest.param(open_stream, id="the stream was opened"),
    pytest.param(tell_of_another, id="another task's state was told"),
]


@pytest.mark.parametrize("tell", TOLD_AT_1000)
@pytest.mark.parametrize(
    ("ended", "is_proof"),
    [
        pytest.param(1000.0 - BEHIND - 0.1, False, id="told before"),
        pytest.param(1000.0 - BEHIND + 0.1, True, id="told at about the same time"),
        pytest.param(1000.0 - SET_BACK - 0.1, True, id="told by a clock that was set back"),
        pytest.param(None, True, id="told at no time"),
    ],
)
def test_an_end_that_comes_after_later_news(
    cluster: Cluster,
    tell: Callable[[Cluster, float], None],
    ended: float | None,
    *,
    is_proof: bool,
) -> None:
    # given a task that was lost and found, of which nobody was told that it runs
    tell(cluster, 1000.0)

    # when it comes while a read lacks the task
    cluster.marathon.put(without(APP))
    cluster.event(ENDED, TaskState.KILLED, ended)

    assert (ENDED.id not in cluster.specs()) is is_proof


def list_all(cluster: Cluster) -> None:
    """Have all apps read, as after an event that names none."""
    cluster.loop.handle(EverythingChanged("a group changed"))
    cluster.after(1)


READS = [pytest.param(look, id="a read of its app"), pytest.param(list_all, id="a list")]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("newest", "is_proof"),
    [
        pytest.param(50.0 + BEHIND + 0.1, False, id="long after"),
        pytest.param(50.0 + BEHIND - 0.1, True, id="just after, which Marathon may lag"),
    ],
)
def test_a_task_that_a_read_names_after_its_end(
    cluster: Cluster, read: Callable[[Cluster], None], newest: float, *, is_proof: bool
) -> None:
    cluster.event(ENDED, TaskState.KILLED, 50.0)
    cluster.event(OTHER, TaskState.RUNNING, newest)
    read(cluster)

    cluster.marathon.put(without(APP))
    look(cluster)

    assert (ENDED.id not in cluster.specs()) is is_proof


def test_a_word_that_the_task_runs_from_before_its_end_takes_no_proof_away(
    cluster: Cluster,
) -> None:
    cluster.event(ENDED, TaskState.KILLED, 50.0)
    cluster.event(ENDED, TaskState.RUNNING, 49.0)

    cluster.marathon.put(without(APP))
    look(cluster)

    assert ENDED.id not in cluster.specs()


def test_an_end_is_not_compared_with_what_the_next_leader_tells(cluster: Cluster) -> None:
    # given an end that was told just before another took over, whose clock is ahead
    cluster.event(ENDED, TaskState.KILLED, 50.0)
    cluster.marathon.leader = "b:8080"
    cluster.loop.handle(Connected("http://marathon", "b:8080"))
    cluster.loop.handle(Subscribed(90.0))
    look(cluster)

    cluster.marathon.put(without(APP))
    look(cluster)

    assert ENDED.id not in cluster.specs()


def test_an_end_that_another_leader_tells_by_a_slower_clock_counts(cluster: Cluster) -> None:
    cluster.event(ENDED, TaskState.RUNNING, 300.0)
    cluster.marathon.leader = "b:8080"
    cluster.connect()

    cluster.marathon.put(without(APP))
    cluster.event(ENDED, TaskState.KILLED, 5.0)

    assert ENDED.id not in cluster.specs()


def test_a_list_of_another_leader_than_the_streams_orders_nothing(cluster: Cluster) -> None:
    # given a stream of a former leader by whose clock it is late
    cluster.event(OTHER, TaskState.RUNNING, 300.0)
    cluster.marathon.leader = "b:8080"
    cluster.after(100)

    cluster.marathon.put(without(APP))
    cluster.event(ENDED, TaskState.KILLED, 5.0)

    assert ENDED.id not in cluster.specs()


def test_two_lists_of_two_leaders_confirm_nothing(cluster: Cluster) -> None:
    # given a task that the list of one leader lacks
    cluster.marathon.put(without(APP))
    cluster.connect()

    # when the next list that would confirm it is another leader's
    cluster.marathon.leader = "b:8080"
    cluster.after(CONFIRM_AFTER + 5)
    assert ENDED.id in cluster.specs()

    # then it is the first of two
    cluster.after(CONFIRM_AFTER + 5)
    assert ENDED.id not in cluster.specs()


def test_a_stream_that_is_not_the_leaders_is_opened_anew_once(cluster: Cluster) -> None:
    cluster.after(130)
    assert cluster.reconnects == 0

    cluster.marathon.leader = "b:8080"
    cluster.after(130)
    assert cluster.reconnects == 1

    cluster.connect()
    cluster.after(130)
    assert cluster.reconnects == 1


class RefusingStore(MemoryDatastore):
    """A store that does not take the record of one task."""

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        if key == task_key(TaskId("bad")):
            raise DatastoreRefused("no permission")
        return super().put(key, value, expect=expect, ttl=ttl)


def test_a_task_that_cannot_be_written_stops_no_other() -> None:
    # given an app with a task that cannot be written, before others in it and in the list
    cluster = Cluster(store=RefusingStore())
    cluster.marathon.put(app(task("bad"), task("next")))
    cluster.marathon.put(app(task("other", app="/other"), name="/other"))

    cluster.connect()

    assert set(cluster.specs()) == {"next", "other"}


def test_tasks_that_end_while_marathon_lags_behind_mesos_are_withdrawn_and_not_held(
    cluster: Cluster,
) -> None:
    # given an app whose list is empty by now, and a Marathon that is three seconds behind
    lag = BEHIND + 1.0
    cluster.marathon.put(replace(APP, tasks=()))

    # when it tells of each end as of when it heard of it, then of the instance as of now
    for number, each in enumerate(APP.tasks):
        heard = 1000.0 + number / 100
        for status in (
            TaskStatus(each.app_id, each.id, TaskState.KILLED, each.host, heard),
            TaskStatus(
                each.app_id,
                TaskName(f"instance-{each.id}"),
                TaskState.KILLED,
                each.host,
                heard + lag,
                of_instance=True,
            ),
        ):
            cluster.loop.handle(status)
    cluster.settle()
    cluster.after(1)
    cluster.connect()

    assert cluster.specs() == {}
    assert cluster.holds() == {}
