"""Marathon's upgrade to 1.5, which drops the groups of apps."""

from dataclasses import replace

import pytest

from calico.model import HostName, TaskId, TaskRecord, TaskVerdict
from marathon_client.models import App, NetworkForm
from reconciler.core.desired import desired_tasks
from reconciler.core.removal.marathon_upgrade import (
    WITHHELD,
    crosses,
    grouped_apps,
    is_newer,
    lost_groups,
    parse_version,
    withheld,
)
from reconciler.core.tasks.profiles import NetworkPolicy
from tests.unit.reconciler.apps import HOSTS, V1, V2, V3, app, network, task

POLICY = NetworkPolicy()
MIGRATED = network(form=NetworkForm.NETWORKS, name="calico")
GROUPED = TaskRecord(TaskId("old"), "/app", V2, HostName("h1"), ("g",))


def migrated(config_version: str = V2) -> App:
    """An app as the upgrade leaves it, with a task of before and a new one."""
    return app(
        task("old", version=V2),
        task("new", version=V3),
        net=MIGRATED,
        version=V3,
        config_version=config_version,
    )


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        pytest.param("1.4.13", (1, 4, 13), id="three numbers"),
        pytest.param("1.10.0", (1, 10, 0), id="two digits"),
        pytest.param("1.5.0-SNAPSHOT", (1, 5, 0), id="with a word"),
        pytest.param("0.15.0-RC3", (0, 15, 0), id="a candidate"),
        pytest.param("1.5", (1, 5, 0), id="two numbers"),
        pytest.param("", None, id="nothing"),
        pytest.param("1", None, id="one number"),
        pytest.param("one.five", None, id="words"),
        pytest.param("1.5.1.1", None, id="four numbers"),
        pytest.param("1.5\n", None, id="a line end"),
        pytest.param("99999.1", None, id="a number of no version"),
    ],
)
def test_versions_are_numbers(text: str, numbers: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == numbers


@pytest.mark.parametrize(
    ("pinned", "told", "newer", "crossing"),
    [
        pytest.param("1.4.13", "1.5.0", True, True, id="to 1.5"),
        pytest.param("0.15.7", "1.10.1", True, True, id="far beyond"),
        pytest.param("1.1.7", "1.4.13", True, False, id="before it"),
        pytest.param("1.5.15", "1.9.109", True, False, id="after it"),
        pytest.param("1.9.109", "1.10.1", True, False, id="numbers, not texts"),
        pytest.param("1.5.15", "1.4.13", False, False, id="backwards"),
        pytest.param("1.4.13", "1.4.13", False, False, id="the same"),
        pytest.param("", "1.8.244", True, False, id="the first answer"),
        pytest.param("1.4.13", "", False, False, id="not told"),
        pytest.param("1.4.13", "latest", False, False, id="no version"),
    ],
)
def test_an_upgrade_is_told_by_the_highest_version_that_was_seen(
    pinned: str, told: str, newer: bool, crossing: bool
) -> None:
    assert (is_newer(pinned, told), crosses(pinned, told)) == (newer, crossing)


@pytest.mark.parametrize(
    ("found", "record", "is_held", "lost"),
    [
        pytest.param(migrated(), GROUPED, False, True, id="the version that had groups has none"),
        pytest.param(migrated(V3), GROUPED, False, False, id="somebody wrote a later version"),
        pytest.param(migrated(V3), GROUPED, True, True, id="a later version while it is held"),
        pytest.param(
            replace(migrated(), networks=(replace(MIGRATED, groups=("g",)),)),
            GROUPED,
            True,
            False,
            id="it names groups",
        ),
        pytest.param(
            replace(migrated(), networks=(network(),)), GROUPED, False, False, id="an ipAddress"
        ),
        pytest.param(replace(migrated(), networks=()), GROUPED, True, False, id="no network"),
        pytest.param(
            replace(migrated(), networks=(replace(MIGRATED, name="other"),)),
            GROUPED,
            True,
            False,
            id="a network of somebody else",
        ),
        pytest.param(migrated(), replace(GROUPED, groups=()), False, False, id="it had none"),
        pytest.param(
            migrated(),
            replace(GROUPED, verdict=TaskVerdict.PENDING),
            False,
            False,
            id="nothing was accepted",
        ),
        pytest.param(
            migrated(),
            replace(GROUPED, groups=()),
            True,
            True,
            id="held, and those with groups ended",
        ),
    ],
)
def test_an_app_lost_its_groups(found: App, record: TaskRecord, is_held: bool, lost: bool) -> None:
    assert lost_groups(found, [record], POLICY, is_held=is_held, crosses=False) is lost
    assert not lost_groups(found, [], POLICY, is_held=False, crosses=True)


@pytest.mark.parametrize(
    ("record", "crosses", "lost"),
    [
        pytest.param(GROUPED, True, True, id="written within the upgrade"),
        pytest.param(GROUPED, False, False, id="written at any other time"),
        pytest.param(replace(GROUPED, groups=()), True, False, id="it had none"),
    ],
)
def test_a_later_version_within_the_upgrade_may_be_of_who_restarted_the_app(
    record: TaskRecord, crosses: bool, lost: bool
) -> None:
    found = migrated(V3)
    assert lost_groups(found, [record], POLICY, is_held=False, crosses=crosses) is lost


def test_running_tasks_keep_what_they_have_and_new_ones_wait() -> None:
    records = {GROUPED.task: GROUPED}
    wanted = desired_tasks(migrated(), {}, records, HOSTS, POLICY)
    old, new = withheld(wanted, records)
    assert old == wanted[0]
    assert old.record.groups == ("g",)
    assert new.record.verdict is TaskVerdict.PENDING
    assert (new.record.reason, new.wish, new.profiles) == (WITHHELD, None, ())


def test_what_is_refused_is_told_so() -> None:
    made = app(task("a/b", version=V2), net=MIGRATED, version=V2, config_version=V1)
    wanted = desired_tasks(made, {}, {}, HOSTS, POLICY)
    assert withheld(wanted, {}) == wanted
    assert wanted[0].record.verdict is TaskVerdict.REFUSED


def test_apps_with_accepted_groups_are_to_be_looked_at() -> None:
    records = [
        GROUPED,
        replace(GROUPED, app="/none", groups=()),
        replace(GROUPED, app="/waits", verdict=TaskVerdict.PENDING),
    ]
    assert grouped_apps(records) == {"/app"}
