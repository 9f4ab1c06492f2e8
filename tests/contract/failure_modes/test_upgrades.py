"""F30: an upgrade of Marathon past 1.5 drops the groups of every app."""

from pathlib import Path

import pytest

from calico.cluster import HoldKind
from calico.datastore.memory import MemoryDatastore
from demo.marathon import Era
from reconciler.core.removal.marathon_upgrade import WITHHELD
from tests.contract.failure_modes.world import WEB
from tests.contract.stand_in.era_cluster import era_cluster
from tests.contract.stand_in.era_world import app_of

OLD = Era(1, 4)


@pytest.mark.parametrize("newer", [Era(1, 5), Era(1, 7), Era(1, 9)], ids=str)
def test_f30_an_upgrade_that_drops_all_groups_changes_no_task_and_is_held(
    tmp_path: Path, newer: Era
) -> None:
    # given a task with groups, and the upgrade
    state, store, web = tmp_path / "marathon.json", MemoryDatastore(), f"/v2/apps{WEB}"
    with era_cluster(OLD, plugin=True, store=store, state_file=state) as before:
        before.marathon("POST", "/v2/apps", app_of(OLD, groups="web"), status=201)
        before.until(lambda: before.settled(1, ("web",)))
        specs, agent = before.specs(), before.marathon.agent
    with era_cluster(newer, plugin=True, store=store, state_file=state, agent=agent) as after:
        # then it is noticed, and the task stays as it was
        after.until(lambda: HoldKind.GROUPS in after.cluster.holds())
        assert after.cluster.holds()[HoldKind.GROUPS].subjects == (WEB,)
        assert after.specs() == specs
        assert after.settled(1, ("web",))
        # and a new task waits until its app names groups again
        after.marathon("PUT", web, {"instances": 2})
        after.until(lambda: WITHHELD in {each.reason for each in after.cluster.records().values()})
        assert after.specs() == specs
        networks = app_of(newer, groups="web")["networks"]
        after.marathon("PUT", web, {"instances": 2, "networks": networks})
        after.until(lambda: after.settled(2, ("web",)))
        after.cluster.connect()
        assert after.cluster.holds() == {}
