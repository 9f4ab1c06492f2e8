"""DC/OS packages: in Universe's form, and safe although Cosmos escapes nothing."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft4Validator

from charts import render_app
from charts.render import check_app
from demo.marathon.definitions.apps import parse_app
from demo.marathon.era import parse_era
from tests.unit.charts.cosmos import (
    CONFIG,
    PACKAGE,
    PACKAGES,
    RESOURCE,
    RefusedOptions,
    defaults_of,
    read,
    render,
    template_of,
)
from tests.unit.charts.test_render import HOSTILE

ETCD = {"etcd": {"servers": "http://10.0.0.1:2379 http://10.0.0.2:2379"}}
ROLES = {"marathon-calico": "controller", "marathon-calico-agent": "agent"}
ALL_OPTIONS = {
    "marathon-calico": {
        "etcd": {"secret": "mc/etcd", "ca": "/etc/ca", "cert": "/etc/c", "key": "/etc/k"},
        "marathon": {"secret": "mc/marathon", "service_account": "mc/account"},
        "network": {
            "names": "calico other",
            "pools": "10.9.0.0/16 fd00::/64",
            "port_policy": "open",
            "allow_from": "10.0.0.0/8",
        },
        "agents": {"scale_app": "/marathon-calico/agent"},
    },
    "marathon-calico-agent": {
        "etcd": {"secret": "mc/etcd", "ca": "/etc/ca", "cert": "/etc/c", "key": "/etc/k"},
        "host": {"locate_docker": True, "routing": "none", "protect": "10.0.0.1:2379 10.9.0.0/16"},
    },
}


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    ("file", "rules"),
    [
        pytest.param("package.json", PACKAGE, id="package"),
        pytest.param("resource.json", RESOURCE, id="resource"),
        pytest.param("config.json", CONFIG, id="config"),
    ],
)
def test_each_file_has_universes_form(package: str, file: str, rules: Mapping[str, Any]) -> None:
    Draft4Validator(rules).validate(read(package, file))


@pytest.mark.parametrize("package", PACKAGES)
def test_names_versions_and_images_agree(package: str) -> None:
    described = read(package, "package.json")
    assert described["name"] == package
    [image] = read(package, "resource.json")["assets"]["container"]["docker"].values()
    assert image.endswith(f":{described['version']}")
    assert "." not in image.partition("/")[0], "no registry's host"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_configuration_is_a_schema_whose_defaults_it_admits(package: str) -> None:
    config = read(package, "config.json")
    Draft4Validator.check_schema(config)
    Draft4Validator(config).validate(defaults_of(config) | ETCD)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("more", [False, True], ids=["defaults", "every option"])
def test_every_package_renders_an_app_that_marathon_takes(package: str, more: bool) -> None:
    app = render(package, ALL_OPTIONS[package] if more else ETCD)
    check_app(app, "networks")
    parse_app(app, "/", parse_era("1.5"))
    parse_app(app, "/", parse_era("1.9"))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_and_a_chart_ask_for_the_same(package: str) -> None:
    app = render(package, ETCD)
    values = {
        "form": "networks",
        "image": app["container"]["docker"]["image"],
        "etcd": ETCD["etcd"]["servers"].split(),
        "health": {"protocol": "MESOS_HTTP"},
        "controller": {"marathon": ["http://marathon.mesos:8080"]},
        "agent": {"instances": 3, "accepted_roles": ["*", "slave_public"]},
    }
    chart = render_app(ROLES[package], values)
    for field in ("args", "constraints", "networks", "portDefinitions", "healthChecks"):
        assert app[field] == chart[field]
    for field in ("upgradeStrategy", "requirePorts", "taskKillGracePeriodSeconds", "instances"):
        assert app[field] == chart[field]
    assert app.get("acceptedResourceRoles") == chart.get("acceptedResourceRoles")
    assert app["container"]["docker"] == chart["container"]["docker"]
    assert by_path(app) == by_path(chart)
    # The flags that the package leaves at the product's own default may be missing in either.
    common = app["env"].keys() & chart["env"].keys()
    assert {key: app["env"][key].split() for key in common} == {
        key: chart["env"][key].split() for key in common
    }
    assert {"MARATHON_CALICO_ETCD"} < common


def by_path(app: Mapping[str, Any]) -> Mapping[str, str]:
    """What a container is shown of its host."""
    return {each["hostPath"]: each["mode"] for each in app["container"]["volumes"]}


def test_secrets_stand_in_place_of_urls() -> None:
    app = render("marathon-calico", ALL_OPTIONS["marathon-calico"])
    assert app["env"]["MARATHON_CALICO_ETCD"] == {"secret": "etcd"}
    assert app["env"]["MARATHON_CALICO_CONTROLLER_MARATHON"] == {"secret": "marathon"}
    assert app["env"]["DCOS_SERVICE_ACCOUNT_CREDENTIAL"] == {"secret": "account"}
    assert app["secrets"] == {
        "etcd": {"source": "mc/etcd"},
        "marathon": {"source": "mc/marathon"},
        "account": {"source": "mc/account"},
    }


@pytest.mark.parametrize("etcd", [{"secret": "mc/etcd"}, ETCD["etcd"]])
@pytest.mark.parametrize("marathon", [{"secret": "mc/marathon"}, {}])
@pytest.mark.parametrize("account", [{"service_account": "mc/account"}, {}])
def test_each_secret_is_named_if_it_is_asked_for(
    etcd: Mapping[str, str], marathon: Mapping[str, str], account: Mapping[str, str]
) -> None:
    app = render("marathon-calico", {"etcd": etcd, "marathon": {**marathon, **account}})
    named = {each["source"] for each in app.get("secrets", {}).values()}
    assert named == {
        text
        for text in (*etcd.values(), *marathon.values(), *account.values())
        if text.startswith("mc/")
    }


@pytest.mark.parametrize(
    ("host", "locators"),
    [
        pytest.param({}, ["mesos"], id="default"),
        pytest.param({"locate_docker": True}, ["mesos", "docker"], id="both"),
        pytest.param({"locate_mesos": False, "locate_docker": True}, ["docker"], id="docker"),
        pytest.param({"locate_mesos": False}, ["none"], id="none"),
    ],
)
def test_the_agent_looks_where_it_is_told(host: Mapping[str, Any], locators: list[str]) -> None:
    app = render("marathon-calico-agent", {**ETCD, "host": host})
    assert app["env"]["MARATHON_CALICO_AGENT_LOCATOR"].split() == locators
    shown = "/var/run/docker.sock" in by_path(app)
    assert shown is ("docker" in locators)


def texts() -> Iterator[Any]:
    """Every option of every package that takes a text."""
    for package in PACKAGES:
        for group, rules in read(package, "config.json")["properties"].items():
            for option, rule in rules["properties"].items():
                if rule["type"] == "string":
                    yield pytest.param(package, group, option, id=f"{package} {group}.{option}")


@pytest.mark.parametrize(("package", "group", "option"), list(texts()))
def test_no_text_of_an_option_can_leave_its_place(package: str, group: str, option: str) -> None:
    for text in (*HOSTILE, 'x"', "x\\", "x\ny", "{{service.name}}"):
        with pytest.raises(RefusedOptions):
            render(package, {**ETCD, group: {**ETCD.get(group, {}), option: text}})


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="no etcd"),
        pytest.param({"etcd": {"servers": "", "secret": ""}}, id="neither URLs nor a secret"),
        pytest.param({**ETCD, "service": {"instances": 0}}, id="no instance"),
        pytest.param({**ETCD, "service": {"instances": "2"}}, id="a number as text"),
        pytest.param({**ETCD, "service": {"port": 70000}}, id="no port"),
        pytest.param({**ETCD, "service": {"surprise": 1}}, id="unknown"),
        pytest.param({**ETCD, "surprise": {}}, id="an unknown group"),
    ],
)
def test_options_that_make_no_sense_are_refused(package: str, options: Any) -> None:
    with pytest.raises(RefusedOptions):
        render(package, options)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_option_is_used_and_every_tag_is_known(package: str) -> None:
    used = set(re.findall(r"\{\{[#^/]?([\w.-]+)\}\}", template_of(package)))
    known = {
        f"{group}.{option}"
        for group, options in defaults_of(read(package, "config.json")).items()
        for option in options
    }
    assert used == known | {"resource.assets.container.docker.marathon-calico"}


def test_the_rules_can_be_broken() -> None:
    described = read("marathon-calico", "package.json")
    for change in ({"version": "0 1"}, {"tags": ["a b"]}, {"surprise": 1}, {"licenses": [{}]}):
        assert not Draft4Validator(PACKAGE).is_valid({**described, **change})
    assert not Draft4Validator(RESOURCE).is_valid(json.loads('{"assets": {"images": {}}}'))
