"""From an app body to what Marathon keeps of it."""

import json
from pathlib import Path

import pytest

from demo.marathon.definitions.apps import merge_app, parse_app, resolve_id, same_config
from demo.marathon.era import Era, parse_era
from demo.marathon.errors import ApiError
from demo.mesos.records import Json
from tests.unit.demo.apps import host_app, ip_app

OLD, NEW = Era(1, 4), Era(1, 5)
FIXTURES = Path(__file__).parents[1] / "marathon_client" / "fixtures"


@pytest.mark.parametrize(
    ("raw", "base", "absolute"),
    [
        pytest.param("probe-a", "/star-iso", "/star-iso/probe-a", id="relative to its group"),
        pytest.param("probe", "/", "/probe", id="relative to the root"),
        pytest.param("/x/y", "/star-iso", "/x/y", id="absolute stays"),
        pytest.param("//x//y", "/", "/x/y", id="doubled slashes"),
        pytest.param("../y", "/a/b", "/a/y", id="the group above"),
        pytest.param("v1.2/web", "/", "/v1.2/web", id="dots within a segment"),
    ],
)
def test_an_id_is_resolved_against_its_group(raw: str, base: str, absolute: str) -> None:
    assert resolve_id(raw, base) == absolute


@pytest.mark.parametrize("raw", ["Web", "a_b", "-a", "a-", "a b", "/x/$", "é"])
def test_an_id_that_is_no_path_of_names_is_refused(raw: str) -> None:
    with pytest.raises(ApiError) as refusal:
        resolve_id(raw, "/")
    assert refusal.value.status == 422
    assert refusal.value.body["details"][0]["path"] == "/id"


def test_an_address_app_is_filled_with_empty_defaults_and_has_no_ports() -> None:
    app = parse_app({"id": "/a", "cmd": "x", "ipAddress": {}}, "/", OLD)
    assert app["ipAddress"] == {"groups": [], "labels": {}, "discovery": {"ports": []}}
    assert "ports" not in app
    assert "portDefinitions" not in app
    assert app["upgradeStrategy"] == {"minimumHealthCapacity": 1, "maximumOverCapacity": 1}


def test_an_app_without_a_network_asks_for_one_port_of_its_host() -> None:
    app = parse_app(host_app(), "/", OLD)
    assert app["ports"] == [0]
    assert app["portDefinitions"][0]["name"] == "default"
    assert app["ipAddress"] is None


def test_every_documented_field_of_a_1_x_app_is_kept() -> None:
    documented = json.loads((FIXTURES / "apps-embed-tasks-1.x.json").read_text())["apps"][1]
    app = parse_app(host_app(), "/", OLD)
    added = {
        "version", "versionInfo", "tasks", "deployments",
        "tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy",
    }  # fmt: skip
    assert set(documented) - added <= set(app)


def test_an_address_and_ports_exclude_each_other() -> None:
    documented = json.loads((FIXTURES / "app-ipaddress-0.14.json").read_text())
    with pytest.raises(ApiError) as refusal:
        parse_app(documented, "/", OLD)
    assert refusal.value.status == 400
    assert refusal.value.body["details"] == "You cannot specify both an IP address and ports"


@pytest.mark.parametrize(
    ("ports", "status"),
    [
        pytest.param([{"number": 1, "name": "a"}], 400, id="protocol missing"),
        pytest.param([{"number": 1, "name": "a", "protocol": "udp,tcp"}], 400, id="two in one"),
        pytest.param([{"number": 1, "name": "A b", "protocol": "tcp"}], 422, id="bad name"),
        pytest.param(
            [{"number": 1, "name": "a", "protocol": "tcp"}] * 2, 422, id="a name given twice"
        ),
        pytest.param("9000", 400, id="no list"),
    ],
)
def test_discovery_ports_that_marathon_refuses(ports: object, status: int) -> None:
    with pytest.raises(ApiError) as refusal:
        parse_app(ip_app(ipAddress={"discovery": {"ports": ports}}), "/", OLD)
    assert refusal.value.status == status


@pytest.mark.parametrize("number", [0, 70000])
def test_a_discovery_port_of_any_number_passes(number: int) -> None:
    port = {"number": number, "name": "a", "protocol": "tcp"}
    app = parse_app(ip_app(ipAddress={"discovery": {"ports": [port]}}), "/", OLD)
    assert app["ipAddress"]["discovery"]["ports"][0]["number"] == number


@pytest.mark.parametrize(
    ("field", "value"),
    [("instances", "2"), ("env", []), ("cmd", 5), ("labels", "x"), ("instances", True)],
)
def test_a_field_of_the_wrong_type_is_named(field: str, value: object) -> None:
    with pytest.raises(ApiError) as refusal:
        parse_app(ip_app(**{field: value}), "/", OLD)
    assert refusal.value.status == 400
    assert refusal.value.body["details"][0]["path"] == f"/{field}"


def test_from_1_5_on_an_address_becomes_a_network_and_its_groups_are_lost() -> None:
    address = {**ip_app()["ipAddress"], "networkName": "calico", "labels": {"a": "b"}}
    app = parse_app(ip_app(ipAddress=address), "/", NEW)
    assert app["networks"] == [{"mode": "container", "name": "calico", "labels": {"a": "b"}}]
    assert app["container"]["portMappings"] == [
        {
            "containerPort": 9000,
            "protocol": "tcp",
            "labels": {},
            "servicePort": 0,
            "name": "status",
        }
    ]
    assert "ipAddress" not in app
    assert "web" not in json.dumps({**app, "id": ""})


def test_from_1_5_on_a_container_network_without_ports_gets_one_mapping() -> None:
    network = {"mode": "container", "name": "calico"}
    app = parse_app({"id": "/a", "cmd": "x", "networks": [network]}, "/", NEW)
    assert [m["name"] for m in app["container"]["portMappings"]] == ["default"]
    assert "portDefinitions" not in app


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"ipAddress": {}}, id="no network name"),
        pytest.param({"networks": [{"mode": "container"}]}, id="no name"),
        pytest.param({"networks": [{"mode": "host"}, {"mode": "container/bridge"}]}, id="mixed"),
        pytest.param(
            {"ipAddress": {"networkName": "a"}, "networks": [{"mode": "host"}]}, id="both forms"
        ),
    ],
)
def test_networks_that_a_newer_marathon_refuses(fields: Json) -> None:
    with pytest.raises(ApiError) as refusal:
        parse_app({"id": "/a", "cmd": "x", **fields}, "/", NEW)
    assert refusal.value.status == 422


def test_an_older_marathon_does_not_know_networks() -> None:
    app = parse_app(host_app(networks=[{"mode": "container", "name": "calico"}]), "/", OLD)
    assert "networks" not in app


def test_an_update_keeps_what_it_does_not_name_and_replaces_objects_whole() -> None:
    present = parse_app(ip_app(labels={"a": "1"}), "/", OLD)
    updated = merge_app(present, {"ipAddress": {"groups": ["other"]}}, OLD)
    assert updated["ipAddress"]["groups"] == ["other"]
    assert updated["ipAddress"]["discovery"] == {"ports": []}
    assert updated["labels"] == {"a": "1"}
    assert updated["cmd"] == present["cmd"]


def test_an_app_moves_from_its_hosts_network_to_an_address_of_its_own() -> None:
    present = parse_app(host_app(), "/", OLD)
    updated = merge_app(present, {"ipAddress": {"groups": ["a"]}}, OLD)
    assert updated["ipAddress"]["groups"] == ["a"]
    assert "ports" not in updated


def test_the_number_of_instances_is_no_configuration() -> None:
    app = parse_app(ip_app(), "/", OLD)
    assert same_config(app, {**app, "instances": 7})
    assert not same_config(app, {**app, "labels": {"a": "b"}})


@pytest.mark.parametrize(
    ("text", "era"), [("1.4", OLD), ("1.5.15", Era(1, 5, 15)), ("0.14.3", Era(0, 14, 3))]
)
def test_an_era_is_named_by_its_version(text: str, era: Era) -> None:
    assert parse_era(text) == era


@pytest.mark.parametrize("text", ["", "1", "one.two"])
def test_what_is_no_version_is_no_era(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - int and we word it differently
        parse_era(text)
