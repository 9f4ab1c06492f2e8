"""How Marathon is asked to run controller and agents, and by which names they are found."""

import shlex

import pytest

from demo.embedded.hosts import plan_hosts
from demo.embedded.launcher import Options, launch_background
from demo.embedded.locked import LaunchError
from demo.embedded.processes import MESOS_PORTS
from demo.embedded.product.apps import render_apps
from demo.embedded.product.names import explain, name_task, parse_name
from demo.marathon.core.plan import AppPlan, eligible_hosts, plan_app
from demo.marathon.core.state import App, Task
from demo.marathon.definitions.apps import parse_app
from demo.marathon.definitions.commands import own_programs
from demo.marathon.definitions.ports import host_ports, requested_ports
from demo.marathon.era import Era
from demo.mesos.records import AppId, HostName, Json, TaskId, TaskState
from demo.mesos.resources import parse_resources

ERAS = [Era(0, 14), Era(1, 4), Era(1, 9)]
OLD, NEW = "2016-01-01T00:00:00.000Z", "2016-01-02T00:00:00.000Z"


def apps(
    era: Era, hosts: int = 2, arguments: dict[str, tuple[str, ...]] | None = None
) -> dict[str, Json]:
    """Our apps as this Marathon keeps them."""
    rendered = render_apps(plan_hosts(hosts), era, arguments or {})
    return {app["id"].rpartition("/")[2]: parse_app(app, "/", era) for app in rendered}


@pytest.mark.parametrize("era", ERAS, ids=str)
def test_every_marathon_takes_our_apps_and_gives_each_its_port(era: Era) -> None:
    offered = parse_resources(f"ports:[{','.join(MESOS_PORTS)}]")
    for name, port in (("controller", 9401), ("agent", 9402)):
        app = apps(era)[name]
        program = own_programs(app)
        assert program.argv[0].endswith("/marathon-calico")
        assert program.argv[1:] == (name,)
        assert host_ports(requested_ports(app), offered, set(), 0) == (port,)
        assert host_ports(requested_ports(app), offered, {port}, 0) is None
        assert app["healthChecks"][0]["path"] == "/healthz"


@pytest.mark.parametrize(
    ("hosts", "controllers"),
    [pytest.param(1, 1, id="one host"), pytest.param(3, 2, id="three hosts")],
)
def test_there_is_an_agent_for_each_host_and_no_controller_without_one(
    hosts: int, controllers: int
) -> None:
    found = {name: app["instances"] for name, app in apps(Era(1, 4), hosts).items()}
    assert found == {"controller": controllers, "agent": hosts}


def test_arguments_go_to_all_tasks_of_an_app() -> None:
    found = apps(Era(1, 4), arguments={"agent": ("--locator", "none")})
    assert shlex.split(found["agent"]["cmd"]) == ["marathon-calico", "agent", "--locator", "none"]
    assert shlex.split(found["controller"]["cmd"]) == ["marathon-calico", "controller"]


@pytest.mark.parametrize("hosts", [1, 2, 3])
@pytest.mark.parametrize("name", ["controller", "agent"])
def test_an_upgrade_ends_one_task_first_and_starts_the_next_where_it_was(
    name: str, hosts: int
) -> None:
    definition = apps(Era(1, 4), hosts)[name]
    app = App(AppId(definition["id"]), definition, NEW, NEW, NEW)
    names = [HostName(f"host-{number + 1}") for number in range(hosts)]
    old = [
        Task(TaskId(f"t.{host}"), app.id, host, OLD, staged_at=host, state=TaskState.RUNNING)
        for host in names[: app.instances]
    ]

    assert plan_app(app, old) == AppPlan(0, (old[0].id,))
    # Its port is its own until it has ended.
    assert names[0] not in eligible_hosts(app, old, names)
    assert plan_app(app, old[1:]).launches == 1
    assert names[0] in eligible_hosts(app, old[1:], names)


@pytest.mark.parametrize(
    ("name", "app_id", "host"),
    [
        pytest.param("agent-host-1", "/marathon-calico/agent", "host-1", id="an agent"),
        pytest.param(
            "controller-host-12", "/marathon-calico/controller", "host-12", id="one of 12"
        ),
        pytest.param("controller", "/marathon-calico/controller", None, id="all of an app"),
    ],
)
def test_our_tasks_have_the_names_that_processes_would_have(
    name: str, app_id: str, host: str | None
) -> None:
    task = parse_name(name)
    assert task is not None
    assert (task.app_id, task.host) == (app_id, host)
    assert host is None or name_task(app_id, host) == name
    assert "--supervised" in explain(task)


@pytest.mark.parametrize("name", ["etcd", "mesos-host-1", "agents", "controller-master"])
def test_other_names_are_not_ours(name: str) -> None:
    assert parse_name(name) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(Options(without=["controller"]), "--without controller", id="no controller"),
        pytest.param(Options(without=["agent-host-1"]), "--without agent-host-1", id="no agent"),
        pytest.param(Options(without=["marathon"]), "--without marathon", id="no Marathon"),
        pytest.param(
            Options(arguments={"agent-host-1": ["--host-ports", "53"]}),
            "agent=... gives them to all",
            id="arguments for one agent",
        ),
    ],
)
def test_what_only_a_supervised_cluster_can_do_is_refused_with_the_flag(
    options: Options, words: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(LaunchError, match="--supervised") as refused:
        launch_background(tmp_path_factory.mktemp("cluster"), options)
    assert words in str(refused.value)
