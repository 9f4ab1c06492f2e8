"""One app as each Marathon from 0.14 to 1.10 shows it: what differs, and what is read."""

import json
from typing import Any

import pytest

from marathon_client.decode import parse_app
from marathon_client.events import TaskStatus, parse_event
from marathon_client.models import App, NetworkForm, NetworkMode, TaskState

ERAS = ("0.14", "0.15", "1.1", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "1.10")
OLD = ERAS[: ERAS.index("1.5")]
NEW = ERAS[ERAS.index("1.5") :]
#: What the task of the app is in, and since which era that is told.
STARTED = {"stagedAt": "2016-08-05T12:00:02.000Z", "startedAt": "2016-08-05T12:00:09.113Z"}


def at_least(era: str, first: str) -> bool:
    return ERAS.index(era) >= ERAS.index(first)


def task_of(era: str, addresses: list[str] | None) -> dict[str, Any]:
    """A running task; without addresses, an era shows an empty list or no key."""
    task: dict[str, Any] = {
        "id": "shop_web.2f8a1c44-5b1e-11e6-8d2b-0242ac110002",
        "appId": "/shop/web",
        "host": "agent3.example.net",
        "slaveId": "6f1c2c1e-S3",
        "ports": [],
        "version": "2016-08-05T12:00:01.250Z",
        **STARTED,
    }
    if addresses is not None:
        protocol = "protocol"
        task["ipAddresses"] = [
            {"ipAddress": each, protocol: "IPv6" if ":" in each else "IPv4"} for each in addresses
        ]
    if at_least(era, "1.1"):
        task["state"] = "TASK_RUNNING"
    if at_least(era, "1.6"):
        task |= {"region": "r", "zone": "z", "localVolumes": []}
    if at_least(era, "1.9"):
        task["role"] = "*"
    return task


def app_of(era: str, *, named: bool = False, task: dict[str, Any] | None = None) -> dict[str, Any]:
    """An app in groups web and shop with port 8080, as the era replies."""
    tasks = [task_of(era, ["192.168.40.17"]) if task is None else task]
    app: dict[str, Any] = {
        "id": "/shop/web",
        "version": "2016-08-05T12:00:01.250Z",
        "tasks": tasks,
    }
    if era in OLD:
        port: dict[str, Any] = {"number": 8080, "name": "http", "protocol": "tcp"}
        if at_least(era, "1.1"):
            port["labels"] = {"VIP_0": "/web:80"}
        app["ipAddress"] = {
            "groups": ["web", "shop"],
            "labels": {"tier": "front"},
            "discovery": {"ports": [port]},
        }
        if named and at_least(era, "1.3"):
            app["ipAddress"]["networkName"] = "calico"
        return app | {"ports": [] if era == "0.14" else None, "container": None}
    app["networks"] = [
        {"mode": "container", "name": "calico", "labels": {"groups": "web,shop", "tier": "front"}}
    ]
    app["container"] = {
        "type": "MESOS",
        "portMappings": [
            {
                "containerPort": 8080,
                "hostPort": None,
                "labels": {"VIP_0": "/web:80"},
                "name": "http",
                "protocol": "tcp",
                "servicePort": 10001,
            }
        ],
    }
    return app


def parsed(app: dict[str, Any]) -> App:
    return parse_app(json.dumps(app).encode(), with_tasks=True)


@pytest.mark.parametrize("era", ERAS)
def test_groups_ports_and_labels_are_the_same_in_every_era(era: str) -> None:
    (network,) = parsed(app_of(era)).networks
    assert network.mode is NetworkMode.CONTAINER
    assert network.form is (NetworkForm.IP_ADDRESS if era in OLD else NetworkForm.NETWORKS)
    assert network.groups == ("web", "shop")
    assert network.label("tier") == "front"
    assert [(port.number, port.protocol, port.name) for port in network.ports] == [
        (8080, "tcp", "http")
    ]


@pytest.mark.parametrize(
    ("era", "name"),
    [
        *(pytest.param(era, None, id=f"{era} knows no name") for era in ("0.14", "0.15", "1.1")),
        *(pytest.param(era, "calico", id=era) for era in ERAS[ERAS.index("1.3") :]),
    ],
)
def test_a_network_has_a_name_since_1_3(era: str, name: str | None) -> None:
    assert [each.name for each in parsed(app_of(era, named=True)).networks] == [name]


@pytest.mark.parametrize("era", ERAS)
def test_the_task_runs_and_has_its_address_in_every_era(era: str) -> None:
    (task,) = parsed(app_of(era)).tasks
    assert task.state is TaskState.RUNNING
    assert list(map(str, task.addresses)) == ["192.168.40.17"]
    assert task.host == "agent3.example.net"


@pytest.mark.parametrize(
    ("era", "addresses"),
    [
        pytest.param("0.14", [], id="0.14: an empty list"),
        pytest.param("0.15", [], id="0.15: an empty list, also when one was assigned"),
        pytest.param("1.1", None, id="1.1: no key"),
        pytest.param("1.3", None, id="1.3: no key"),
        pytest.param("1.4", None, id="1.4: no key"),
        pytest.param("1.5", None, id="1.5: no key"),
        pytest.param("1.5", [], id="1.5: an empty list"),
        pytest.param("1.9", [], id="1.9: an empty list"),
    ],
)
def test_a_task_without_an_address_runs_and_has_none(era: str, addresses: list[str] | None) -> None:
    (task,) = parsed(app_of(era, task=task_of(era, addresses))).tasks
    assert (task.state, task.addresses) == (TaskState.RUNNING, ())


@pytest.mark.parametrize(
    ("era", "addresses"),
    [
        pytest.param("0.14", [], id="0.14: an empty list"),
        pytest.param("1.1", None, id="1.1: no key"),
        pytest.param("1.3", None, id="1.3: no key"),
        pytest.param("1.4", [], id="1.4: an empty list"),
        pytest.param("1.9", [], id="1.9: an empty list"),
        pytest.param("1.4", [{"ipAddress": "192.168.40.17", "protocol": "IPv4"}], id="1.4: one"),
    ],
)
def test_a_status_event_is_read_with_or_without_addresses(
    era: str, addresses: list[dict[str, str]] | None
) -> None:
    body: dict[str, Any] = {
        "slaveId": "6f1c2c1e-S3" if era != "1.9" else "",
        "taskId": "shop_web.1",
        "taskStatus": "TASK_RUNNING",
        "appId": "/shop/web",
        "host": "agent3",
        "ports": [],
        "eventType": "status_update_event",
    }
    if addresses is not None:
        body["ipAddresses"] = addresses
    event = parse_event("status_update_event", json.dumps(body))
    assert event == TaskStatus("/shop/web", "shop_web.1", TaskState.RUNNING, "agent3")


@pytest.mark.parametrize("era", ["0.14", "0.15"])
def test_before_1_1_a_task_runs_once_it_has_started(era: str) -> None:
    waiting = task_of(era, []) | {"startedAt": None, "host": None, "slaveId": None}
    (task,) = parsed(app_of(era, task=waiting)).tasks
    assert (task.state, task.host) == (TaskState.STAGING, None)


def test_a_reserved_task_of_1_1_lacks_most_of_it() -> None:
    (task,) = parsed(app_of("1.1", task={"id": "shop_web.1", "state": "TASK_STAGING"})).tasks
    assert (task.state, task.host, task.version, task.ports) == (TaskState.STAGING, None, None, ())


@pytest.mark.parametrize("era", NEW)
def test_since_1_5_groups_of_ip_address_are_lost_and_none_are_made_up(era: str) -> None:
    app = app_of(era)
    app["networks"][0]["labels"] = {"tier": "front"}
    assert parsed(app).networks[0].groups == ()


#: What Marathon 1.5 makes of each form of `ipAddress` and `docker.network` that it is given
#: or finds stored: what it then replies.
BECAME = [
    pytest.param(
        {"networks": [{"mode": "container", "name": "calico", "labels": {"tier": "front"}}]},
        [(NetworkMode.CONTAINER, "calico")],
        id="ipAddress with or without a name, no docker.network",
    ),
    pytest.param(
        {"networks": [{"mode": "container/bridge", "labels": {}}]},
        [(NetworkMode.BRIDGE, None)],
        id="ipAddress of the name mesos-bridge",
    ),
    pytest.param(
        {
            "networks": [{"mode": "container", "name": "calico"}],
            "container": {"type": "DOCKER", "docker": {"image": "i"}, "portMappings": []},
        },
        [(NetworkMode.CONTAINER, "calico")],
        id="ipAddress and docker USER",
    ),
    pytest.param(
        {
            "networks": [{"mode": "container/bridge"}],
            "container": {"docker": {"image": "i"}, "portMappings": [{"containerPort": 80}]},
        },
        [(NetworkMode.BRIDGE, None)],
        id="ipAddress and docker BRIDGE",
    ),
    pytest.param({"networks": [{"mode": "host"}]}, [], id="ipAddress and docker HOST"),
    pytest.param(
        {"networks": [{"mode": "host"}], "portDefinitions": [{"port": 0, "name": "default"}]},
        [],
        id="docker.network HOST alone",
    ),
    pytest.param(
        {"networks": [{"name": "calico"}]},
        [(NetworkMode.CONTAINER, "calico")],
        id="a mode that is not told is container",
    ),
]


@pytest.mark.parametrize(("change", "networks"), BECAME)
def test_what_1_5_makes_of_the_old_form_is_read(
    change: dict[str, Any], networks: list[tuple[NetworkMode, str | None]]
) -> None:
    found = parsed({"id": "/shop/web", "tasks": []} | change).networks
    assert [(each.mode, each.name) for each in found] == networks


def test_discovery_ports_became_mappings_without_a_host_port() -> None:
    mappings = [
        {"containerPort": 8080, "hostPort": None, "name": "http", "protocol": "tcp", "labels": {}},
        {"containerPort": 53, "hostPort": None, "name": "dns", "protocol": "udp", "labels": {}},
    ]
    app = app_of("1.5") | {"container": {"type": "MESOS", "portMappings": mappings}}
    (network,) = parsed(app).networks
    assert [(each.number, each.protocol, each.task_port_index) for each in network.ports] == [
        (8080, "tcp", None),
        (53, "udp", None),
    ]


@pytest.mark.parametrize(
    ("app", "ports"),
    [
        pytest.param(
            {"ipAddress": {"discovery": {"ports": [{"number": 80, "protocol": "tcp"}]}}},
            [(80, "tcp", None)],
            id="discovery numbers",
        ),
        pytest.param(
            {
                "ipAddress": {"networkName": "calico", "discovery": {"ports": []}},
                "container": {
                    "docker": {
                        "network": "USER",
                        "portMappings": [{"containerPort": 80, "protocol": "tcp,udp"}],
                    }
                },
            },
            [(80, "tcp", None), (80, "udp", None)],
            id="1.3 and 1.4: docker's own mappings where no discovery is allowed",
        ),
        pytest.param(
            {
                "networks": [{"name": "calico"}],
                "container": {"portMappings": [{"containerPort": 0, "hostPort": 0, "name": "a"}]},
            },
            [(0, "tcp", 0)],
            id="containerPort 0 is the port that the task was given",
        ),
        pytest.param(
            {
                "networks": [{"name": "calico"}],
                "container": {"portMappings": [{"containerPort": 0, "name": "default"}]},
            },
            [],
            id="the lone default mapping declares none",
        ),
        pytest.param(
            {
                "networks": [{"name": "calico"}],
                "container": {"portMappings": [{"containerPort": 8080, "name": "default"}]},
            },
            [(8080, "tcp", None)],
            id="a mapping of that name with a port is one",
        ),
        pytest.param({"networks": [{"name": "calico"}]}, [], id="no container at all"),
    ],
)
def test_the_ports_of_a_task_follow_marathons_own_order(
    app: dict[str, Any], ports: list[tuple[int, str, int | None]]
) -> None:
    (network,) = parsed({"id": "/a", "tasks": []} | app).networks
    assert [(each.number, each.protocol, each.task_port_index) for each in network.ports] == ports


def test_of_several_addresses_the_first_may_be_of_either_family() -> None:
    task = task_of("1.9", ["fd80::17", "192.168.40.17"])
    (found,) = parsed(app_of("1.9", task=task)).tasks
    assert list(map(str, found.addresses)) == ["fd80::17", "192.168.40.17"]


@pytest.mark.parametrize(
    "task_id",
    [
        pytest.param("shop_web.2f8a1c44-5b1e-11e6-8d2b-0242ac110002", id="ordinary, up to 1.7"),
        pytest.param("shop_web.2f8a1c44-5b1e-11e6-8d2b-0242ac110002.3", id="resident, 1.3"),
        pytest.param("shop_web.marathon-2f8a1c44-5b1e-11e6-8d2b-0242ac110002.$anon", id="1.4"),
        pytest.param("shop_web.instance-2f8a1c44-5b1e-11e6-8d2b-0242ac110002._app.1", id="1.8"),
    ],
)
def test_a_task_keeps_its_id_whatever_its_form(task_id: str) -> None:
    (task,) = parsed(app_of("1.9", task={"id": task_id, "state": "TASK_RUNNING"})).tasks
    assert task.id == task_id
