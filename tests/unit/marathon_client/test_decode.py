"""Apps and tasks from the JSON of every era."""

import copy
import json
from pathlib import Path
from typing import Any

import netaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marathon_client.decode import (
    parse_app,
    parse_app_reply,
    parse_apps,
    parse_info,
    parse_leader,
    parse_message,
)
from marathon_client.errors import InvalidApp
from marathon_client.models import (
    App,
    AppNetwork,
    NetworkForm,
    NetworkMode,
    PortOpening,
    TaskState,
    parse_state,
)

FIXTURES = Path(__file__).parent / "fixtures"
LISTS = [
    "apps-embed-tasks-1.x.json",
    "apps-embed-tasks-bridge-1.5.json",
    "apps-healthchecks-0.x.json",
]
APPS = ["app-ipaddress-0.14.json", "app-ipaddress-1.4.json", "app-container-docker-1.5.json"]

OLD_APP: dict[str, Any] = {
    "id": "/shop/web",
    "version": "2016-08-05T12:30:00.000Z",
    "versionInfo": {"lastConfigChangeAt": "2016-08-05T12:00:01.250Z"},
    "instances": 2,
    "labels": {"team": "shop"},
    "ipAddress": {
        "groups": ["web", "shop"],
        "labels": {"tier": "front"},
        "networkName": "net1",
        "discovery": {"ports": [{"number": 8080, "name": "http", "protocol": "tcp"}]},
    },
    "tasks": [
        {
            "id": "shop_web.2f8a1c44-5b1e-11e6-8d2b-0242ac110002",
            "appId": "/shop/web",
            "host": "agent3.example.net",
            "slaveId": "6f1c2c1e-S3",
            "state": "TASK_RUNNING",
            "ports": [],
            "ipAddresses": [{"ipAddress": "192.168.40.17", "protocol": "IPv4"}],
            "stagedAt": "2016-08-05T12:00:02.000Z",
            "startedAt": "2016-08-05T12:00:09.113Z",
            "version": "2016-08-05T12:00:01.250Z",
        }
    ],
}
NEW_APP: dict[str, Any] = {
    "id": "/shop/web",
    "version": "2018-08-05T12:00:00.000Z",
    "networks": [{"mode": "container", "name": "calico", "labels": {"groups": " web, ,shop "}}],
    "container": {"type": "MESOS", "portMappings": [{"containerPort": 8080, "name": "http"}]},
    "tasks": [],
}


def parsed(app: dict[str, Any]) -> App:
    return parse_app(json.dumps(app).encode())


def network(app: dict[str, Any]) -> AppNetwork:
    return parsed(app).networks[0]


def with_mappings(*mappings: dict[str, Any]) -> dict[str, Any]:
    return NEW_APP | {"container": {"portMappings": list(mappings)}}


def test_an_app_of_the_old_form_is_read_whole() -> None:
    app = parsed(OLD_APP)
    assert app.id == "/shop/web"
    assert app.instances == 2
    assert app.label("team") == "shop"
    assert app.label("other") is None
    assert app.networks == (
        AppNetwork(
            mode=NetworkMode.CONTAINER,
            name="net1",
            groups=("web", "shop"),
            labels=(("tier", "front"),),
            ports=(PortOpening(8080, "tcp", "http"),),
            form=NetworkForm.IP_ADDRESS,
        ),
    )


def test_a_task_is_read_whole() -> None:
    (task,) = parsed(OLD_APP).tasks
    assert task.id == "shop_web.2f8a1c44-5b1e-11e6-8d2b-0242ac110002"
    assert task.app_id == "/shop/web"
    assert task.host == "agent3.example.net"
    assert task.state is TaskState.RUNNING
    assert task.addresses == (netaddr.IPAddress("192.168.40.17"),)
    assert task.version == "2016-08-05T12:00:01.250Z"
    assert task.staged_at == "2016-08-05T12:00:02.000Z"
    assert task.started_at == "2016-08-05T12:00:09.113Z"
    assert task.agent_id == "6f1c2c1e-S3"


def test_a_mere_scale_keeps_the_config_version() -> None:
    assert parsed(OLD_APP).version == "2016-08-05T12:30:00.000Z"
    assert parsed(OLD_APP).config_version == "2016-08-05T12:00:01.250Z"


def test_without_version_info_the_version_stands_for_the_config() -> None:
    app = parsed(NEW_APP)
    assert app.config_version == app.version == "2018-08-05T12:00:00.000Z"


def test_groups_of_the_new_form_come_from_a_network_label_without_blanks() -> None:
    found = network(NEW_APP)
    assert found.groups == ("web", "shop")
    assert found.form is NetworkForm.NETWORKS
    assert found.label("groups") == " web, ,shop "


def test_each_of_several_container_networks_has_its_own_ports_and_groups() -> None:
    app = with_mappings(
        {"containerPort": 80, "networkNames": ["second"]},
        {"containerPort": 81, "networkNames": ["first"]},
        {"containerPort": 82, "networkNames": []},
    )
    app["networks"] = [
        {"name": "first", "labels": {"groups": "one"}},
        {"name": "second", "mode": "container", "labels": {"groups": "two"}},
    ]
    found = [
        (each.name, each.groups, [port.number for port in each.ports])
        for each in parsed(app).networks
    ]
    assert found == [("first", ("one",), [81, 82]), ("second", ("two",), [80, 82])]


@pytest.mark.parametrize(
    ("change", "mode"),
    [
        pytest.param({"networks": [{"mode": "host"}]}, None, id="networks: host"),
        pytest.param(
            {"networks": [{"mode": "container/bridge"}]}, NetworkMode.BRIDGE, id="networks: bridge"
        ),
        pytest.param(
            {"networks": [{"mode": "container", "name": "n"}]},
            NetworkMode.CONTAINER,
            id="networks: container",
        ),
        pytest.param({"networks": [], "ipAddress": {}}, NetworkMode.CONTAINER, id="bare ipAddress"),
        pytest.param({"networks": None, "ipAddress": None}, None, id="null is absent"),
        pytest.param({}, None, id="nothing declared"),
        pytest.param(
            {"container": {"docker": {"network": "USER"}}, "ipAddress": {}},
            NetworkMode.CONTAINER,
            id="docker USER",
        ),
        pytest.param(
            {"container": {"docker": {"network": "BRIDGE"}}, "ipAddress": {}},
            NetworkMode.BRIDGE,
            id="docker BRIDGE overrides ipAddress",
        ),
        pytest.param(
            {"container": {"docker": {"network": "HOST"}}, "ipAddress": {}},
            None,
            id="docker HOST overrides ipAddress",
        ),
        pytest.param(
            {"container": {"docker": {"network": "NONE"}}, "ipAddress": {}},
            NetworkMode.CONTAINER,
            id="docker NONE leaves the network to ipAddress",
        ),
        pytest.param(
            {"container": {"docker": {"network": "NONE"}}}, None, id="docker NONE and no ipAddress"
        ),
        pytest.param(
            {"container": {"docker": {"image": "i"}}, "ipAddress": {}},
            NetworkMode.CONTAINER,
            id="docker without a network",
        ),
    ],
)
def test_the_mode_follows_marathons_own_order(
    change: dict[str, Any], mode: NetworkMode | None
) -> None:
    found = [each.mode for each in parsed({"id": "/a"} | change).networks]
    assert found == ([] if mode is None else [mode])


@pytest.mark.parametrize("number", [0, 70000, -1, 2**70])
def test_an_impossible_port_survives_so_that_somebody_can_give_a_reason(number: int) -> None:
    app = {"id": "/a", "ipAddress": {"discovery": {"ports": [{"number": number, "name": "p"}]}}}
    assert network(app).ports == (PortOpening(number, "tcp", "p"),)


def test_udp_and_tcp_in_one_mapping_are_two_openings() -> None:
    ports = network(with_mappings({"containerPort": 53, "protocol": "udp,tcp", "name": "d"})).ports
    assert ports == (PortOpening(53, "udp", "d"), PortOpening(53, "tcp", "d"))


@pytest.mark.parametrize(
    ("mappings", "expected"),
    [
        pytest.param([{"containerPort": 0, "name": "default"}], [], id="the default mapping"),
        pytest.param([], [], id="really none"),
        pytest.param([{"containerPort": 0, "name": "own"}], [(0, 0)], id="a lone one with a name"),
        pytest.param(
            [{"containerPort": 0, "name": "default"}, {"containerPort": 81}],
            [(0, 0), (81, None)],
            id="the default is not alone",
        ),
        pytest.param(
            [
                {"containerPort": 80},
                {"containerPort": 81, "hostPort": 0},
                {"containerPort": 0, "hostPort": 0},
            ],
            [(80, None), (81, None), (0, 1)],
            id="task ports line up with mappings that ask for a host port",
        ),
        pytest.param(
            [{"containerPort": 0}, {"containerPort": 0, "hostPort": 0}],
            [(0, None), (0, 0)],
            id="a port that only the task knows",
        ),
    ],
)
def test_container_port_zero_points_at_the_tasks_own_port(
    mappings: list[dict[str, Any]], expected: list[tuple[int, int | None]]
) -> None:
    ports = network(with_mappings(*mappings)).ports
    assert [(port.number, port.task_port_index) for port in ports] == expected


@pytest.mark.parametrize(
    ("task", "state"),
    [
        pytest.param({"startedAt": "2016-01-01T00:00:00.000Z"}, TaskState.RUNNING, id="started"),
        pytest.param({"startedAt": None}, TaskState.STAGING, id="not started"),
        pytest.param({"state": "TASK_KILLING"}, TaskState.KILLING, id="told"),
        pytest.param({"state": "TASK_NEW_IN_2030"}, TaskState.UNKNOWN, id="not known yet"),
    ],
)
def test_a_task_without_state_runs_once_it_has_started(
    task: dict[str, Any], state: TaskState
) -> None:
    (found,) = parsed({"id": "/a", "tasks": [{"id": "a.1", **task}]}).tasks
    assert found.state is state
    assert found.app_id == "/a"


def test_only_states_without_return_are_terminal() -> None:
    terminal = {state.name for state in TaskState if state.is_terminal}
    assert terminal == {
        "FINISHED", "FAILED", "KILLED", "ERROR", "DROPPED", "GONE", "GONE_BY_OPERATOR",
    }  # fmt: skip
    assert parse_state("TASK_LOST") is TaskState.LOST


def test_addresses_keep_their_order_and_lose_a_prefix_length() -> None:
    addresses = [{"ipAddress": "fd00::7/64"}, {"ipAddress": None}, {"ipAddress": "10.0.0.7"}]
    (task,) = parsed({"id": "/a", "tasks": [{"id": "a.1", "ipAddresses": addresses}]}).tasks
    assert task.addresses == (netaddr.IPAddress("fd00::7"), netaddr.IPAddress("10.0.0.7"))


@pytest.mark.parametrize(
    ("broken", "app_id"),
    [
        pytest.param({"id": "/b", "tasks": [{"id": "b.1", "host": 5}]}, "/b", id="wrong type"),
        pytest.param({"id": "/b", "tasks": [{"host": "h"}]}, "/b", id="task without id"),
        pytest.param(
            {"id": "/b", "tasks": [{"id": "b.1", "ipAddresses": [{"ipAddress": "nonsense"}]}]},
            "/b",
            id="malformed address",
        ),
        pytest.param({"id": "/b", "networks": [{"mode": "quantum"}]}, "/b", id="unknown mode"),
        pytest.param(
            {"id": "/b", "ipAddress": {"discovery": {"ports": [{"name": "x"}]}}},
            "/b",
            id="port without number",
        ),
        pytest.param({"id": ""}, None, id="empty id"),
        pytest.param({}, None, id="no id"),
        pytest.param({"id": 7}, None, id="id of a wrong type"),
        pytest.param(None, None, id="null"),
        pytest.param([], None, id="a list"),
    ],
)
def test_one_malformed_app_spoils_no_other_and_stays_known(
    broken: object, app_id: str | None
) -> None:
    apps, problems = parse_apps(json.dumps({"apps": [OLD_APP, broken, NEW_APP]}).encode())
    assert len(apps) == 2
    (problem,) = problems
    assert problem.app_id == app_id
    assert problem.reason.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(rb"\ud800", id="half a surrogate pair"),
        pytest.param(b"\xff", id="no UTF-8"),
    ],
)
def test_text_that_is_no_text_spoils_no_other_app(text: bytes) -> None:
    body = (
        b'{"apps":[{"id":"/a","tasks":[]},{"id":"/b","tasks":[],"labels":{"x":"%s"}},'
        b'{"id":"/c","tasks":[]}]}' % text
    )
    apps, problems = parse_apps(body)
    known = {app.id for app in apps} | {problem.app_id for problem in problems}
    assert {app.id for app in apps} >= {"/a", "/c"}
    assert known == {"/a", "/b", "/c"}


def test_an_app_listed_without_its_tasks_is_not_one_that_has_none() -> None:
    apps, (problem,) = parse_apps(b'{"apps":[{"id":"/a","tasks":[]},{"id":"/b"}]}')
    assert [app.id for app in apps] == ["/a"]
    assert problem.app_id == "/b"


@pytest.mark.parametrize("name", LISTS)
def test_upstream_lists_are_read_without_a_problem(name: str) -> None:
    apps, problems = parse_apps((FIXTURES / name).read_bytes())
    assert apps
    assert not problems
    assert all(app.tasks for app in apps)


@pytest.mark.parametrize("name", APPS)
def test_upstream_apps_are_read_with_their_network(name: str) -> None:
    app = parse_app_reply((FIXTURES / name).read_bytes())
    (found,) = app.networks
    assert [port.number for port in found.ports] == [8080]


@pytest.mark.parametrize("name", ["tasks-0.14.json", "tasks-1.9.json"])
def test_upstream_tasks_are_read(name: str) -> None:
    tasks = json.loads((FIXTURES / name).read_bytes())["tasks"]
    app = parsed({"id": "/a", "tasks": tasks})
    assert [task.id for task in app.tasks] == [task["id"] for task in tasks]
    assert all(task.state is TaskState.RUNNING for task in app.tasks)


def test_the_small_replies_are_read() -> None:
    info = parse_info((FIXTURES / "info-1.9.json").read_bytes())
    assert info.version == "1.5.0-SNAPSHOT"
    assert info.framework_id
    assert parse_leader(b'{"leader":"m1:8080"}') == "m1:8080"
    assert parse_message(b'{"message":"no"}') == "no"
    assert parse_message(b"<html>") is None


def _paths(value: object, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        keys: list[Any] = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    else:
        return []
    deeper = [path for key in keys for path in _paths(value[key], (*above, key))]
    return deeper + [(*above, key) for key in keys if isinstance(value, dict)]


def _without(value: Any, path: tuple[Any, ...]) -> None:
    *above, last = path
    for key in above:
        if not isinstance(value, dict | list) or (isinstance(value, dict) and key not in value):
            return
        value = value[key]
    if isinstance(value, dict):
        value.pop(last, None)


@given(st.data())
def test_random_missing_keys_never_lose_an_app(data: st.DataObject) -> None:
    reply = json.loads((FIXTURES / data.draw(st.sampled_from(LISTS))).read_bytes())
    reply = {"apps": [OLD_APP, NEW_APP, *reply["apps"]]}
    reply = copy.deepcopy(reply)
    paths = [path for path in _paths(reply) if len(path) > 1]
    for path in data.draw(st.lists(st.sampled_from(paths), max_size=8)):
        _without(reply, path)
    apps, problems = parse_apps(json.dumps(reply).encode())
    assert len(apps) + len(problems) == len(reply["apps"])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(OLD_APP)), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_random_json_is_an_app_or_a_problem(value: object) -> None:
    apps, problems = parse_apps(json.dumps({"apps": [value]}).encode())
    assert len(apps) + len(problems) == 1


@given(st.dictionaries(st.sampled_from(list(OLD_APP)), JSON))
def test_random_values_in_known_fields_are_an_app_or_invalid(fields: dict[str, Any]) -> None:
    try:
        assert parsed(OLD_APP | fields).id
    except InvalidApp:
        return
