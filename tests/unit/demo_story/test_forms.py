"""The story's apps, written as users of each era wrote them."""

import json

import pytest

from charts.render import check_app
from demo.marathon.definitions.apps import parse_app
from demo.marathon.era import Era
from demo.stories.forms import APPS, group_in_era, in_era, read_group

APP = {
    "id": "/a",
    "cmd": "x",
    "ipAddress": {
        "groups": ["one", "two"],
        "labels": {"tier": "front"},
        "discovery": {"ports": [{"name": "status", "number": 9000, "protocol": "tcp"}]},
    },
}


def test_up_to_1_4_an_app_stays_as_it_is() -> None:
    assert in_era(APP, Era(1, 4)) == APP


def test_from_1_5_on_groups_are_a_label_and_ports_are_mappings() -> None:
    app = in_era(APP, Era(1, 5))
    assert "ipAddress" not in app
    (network,) = app["networks"]
    assert network["labels"] == {"tier": "front", "groups": "one,two"}
    (mapping,) = app["container"]["portMappings"]
    assert (mapping["containerPort"], mapping["name"]) == (9000, "status")


def test_a_change_that_leaves_the_network_alone_stays_as_it_is() -> None:
    assert in_era({"instances": 2}, Era(1, 9)) == {"instances": 2}


@pytest.mark.parametrize("name", ["star", "star-iso"])
def test_the_scripts_have_the_same_groups_for_marathons_with_networks(name: str) -> None:
    written = json.loads((APPS / "networks" / f"{name}.json").read_text())
    assert written == group_in_era(read_group(name), Era(1, 5))


@pytest.mark.parametrize("name", ["star-before", "star", "star-iso"])
def test_a_groups_probes_ask_each_other_and_its_collector_asks_them_all(name: str) -> None:
    *probes, collector = read_group(name)["apps"]
    urls = {app["id"]: f"http://{app['id']}.{name}.marathon.mesos:9000/status" for app in probes}
    for app in probes:
        (asked,) = (word for word in app["cmd"].split() if word.startswith("--urls="))
        others = [url for other, url in urls.items() if other != app["id"]]
        assert asked.removeprefix("--urls=").split(",") == others
    (file,) = (word for word in collector["cmd"].split() if word.startswith("--resources-file="))
    resources = json.loads((APPS / file.partition("=")[2]).read_text())
    assert {each["url"] for each in resources} == set(urls.values())


@pytest.mark.parametrize("name", ["star-before", "star", "star-iso"])
def test_marathons_own_schema_admits_the_stories_apps(name: str) -> None:
    for app in read_group(name)["apps"]:
        check_app(app, "ipaddress")


@pytest.mark.parametrize("era", [Era(0, 14), Era(1, 3), Era(1, 5), Era(1, 9)], ids=str)
@pytest.mark.parametrize("name", ["star-before", "star", "star-iso"])
def test_each_era_takes_the_stories_groups(era: Era, name: str) -> None:
    for app in group_in_era(read_group(name), era)["apps"]:
        parse_app(app, f"/{name}", era)
