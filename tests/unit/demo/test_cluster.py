"""Marathon's mind, driven by hand: no threads, no clock, no agents."""

import itertools
import uuid
from collections.abc import Callable

import pytest

from demo.marathon.core.cluster import Cluster
from demo.marathon.core.deployments import Change
from demo.marathon.core.effects import Kill, Launch, Publish
from demo.marathon.core.groups import GroupChange, parse_group, remove_group
from demo.marathon.core.state import State
from demo.marathon.definitions.apps import parse_app
from demo.marathon.definitions.commands import own_programs
from demo.marathon.era import Era
from demo.marathon.errors import ApiError
from demo.mesos.records import (
    AppId,
    HostName,
    Json,
    LaunchOrder,
    TaskId,
    TaskRecord,
    TaskReport,
    TaskState,
)
from tests.unit.demo.apps import host_app, ip_app

WEB = AppId("/shop/web")
HOSTS = [HostName("host-1"), HostName("host-2")]


def counted() -> Callable[[], uuid.UUID]:
    """Ids that say how many were drawn before them."""
    numbers = itertools.count(1)
    return lambda: uuid.UUID(int=next(numbers))


class World:
    """A cluster, its hosts' reports and everything it ever wanted done."""

    def __init__(self, era: Era = Era(1, 4), state: State | None = None) -> None:  # noqa: B008 - frozen
        self.now = 1_000_000.0
        self.revision = 0
        self.cluster = Cluster(state or State("fw-1"), HOSTS, era, own_programs, counted())
        self.records: dict[TaskId, tuple[HostName, TaskRecord]] = {}
        self.events: list[str] = []
        self.orders: list[LaunchOrder] = []
        self.kills: list[TaskId] = []
        self.cluster.resume(self.now)
        self.report()
        self.events.clear()

    def put(self, *apps: Json, force: bool = False) -> Json:
        """Send whole definitions of apps."""
        definitions = {app["id"]: parse_app(app, "/", self.cluster.era) for app in apps}
        return self.change(Change(AppId("/"), GroupChange(definitions=definitions), force))

    def change(self, change: Change) -> Json:
        """Send a change and let the cluster act on it."""
        self.now += 0.01
        result = self.cluster.change(change, self.now)
        self.settle()
        return result

    def settle(self) -> None:
        """Let the cluster act; orders are taken and kills are noted."""
        self.cluster.settle(self.now)
        for effect in self.cluster.take_effects():
            match effect:
                case Publish(event):
                    name = event.name.removesuffix("_event")
                    self.events.append(
                        f"{name} {event.body['taskStatus']}" if name == "status_update" else name
                    )
                case Launch(host, order):
                    self.orders.append(order)
                    record = TaskRecord(order.task_id, order.framework_id, TaskState.STAGING)
                    self.records[order.task_id] = (host, record)
                    self.revision += 1
                    self.cluster.launched(order.task_id, self.revision, self.now)
                case Kill(_, task_id):
                    self.kills.append(task_id)

    def report(self) -> None:
        """Every agent says what it has."""
        self.revision += 1
        for host in HOSTS:
            records = tuple(record for at, record in self.records.values() if at == host)
            report = TaskReport(f"{host}-S0", self.revision, records)
            self.cluster.reported(host, report, self.now)
        self.settle()

    def becomes(self, state: TaskState, *task_ids: TaskId) -> None:
        """These tasks are in another state now, and reported so."""
        self.now += 0.01
        for task_id in task_ids:
            host, record = self.records[task_id]
            self.records[task_id] = (host, TaskRecord(task_id, record.framework_id, state))
        self.report()

    def pass_time(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds
        self.settle()

    @property
    def last(self) -> TaskId:
        """The task that was ordered last."""
        return self.orders[-1].task_id


@pytest.fixture
def world() -> World:
    """A 1.4 with two empty hosts."""
    return World()


def test_starting_an_app_tells_its_story_in_marathons_order(world: World) -> None:
    world.put(ip_app())
    world.becomes(TaskState.RUNNING, world.last)
    assert world.events == [
        "group_change_success",
        "deployment_info",
        "deployment_step_success",
        "deployment_info",
        "instance_changed",
        "status_update TASK_STAGING",
        "instance_changed",
        "status_update TASK_RUNNING",
        "deployment_step_success",
        "deployment_success",
    ]


def test_before_1_4_staging_and_instances_are_not_told() -> None:
    world = World(Era(0, 14))
    world.put(ip_app())
    world.becomes(TaskState.RUNNING, world.last)
    assert [name for name in world.events if "deployment" not in name] == [
        "group_change_success",
        "status_update TASK_RUNNING",
    ]


def test_removing_an_app_ends_its_tasks_before_it_is_terminated(world: World) -> None:
    world.put(ip_app())
    world.becomes(TaskState.RUNNING, world.last)
    world.events.clear()
    world.change(Change(AppId("/shop"), GroupChange(removed_apps={WEB})))
    assert world.kills == [world.last]
    assert world.cluster.state.apps == {}
    assert world.events == ["group_change_success", "deployment_info"]
    world.becomes(TaskState.KILLED, world.last)
    assert world.events[2:] == [
        "instance_changed",
        "status_update TASK_KILLED",
        "app_terminated",
        "deployment_step_success",
        "deployment_success",
    ]


def test_a_changed_app_keeps_its_old_task_until_the_new_one_runs(world: World) -> None:
    world.put(ip_app())
    old = world.last
    world.becomes(TaskState.RUNNING, old)
    world.put(ip_app(ipAddress={"groups": ["other"]}))
    new = world.last
    assert new != old
    assert world.kills == []
    assert {task.id for task in world.cluster.tasks()} == {old, new}
    world.becomes(TaskState.RUNNING, new)
    assert world.kills == [old]
    world.becomes(TaskState.KILLED, old)
    assert world.cluster.state.deployments == {}
    tasks = {task.id: task.version for task in world.cluster.tasks()}
    assert tasks == {new: world.cluster.state.apps[WEB].version}


def test_a_mere_scale_keeps_tasks_and_the_time_of_the_last_change(world: World) -> None:
    world.put(ip_app())
    first = world.last
    world.becomes(TaskState.RUNNING, first)
    before = world.cluster.state.apps[WEB]
    world.put(ip_app(instances=2))
    after = world.cluster.state.apps[WEB]
    assert after.version > before.version
    assert after.last_config_change_at == before.last_config_change_at
    assert world.kills == []
    versions = {task.id: task.version for task in world.cluster.tasks()}
    assert versions == {first: before.version, world.last: after.version}


def test_the_same_body_again_changes_nothing(world: World) -> None:
    world.put(host_app())
    world.becomes(TaskState.RUNNING, world.last)
    before = world.cluster.state.apps[AppId("/plain")]
    world.put(host_app())
    assert world.cluster.state.apps[AppId("/plain")] is before
    assert len(world.orders) == 1
    assert world.events[-2:] == ["group_change_success", "deployment_success"]


def test_tasks_are_placed_on_the_hosts_in_turn(world: World) -> None:
    world.put(ip_app(instances=3))
    assert [task.host for task in world.cluster.tasks()] == ["host-1", "host-2", "host-1"]


def test_a_task_that_finds_no_host_waits_for_one(world: World) -> None:
    world.put(ip_app(instances=3, constraints=[["hostname", "UNIQUE"]]))
    assert len(world.orders) == 2
    assert world.cluster.next_wake() is not None


def test_a_host_that_does_not_answer_is_given_nothing(world: World) -> None:
    world.cluster.unreachable(HOSTS[0])
    world.put(ip_app(instances=2))
    assert {task.host for task in world.cluster.tasks()} == {"host-2"}


def test_a_task_that_ends_by_itself_is_replaced_after_its_backoff(world: World) -> None:
    world.put(ip_app())
    first = world.last
    world.becomes(TaskState.RUNNING, first)
    world.becomes(TaskState.FAILED, first)
    assert world.last == first
    world.pass_time(0.5)
    assert world.last == first
    world.pass_time(0.6)
    assert world.last != first
    assert world.cluster.state.failures[WEB]["taskId"] == first


def test_a_killed_task_is_replaced_at_once(world: World) -> None:
    world.put(ip_app())
    first = world.last
    world.becomes(TaskState.RUNNING, first)
    task = world.cluster.task(first)
    assert task is not None
    world.cluster.kill([task], world.now)
    world.cluster.look_at([WEB])
    world.settle()
    assert world.kills == [first]
    assert world.last != first


def test_a_kill_that_was_not_heard_is_sent_again(world: World) -> None:
    world.put(ip_app())
    world.becomes(TaskState.RUNNING, world.last)
    world.change(Change(AppId("/shop"), GroupChange(removed_apps={WEB})))
    world.pass_time(1.0)
    assert len(world.kills) == 1
    world.pass_time(1.1)
    assert len(world.kills) == 2


def test_a_task_that_its_agent_no_longer_knows_is_lost(world: World) -> None:
    world.put(ip_app())
    del world.records[world.last]
    world.report()
    assert world.events[-2:] == ["instance_changed", "status_update TASK_LOST"]


def test_a_report_from_before_the_launch_proves_nothing(world: World) -> None:
    world.put(ip_app())
    stale = TaskReport("host-1-S0", world.revision - 1, ())
    world.cluster.reported(HOSTS[0], stale, world.now)
    assert world.cluster.task(world.last) is not None


def test_a_running_task_that_nobody_wants_is_ended(world: World) -> None:
    record = TaskRecord(TaskId("old.1"), "fw-1", TaskState.RUNNING)
    stranger = TaskRecord(TaskId("other.1"), "fw-2", TaskState.RUNNING)
    world.cluster.reported(HOSTS[0], TaskReport("S0", 9, (record, stranger)), world.now)
    world.settle()
    assert world.kills == ["old.1"]


def test_an_app_under_deployment_is_locked_unless_forced(world: World) -> None:
    world.put(ip_app())
    with pytest.raises(ApiError) as refusal:
        world.put(ip_app(labels={"a": "b"}))
    assert refusal.value.status == 409
    assert refusal.value.body["deployments"] == [
        {"id": deployment} for deployment in world.cluster.state.deployments
    ]
    world.put(ip_app(labels={"a": "b"}), force=True)
    assert "deployment_failed" in world.events


def test_a_restarted_marathon_takes_up_its_tasks(world: World) -> None:
    world.put(ip_app(instances=2))
    first, second = (order.task_id for order in world.orders)
    world.becomes(TaskState.RUNNING, first, second)
    again = World(state=world.cluster.state)
    again.records = world.records
    again.report()
    assert again.orders == []
    assert {task.id for task in again.cluster.tasks()} == {first, second}


def test_versions_grow_even_when_the_clock_does_not(world: World) -> None:
    version = world.put(ip_app())["version"]
    world.now -= 3600
    assert world.put(ip_app(instances=2), force=True)["version"] > version


def test_a_groups_lists_replace_what_was_in_it(world: World) -> None:
    state = world.cluster.state
    body = {"apps": [ip_app("web"), ip_app("db")], "groups": [{"id": "sub", "apps": []}]}
    world.change(Change(AppId("/shop"), parse_group(body, AppId("/shop"), state, Era(1, 4))))
    world.put(ip_app("/other"))
    change = parse_group({"apps": [ip_app("web")]}, AppId("/shop"), state, Era(1, 4))
    assert change.removed_apps == {"/shop/db"}
    assert change.removed_groups == set()
    assert list(change.definitions) == ["/shop/web"]
    assert parse_group({"groups": []}, AppId("/shop"), state, Era(1, 4)).removed_groups == {
        "/shop/sub"
    }
    assert remove_group(AppId("/shop"), state).removed_apps == {"/shop/db", "/shop/web"}


def test_a_group_is_scaled_as_a_whole(world: World) -> None:
    world.put(ip_app("/shop/web", instances=2), ip_app("/shop/db", instances=3))
    change = parse_group({"scaleBy": 1.5}, AppId("/shop"), world.cluster.state, Era(1, 4))
    assert {app: d["instances"] for app, d in change.definitions.items()} == {
        "/shop/web": 3,
        "/shop/db": 5,
    }


def test_a_task_is_told_who_and_where_it_is(world: World) -> None:
    world.put(
        host_app(
            cmd="star-probe --port $PORT_HTTP",
            env={"MODE": "x", "SECRET": {"secret": "s"}},
            labels={"a-b": "c"},
            portDefinitions=[{"port": 0, "name": "http"}],
        )
    )
    order = world.orders[-1]
    task = world.cluster.task(order.task_id)
    assert task is not None
    port = str(task.ports[0])
    wanted = {
        "MESOS_TASK_ID": order.task_id,
        "MARATHON_APP_ID": "/plain",
        "MARATHON_APP_VERSION": task.version,
        "MARATHON_APP_LABELS": "A_B",
        "MARATHON_APP_LABEL_A_B": "c",
        "HOST": "host-1",
        "PORT": port,
        "PORT0": port,
        "PORTS": port,
        "PORT_HTTP": port,
        "PORT_10000": port,
        "MODE": "x",
    }
    assert {key: order.env.get(key) for key in wanted} == wanted
    assert "SECRET" not in order.env
    assert order.argv[-1] == port


def test_a_task_that_nobody_wants_is_ended_and_its_end_is_told_once(world: World) -> None:
    stranger = TaskId("old_app.2f8a1c44-5b1e-11e6-8d2b-0242ac110002")
    record = TaskRecord(stranger, "fw-1", TaskState.RUNNING)
    world.records[stranger] = (HOSTS[0], record)
    world.report()
    assert world.kills == [stranger]
    world.becomes(TaskState.KILLED, stranger)
    world.report()
    assert world.events.count("unknown_instance_terminated") == 1
