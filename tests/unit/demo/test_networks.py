"""`networks` since 1.5: its forms, its limits, and what older forms become."""

import pytest

from demo.marathon.definitions.apps import merge_app, parse_app
from demo.marathon.definitions.checks import checked_port
from demo.marathon.era import Era
from demo.marathon.errors import ApiError
from demo.mesos.records import Json

NEW = Era(1, 5)
DOCKER = {"type": "DOCKER", "docker": {"image": "nginx"}}
CALICO = {"mode": "container", "name": "calico", "labels": {}}
OTHER = {"mode": "container", "name": "other", "labels": {}}


def kept(default: str | None = None, **fields: object) -> Json:
    """What 1.5 makes of an app with these fields."""
    return parse_app({"id": "/a", "cmd": "x", **fields}, "/", NEW, default)


def refusal(default: str | None = None, **fields: object) -> Json:
    """Why 1.5 refuses an app with these fields."""
    with pytest.raises(ApiError) as error:
        kept(default, **fields)
    assert error.value.status == 422
    detail: Json = error.value.body["details"][0]
    return detail


def test_without_networks_an_app_is_on_its_hosts_with_one_port() -> None:
    app = kept()
    assert app["networks"] == [{"mode": "host"}]
    assert [(p["port"], p["name"]) for p in app["portDefinitions"]] == [(0, "default")]


def test_a_hosts_network_keeps_no_labels() -> None:
    assert kept(networks=[{"mode": "host", "labels": {"a": "b"}}])["networks"] == [{"mode": "host"}]


def test_a_bridge_keeps_labels_and_each_mapping_has_a_port_of_the_host() -> None:
    app = kept(
        networks=[{"mode": "container/bridge", "labels": {"a": "b"}}],
        container={**DOCKER, "portMappings": [{"containerPort": 80}]},
    )
    assert app["networks"] == [{"mode": "container/bridge", "labels": {"a": "b"}}]
    assert app["container"]["portMappings"][0]["hostPort"] == 0


@pytest.mark.parametrize(
    ("mappings", "kept_as"),
    [
        pytest.param(None, [(0, None, "default")], id="none given: one by default"),
        pytest.param([], [], id="really none"),
        pytest.param([{"containerPort": 80}], [(80, None, None)], id="no port of the host"),
        pytest.param(
            [{"containerPort": 80, "hostPort": 0}], [(80, 0, None)], id="any port of the host"
        ),
        pytest.param([{}], [(0, None, None)], id="the same as the host's"),
    ],
)
def test_port_mappings_of_a_container_network(mappings: list[Json] | None, kept_as: object) -> None:
    container = {} if mappings is None else {"container": {"portMappings": mappings}}
    found = kept(networks=[CALICO], **container)["container"]["portMappings"]
    assert [(m["containerPort"], m.get("hostPort"), m.get("name")) for m in found] == kept_as


def test_two_protocols_in_one_mapping_are_kept_as_one() -> None:
    container = {"portMappings": [{"containerPort": 53, "protocol": "udp,tcp"}]}
    app = kept(networks=[CALICO], container=container)
    assert app["container"]["portMappings"][0]["protocol"] == "udp,tcp"


def test_an_app_may_be_on_several_container_networks() -> None:
    mapping = {"containerPort": 80, "hostPort": 0, "networkNames": ["other"]}
    app = kept(networks=[CALICO, OTHER], container={"portMappings": [mapping]})
    assert app["networks"] == [CALICO, OTHER]
    assert app["container"]["portMappings"][0]["networkNames"] == ["other"]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param({"networks": [{"mode": "x"}]}, "/networks(0)/mode", id="unknown mode"),
        pytest.param({"networks": [{"mode": "container"}]}, "/networks(0)/name", id="no name"),
        pytest.param(
            {"networks": [{"mode": "container", "name": "A"}]}, "/networks(0)/name", id="bad name"
        ),
        pytest.param(
            {"networks": [{"mode": "container", "name": "a" * 64}]},
            "/networks(0)/name",
            id="long name",
        ),
        pytest.param(
            {"networks": [{"mode": "host", "name": "a"}]}, "/networks(0)/name", id="host named"
        ),
        pytest.param({"networks": [{"mode": "host"}, CALICO]}, "/networks", id="modes mixed"),
        pytest.param({"networks": [{"mode": "host"}] * 2}, "/networks", id="two hosts"),
        pytest.param({"networks": [CALICO, CALICO]}, "/networks", id="one network twice"),
        pytest.param(
            {"networks": [CALICO], "portDefinitions": [{"port": 0}]},
            "/portDefinitions",
            id="port definitions",
        ),
        pytest.param(
            {"networks": [CALICO, OTHER], "container": {"portMappings": [{"hostPort": 0}]}},
            "/container/portMappings(0)/networkNames",
            id="host port for no network in particular",
        ),
        pytest.param(
            {"networks": [CALICO], "container": {"portMappings": [{"networkNames": ["x"]}]}},
            "/container/portMappings(0)/networkNames",
            id="unknown network",
        ),
        pytest.param(
            {"networks": [CALICO], "container": {"portMappings": [{"containerPort": 70000}]}},
            "/container/portMappings(0)/containerPort",
            id="port 70000",
        ),
        pytest.param(
            {"networks": [CALICO], "container": {"portMappings": [{"protocol": "sctp"}]}},
            "/container/portMappings(0)/protocol",
            id="protocol",
        ),
        pytest.param(
            {"networks": [CALICO], "container": {"portMappings": [{"name": "a"}] * 2}},
            "/container/portMappings",
            id="a name twice",
        ),
        pytest.param({"networks": [CALICO], "ipAddress": {}}, "/networks", id="both forms at once"),
    ],
)
def test_networks_that_cannot_be(fields: Json, path: str) -> None:
    assert refusal(**fields)["path"] == path


def test_a_default_name_is_filled_in_where_none_is_given() -> None:
    assert kept("calico", networks=[{"mode": "container"}])["networks"] == [CALICO]
    assert kept("calico", ipAddress={})["networks"] == [CALICO]
    old = parse_app({"id": "/a", "cmd": "x", "ipAddress": {}}, "/", Era(1, 3), "calico")
    assert old["ipAddress"]["networkName"] == "calico"


@pytest.mark.parametrize(
    ("address", "docker", "networks"),
    [
        pytest.param({"networkName": "calico"}, None, [CALICO], id="no Docker"),
        pytest.param(
            {"networkName": "mesos-bridge", "labels": {"a": "b"}},
            None,
            [{"mode": "container/bridge", "labels": {"a": "b"}}],
            id="Mesos' own bridge",
        ),
        pytest.param({"networkName": "calico"}, "USER", [CALICO], id="Docker's USER"),
        pytest.param(
            {"labels": {"a": "b"}},
            "BRIDGE",
            [{"mode": "container/bridge", "labels": {"a": "b"}}],
            id="Docker's BRIDGE",
        ),
        pytest.param({"labels": {"a": "b"}}, "HOST", [{"mode": "host"}], id="Docker's HOST"),
        pytest.param(None, "HOST", [{"mode": "host"}], id="HOST alone"),
        pytest.param(
            None, "BRIDGE", [{"mode": "container/bridge", "labels": {}}], id="BRIDGE alone"
        ),
    ],
)
def test_older_forms_become_networks(
    address: Json | None, docker: str | None, networks: list[Json]
) -> None:
    fields: Json = {} if address is None else {"ipAddress": address}
    if docker is not None:
        fields["container"] = {"type": "DOCKER", "docker": {"image": "nginx", "network": docker}}
    app = kept(**fields)
    assert app["networks"] == networks
    assert "network" not in ((app.get("container") or {}).get("docker") or {})


def test_dockers_network_none_has_no_newer_form() -> None:
    docker = {"type": "DOCKER", "docker": {"image": "nginx", "network": "NONE"}}
    assert refusal(ipAddress={}, container=docker)["path"] == "/container/docker/network"


def test_dockers_own_mappings_move_to_the_container() -> None:
    docker = {"image": "nginx", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}
    app = kept(container={"type": "DOCKER", "docker": docker})
    assert app["container"]["docker"] == {"image": "nginx"}
    assert app["container"]["portMappings"][0]["containerPort"] == 80


def test_discovery_ports_are_not_for_docker_nor_beside_mappings() -> None:
    port = {"number": 80, "name": "http", "protocol": "tcp"}
    address = {"networkName": "calico", "discovery": {"ports": [port]}}
    assert refusal(ipAddress=address, container=DOCKER)["path"] == "/ipAddress/discovery"
    mapped = {"portMappings": [{"containerPort": 81}]}
    assert refusal(ipAddress=address, container=mapped)["path"] == "/container/portMappings"


def test_a_regroup_in_the_old_form_replaces_the_networks() -> None:
    present = kept(networks=[CALICO], container={"portMappings": [{"containerPort": 80}]})
    port = {"number": 81, "name": "http", "protocol": "tcp"}
    address = {"networkName": "other", "discovery": {"ports": [port]}}
    app = merge_app(present, {"ipAddress": address}, NEW)
    assert app["networks"] == [OTHER]
    assert [m["containerPort"] for m in app["container"]["portMappings"]] == [81]


@pytest.mark.parametrize("era", [Era(0, 14), Era(1, 1), Era(1, 4)], ids=str)
def test_before_1_5_docker_has_networks_of_its_own(era: Era) -> None:
    docker = {"image": "nginx", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}
    container = {"type": "DOCKER", "docker": docker}
    app = parse_app({"id": "/a", "container": container}, "/", era)
    (mapping,) = app["container"]["docker"]["portMappings"]
    assert (mapping["containerPort"], mapping["hostPort"]) == (80, 0)
    assert app["ports"] == [0]


def test_before_1_5_discovery_ports_are_not_for_dockers_own_networks() -> None:
    port = {"number": 80, "name": "http", "protocol": "tcp"}
    app = {
        "id": "/a",
        "container": {"type": "DOCKER", "docker": {"image": "nginx", "network": "USER"}},
        "ipAddress": {"discovery": {"ports": [port]}},
    }
    with pytest.raises(ApiError):
        parse_app(app, "/", Era(1, 4))


@pytest.mark.parametrize(
    ("fields", "ports", "number"),
    [
        pytest.param({}, [31005], 31005, id="a port of the host"),
        pytest.param(
            {"networks": [CALICO], "container": {"portMappings": [{"containerPort": 80}]}},
            [],
            80,
            id="a port of the container",
        ),
        pytest.param(
            {"networks": [CALICO], "container": {"portMappings": [{"hostPort": 0}]}},
            [31007],
            31007,
            id="the container's is the host's",
        ),
        pytest.param(
            {
                "networks": [{"mode": "container/bridge"}],
                "container": {"portMappings": [{"containerPort": 80}]},
            },
            [31009],
            31009,
            id="behind a bridge, the host's",
        ),
    ],
)
def test_the_port_that_a_check_by_index_means(fields: Json, ports: list[int], number: int) -> None:
    app = kept(healthChecks=[{"protocol": "TCP"}], **fields)
    assert checked_port(app, app["healthChecks"][0], ports) == number


def test_a_check_of_a_port_that_is_not_there_is_refused() -> None:
    detail = refusal(healthChecks=[{"protocol": "HTTP", "portIndex": 1}])
    assert detail["path"] == "/healthChecks(0)/portIndex"
