"""How many tasks start and end, where, and in which steps."""

import pytest

from demo.marathon.core.plan import AppPlan, eligible_hosts, is_settled, plan_app, plan_steps
from demo.marathon.core.state import ActionKind, App, Task
from demo.marathon.definitions.apps import parse_app
from demo.marathon.era import Era
from demo.mesos.records import AppId, HostName, TaskId, TaskState
from tests.unit.demo.apps import ip_app

V1, V2 = "2016-01-01T00:00:00.000Z", "2016-01-02T00:00:00.000Z"
HOSTS = [HostName("host-1"), HostName("host-2")]


def app(instances: int = 1, changed: str = V1, **fields: object) -> App:
    """An app whose configuration is as of `changed`."""
    definition = parse_app(ip_app(instances=instances, **fields), "/", Era(1, 4))
    return App(AppId("/shop/web"), definition, changed, changed, changed)


def task(name: str, version: str = V1, running: bool = True, killing: bool = False) -> Task:
    """A task; its name also says how old it is."""
    return Task(
        TaskId(name),
        AppId("/shop/web"),
        HOSTS[0],
        version,
        staged_at=name,
        state=TaskState.RUNNING if running else TaskState.STAGING,
        killing=killing,
    )


@pytest.mark.parametrize(
    ("wanted", "tasks", "plan"),
    [
        pytest.param(app(2), [], AppPlan(2), id="nothing runs yet"),
        pytest.param(app(2), [task("1"), task("2")], AppPlan(), id="as it should be"),
        pytest.param(app(1), [task("1"), task("2")], AppPlan(0, (TaskId("2"),)), id="scaled down"),
        pytest.param(app(0), [task("1", killing=True)], AppPlan(), id="already ending"),
        pytest.param(app(1), [task("1", killing=True)], AppPlan(1), id="killed, to be replaced"),
        pytest.param(app(1, V2), [task("1")], AppPlan(1), id="the new one first"),
        pytest.param(
            app(1, V2),
            [task("1"), task("2", V2, running=False)],
            AppPlan(),
            id="the old one stays while the new one only stages",
        ),
        pytest.param(
            app(1, V2),
            [task("1"), task("2", V2)],
            AppPlan(0, (TaskId("1"),)),
            id="the old one ends once the new one runs",
        ),
        pytest.param(
            app(1, V2),
            [task("1", running=False)],
            AppPlan(1, (TaskId("1"),)),
            id="an old one that never ran is no loss",
        ),
        pytest.param(
            app(
                2,
                V2,
                upgradeStrategy={"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0},
            ),
            [task("1"), task("2")],
            AppPlan(0, (TaskId("1"),)),
            id="no room for a third: one goes first",
        ),
        pytest.param(
            app(1, V2, upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 0}),
            [task("1")],
            AppPlan(1),
            id="neither more nor fewer: one more after all",
        ),
    ],
)
def test_what_an_app_lacks(wanted: App, tasks: list[Task], plan: AppPlan) -> None:
    assert plan_app(wanted, tasks) == plan


def test_an_app_is_settled_only_when_all_old_tasks_are_gone() -> None:
    wanted = app(1, V2)
    assert is_settled(wanted, [task("2", V2)])
    assert not is_settled(wanted, [task("2", V2), task("1", killing=True)])
    assert not is_settled(wanted, [task("1")])
    assert not is_settled(wanted, [task("2", V2, running=False)])


@pytest.mark.parametrize(
    ("constraint", "hosts"),
    [
        pytest.param(["hostname", "UNIQUE"], ["host-2"], id="one on each host"),
        pytest.param(["hostname", "CLUSTER", "host-1"], ["host-1"], id="this host"),
        pytest.param(["hostname", "LIKE", "host-[2-9]"], ["host-2"], id="hosts like these"),
        pytest.param(["hostname", "UNLIKE", "host-2"], ["host-1"], id="any but these"),
        pytest.param(["hostname", "MAX_PER", "1"], ["host-2"], id="so many on each"),
        pytest.param(["rack", "GROUP_BY"], ["host-1", "host-2"], id="no such attribute"),
    ],
)
def test_constraints_on_the_host_are_honoured(constraint: list[str], hosts: list[str]) -> None:
    wanted = app(2, constraints=[constraint])
    assert eligible_hosts(wanted, [task("1")], HOSTS) == tuple(hosts)


def test_removals_come_first_then_starts_then_the_rest() -> None:
    before = {name: app() for name in (AppId("/a"), AppId("/b"), AppId("/c"))}
    other = parse_app(ip_app(labels={"x": "y"}), "/", Era(1, 4))
    wider = {**before[AppId("/c")].definition, "instances": 3}
    steps = plan_steps(
        before,
        {AppId("/b"): other, AppId("/c"): wider, AppId("/d"): other},
        {AppId("/a")},
    )
    assert [[(action.kind, action.app_id) for action in step] for step in steps] == [
        [(ActionKind.STOP, "/a")],
        [(ActionKind.START, "/d")],
        [
            (ActionKind.RESTART, "/b"),
            (ActionKind.SCALE, "/c"),
            (ActionKind.SCALE, "/d"),
        ],
    ]


def test_the_same_definition_again_is_no_step() -> None:
    present = app()
    assert plan_steps({present.id: present}, {present.id: present.definition}, ()) == ()
