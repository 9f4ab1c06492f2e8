"""The story's apps, written as users of each era wrote them."""

import pytest

from demo.marathon.definitions.apps import parse_app
from demo.marathon.era import Era
from demo.stories.forms import group_in_era, in_era, read_group

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


@pytest.mark.parametrize("era", [Era(0, 14), Era(1, 3), Era(1, 5), Era(1, 9)], ids=str)
def test_each_era_takes_the_storys_group(era: Era) -> None:
    for app in group_in_era(read_group("star-iso"), era)["apps"]:
        parse_app(app, "/star-iso", era)
