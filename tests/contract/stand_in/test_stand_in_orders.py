"""What Mesos is told about a task's networks, ports and checks, era by era."""

import pytest

from demo.marathon import Era
from demo.mesos.records import CheckKind, HealthCheck, Isolation, Json, LaunchOrder
from tests.contract.stand_in.era_world import ERAS, app_of, marathon_of
from tests.unit.demo.apps import host_app, ip_app

OLD = [era for era in ERAS if not era.uses_networks]
NEW = [era for era in ERAS if era.uses_networks]


def order_of(era: Era, app: Json) -> LaunchOrder:
    """What the agent of the host is asked to start for an app."""
    with marathon_of(era) as marathon:
        marathon.start(app)
        (order,) = marathon.agent.orders.values()
        return order


@pytest.mark.parametrize("era", OLD, ids=str)
def test_up_to_1_4_groups_reach_mesos_in_order(era: Era) -> None:
    address = {"groups": ["web", "", "web"], "labels": {"tier": "front"}, "networkName": "calico"}
    order = order_of(era, ip_app(ipAddress=address))
    wanted: Json = {
        "groups": ["web", "", "web"],
        "labels": {"labels": [{"key": "tier", "value": "front"}]},
        "ip_addresses": [{"protocol": "IPv4"}],
    }
    # Without a name no plugin of that name can be meant: such a network is for
    # the host's net-modules, or for whoever finds the task later.
    assert order.networks == ({**wanted, "name": "calico"} if era.names_networks else wanted,)
    assert order.isolation is Isolation.NAMESPACE


@pytest.mark.parametrize("era", NEW, ids=str)
def test_from_1_5_on_networks_reach_mesos_by_name_and_without_groups(era: Era) -> None:
    networks = [
        {"mode": "container", "name": "calico", "labels": {"groups": "web"}},
        {"mode": "container", "name": "other"},
    ]
    mappings = [
        {"containerPort": 80, "hostPort": 0, "networkNames": ["other"], "protocol": "udp,tcp"},
        {"containerPort": 81},
    ]
    app = host_app(networks=networks, container={"portMappings": mappings})
    with marathon_of(era) as marathon:
        (port,) = marathon.start(app)["ports"]
        (order,) = marathon.agent.orders.values()
    first, second = order.networks
    assert (first["name"], second["name"]) == ("calico", "other")
    assert first["labels"] == {"labels": [{"key": "groups", "value": "web"}]}
    assert "groups" not in first
    assert "port_mappings" not in first
    assert second["port_mappings"] == [
        {"host_port": port, "container_port": 80, "protocol": "udp"},
        {"host_port": port, "container_port": 80, "protocol": "tcp"},
    ]


@pytest.mark.parametrize("era", ERAS, ids=str)
def test_a_task_on_its_hosts_network_has_no_network_info(era: Era) -> None:
    order = order_of(era, host_app())
    assert (order.isolation, order.networks) == (Isolation.HOST, ())


@pytest.mark.parametrize(
    ("network", "isolation", "infos"),
    [
        pytest.param("HOST", Isolation.HOST, 0, id="the host's"),
        pytest.param("BRIDGE", Isolation.NAMESPACE, 0, id="a bridge"),
        pytest.param("NONE", Isolation.NAMESPACE, 0, id="none, to be found by a locator"),
        pytest.param("USER", Isolation.NAMESPACE, 1, id="one of the operator's"),
    ],
)
def test_up_to_1_4_dockers_network_decides_before_an_address(
    network: str, isolation: Isolation, infos: int
) -> None:
    docker = {"type": "DOCKER", "docker": {"image": "nginx", "network": network}}
    app = ip_app(ipAddress={"groups": ["web"], "networkName": "calico"}, container=docker)
    order = order_of(Era(1, 4), app)
    assert (order.isolation, len(order.networks)) == (isolation, infos)


@pytest.mark.parametrize("era", ERAS, ids=str)
def test_mesos_is_told_under_which_ports_a_task_is_found(era: Era) -> None:
    discovery = order_of(era, app_of(era)).discovery
    assert (discovery["visibility"], discovery["name"]) == ("FRAMEWORK", "web.shop")
    (port,) = discovery["ports"]["ports"]
    assert (port["number"], port["name"], port["protocol"]) == (9000, "status", "tcp")
    labels = {
        label["key"]: label["value"] for label in (port.get("labels") or {"labels": []})["labels"]
    }
    wanted = {"tier": "front"} if era.labels_ports else {}
    if era.uses_networks:
        wanted |= {"network-scope": "container", "network-name": "calico"}
    assert labels == wanted


@pytest.mark.parametrize("era", [era for era in ERAS if era.checks_from_executor], ids=str)
def test_checks_of_the_executor_go_with_the_order(era: Era) -> None:
    checks = [
        {"protocol": "MESOS_HTTP", "path": "/status", "portIndex": 0, "intervalSeconds": 5},
        {"protocol": "MESOS_TCP", "port": 9001, "delaySeconds": 0},
        {"protocol": "COMMAND", "command": {"value": "sleep 0"}, "maxConsecutiveFailures": 1},
        {"protocol": "TCP", "port": 9000},
    ]
    with marathon_of(era) as marathon:
        marathon("POST", "/v2/apps", app_of(era, healthChecks=checks), status=201)
        orders = marathon.agent.orders
        after = -1
        while not orders:
            after = marathon.agent.tasks(after, 5).revision
        (order,) = orders.values()
    http, tcp, command = order.checks
    assert (http.kind, http.port, http.path, http.interval) == (CheckKind.HTTP, 9000, "/status", 5)
    assert tcp == HealthCheck(CheckKind.TCP, 9001, delay=0)
    assert (command.kind, command.argv[-1], command.failures) == (CheckKind.COMMAND, "0", 1)


def test_a_check_starts_no_more_programs_than_an_app_does() -> None:
    check = {"protocol": "COMMAND", "command": {"value": "rm -rf /"}}
    with marathon_of(Era(1, 4)) as marathon:
        marathon("POST", "/v2/apps", ip_app(healthChecks=[check]), status=422)


def test_a_late_address_waits_for_the_next_change_that_marathon_sees() -> None:
    era = Era(1, 4)
    with marathon_of(era, lambda _order: ()) as marathon:
        task = marathon.start(app_of(era))
        task_id = next(iter(marathon.agent.orders))
        marathon.agent.readdress(task_id, "192.168.40.99")
        assert "ipAddresses" not in marathon("GET", "/v2/tasks")["tasks"][0]
        marathon.agent.feel(task_id, True)
        after = -1
        while "ipAddresses" not in marathon("GET", "/v2/tasks")["tasks"][0]:
            after = marathon.agent.tasks(after, 1).revision
        found = marathon("GET", "/v2/tasks")["tasks"][0]["ipAddresses"]
    assert "ipAddresses" not in task
    assert found == [{"ipAddress": "192.168.40.99", "protocol": "IPv4"}]
