"""What a newer Marathon makes of the state that an older one left, over HTTP."""

import json
from pathlib import Path

import pytest
import requests

from demo.marathon import Era, MemoryAgent, StandIn
from demo.marathon.core.migration import MigrationError
from tests.contract.stand_in.era_world import ADDRESS, SOON, app_of, marathon_of
from tests.contract.stand_in.stand_in_world import RawStream


@pytest.mark.parametrize("newer", [Era(1, 5), Era(1, 7), Era(1, 9)], ids=str)
def test_an_upgrade_across_1_5_erases_the_groups_of_every_stored_app(
    tmp_path: Path, newer: Era
) -> None:
    state, agent = tmp_path / "marathon.json", MemoryAgent(address_of=lambda _order: (ADDRESS,))
    old = Era(1, 4)
    with marathon_of(old, state_file=state) as marathon:
        marathon.start(app_of(old, groups="secret-group"))
        before = marathon("GET", "/v2/apps/shop/web")["app"]
        agent = marathon.agent
    with StandIn(agents={"host-1": agent}, era=newer, state_file=state) as stand_in:
        text = requests.get(f"{stand_in.url}/v2/apps/shop/web", timeout=SOON).text
        after = json.loads(text)["app"]
        path = f"/v2/apps/shop/web/versions/{before['version']}"
        kept = requests.get(stand_in.url + path, timeout=SOON).text
    assert "secret-group" in json.dumps(before)
    assert "secret-group" not in text
    assert "secret-group" not in kept
    assert after["networks"] == [{"mode": "container", "name": "calico", "labels": {}}]
    assert after["container"]["portMappings"][0]["containerPort"] == 9000
    # Nothing restarts for it: same version, same task.
    assert after["version"] == before["version"]
    assert [task["id"] for task in after["tasks"]] == [task["id"] for task in before["tasks"]]


def test_an_upgrade_across_1_5_needs_a_name_for_unnamed_networks(tmp_path: Path) -> None:
    state = tmp_path / "marathon.json"
    with marathon_of(Era(1, 1), state_file=state) as marathon:
        marathon.start(app_of(Era(1, 1)))
        agent = marathon.agent
    nameless = StandIn(agents={"host-1": agent}, era=Era(1, 5), state_file=state)
    with pytest.raises(MigrationError, match="default-network-name"):
        nameless.start()
    with StandIn(
        agents={"host-1": agent}, era=Era(1, 5), state_file=state, default_network="calico"
    ) as named:
        app = requests.get(f"{named.url}/v2/apps/shop/web", timeout=SOON).json()["app"]
    assert app["networks"][0]["name"] == "calico"


def test_a_marathon_does_not_go_back(tmp_path: Path) -> None:
    state = tmp_path / "marathon.json"
    with marathon_of(Era(1, 5), state_file=state) as marathon:
        marathon.start(app_of(Era(1, 5)))
    older = StandIn(agents={"host-1": MemoryAgent()}, era=Era(1, 4), state_file=state)
    with pytest.raises(MigrationError, match=r"written by Marathon 1\.5"):
        older.start()


def test_a_task_of_before_the_upgrade_is_followed_by_one_of_the_new_kind(tmp_path: Path) -> None:
    state = tmp_path / "marathon.json"
    with marathon_of(Era(1, 7), state_file=state) as marathon:
        old = marathon.start(app_of(Era(1, 7), backoffSeconds=0))["id"]
        agent = marathon.agent
    with (
        marathon_of(Era(1, 9), agent=agent, state_file=state) as marathon,
        RawStream(marathon.url) as stream,
    ):
        agent.end(old)
        new = stream.event("status_update_event", taskStatus="TASK_RUNNING")["taskId"]
    assert "instance-" not in old
    assert new.endswith("._app.1")
