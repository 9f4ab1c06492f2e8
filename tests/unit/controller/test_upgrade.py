"""A controller while Marathon is upgraded to 1.5, which drops the groups of apps."""

from dataclasses import replace

import pytest

from calico.cluster import HoldKind
from calico.codec import decode_cluster
from calico.keys import CLUSTER
from calico.model import ContainerId, TaskVerdict
from marathon_client.events import TaskStatus
from marathon_client.models import App, NetworkForm, Problem, TaskState
from reconciler.core.removal.marathon_upgrade import WITHHELD
from tests.unit.controller.attaching import attach
from tests.unit.controller.cluster import UNAVAILABLE, Cluster
from tests.unit.reconciler.apps import V1, V3, app, network, task

OLD, NEW = "1.4.13", "1.8.244"
WEB = app(task("web0", app="/web"), name="/web", net=network("g"))
DB = app(task("db0", app="/db"), name="/db", net=network("g", "h"))
PLAIN = app(task("plain0", app="/plain"), name="/plain", net=network())
APPS = (WEB, DB, PLAIN)


@pytest.fixture
def cluster() -> Cluster:
    """Three apps with tasks, two of them with groups, on Marathon 1.4."""
    cluster = Cluster()
    cluster.marathon.release = OLD
    cluster.connect()
    for each in APPS:
        cluster.run(each)
    assert len(cluster.specs()) == 3
    return cluster


def migrate(made: App, *more: str, groups: tuple[str, ...] = (), version: str = V1) -> App:
    """An app as Marathon 1.5 shows it, with these tasks added."""
    added = (task(name, app=made.id, version=version) for name in more)
    return replace(
        made,
        networks=(network(*groups, form=NetworkForm.NETWORKS, name="calico"),),
        tasks=(*made.tasks, *added),
        version=version,
        config_version=version,
    )


def upgrade(cluster: Cluster) -> None:
    """Marathon comes back as a newer one."""
    cluster.marathon.release = NEW
    for each in APPS:
        cluster.marathon.put(migrate(each))
    cluster.connect()


def pinned(cluster: Cluster) -> str:
    stored = cluster.store.get(CLUSTER)
    assert stored is not None
    return decode_cluster(stored.value).marathon


def add(cluster: Cluster, made: App, name: str, **more: object) -> None:
    """A new task of an app begins, whose container was given an address."""
    changed = migrate(made, name, **more)
    addresses = attach(cluster.store, ContainerId(f"box-{name}"), runs=name)
    begun = replace(changed.tasks[-1], addresses=addresses)
    cluster.marathon.put(replace(changed, tasks=(*made.tasks, begun)))
    cluster.event(begun, TaskState.RUNNING)


def test_the_highest_version_is_pinned(cluster: Cluster) -> None:
    assert pinned(cluster) == OLD
    cluster.marathon.release = "1.4.14"
    cluster.after(100)
    assert pinned(cluster) == "1.4.14"
    cluster.marathon.release = OLD
    cluster.after(100)
    assert pinned(cluster) == "1.4.14"


def test_apps_that_lost_their_groups_are_told_and_keep_what_runs(cluster: Cluster) -> None:
    before = cluster.specs()
    upgrade(cluster)
    cluster.after(300)
    held = cluster.holds()[HoldKind.GROUPS]
    assert held.subjects == ("/db", "/web")
    assert held.reason == "Marathon's upgrade dropped the groups of 2 apps"
    assert cluster.specs() == before
    assert pinned(cluster) == OLD


def test_their_new_tasks_wait_and_those_of_others_do_not(cluster: Cluster) -> None:
    upgrade(cluster)
    add(cluster, WEB, "web1")
    add(cluster, PLAIN, "plain1")
    record = cluster.records()["web1"]
    assert (record.verdict, record.reason) == (TaskVerdict.PENDING, WITHHELD)
    assert "web1" not in cluster.specs()
    assert "plain1" in cluster.specs()


def test_a_task_that_starts_before_the_first_list_after_the_upgrade_waits(
    cluster: Cluster,
) -> None:
    cluster.marathon.release = NEW
    changed = migrate(WEB, "web1")
    cluster.marathon.put(changed)
    cluster.loop.handle(TaskStatus(WEB.id, changed.tasks[-1].id, TaskState.RUNNING, "h1"))
    cluster.connect()
    assert "web1" not in cluster.specs()


def end_all(cluster: Cluster, made: App) -> App:
    """Every task of an app ends; the app without them."""
    alone = replace(made, tasks=())
    cluster.marathon.put(alone)
    for each in made.tasks:
        cluster.event(each, TaskState.FAILED)
    return alone


def test_a_task_waits_also_where_nobody_has_told_of_the_upgrade_yet(cluster: Cluster) -> None:
    # given a connection that stands, and a timed list that is far off
    cluster.marathon.release = NEW
    for each in APPS:
        cluster.marathon.put(migrate(each))

    add(cluster, migrate(WEB), "web1")

    assert cluster.records()["web1"].reason == WITHHELD
    assert set(cluster.specs()) == {"web0", "db0", "plain0"}


def test_an_app_whose_last_task_with_groups_has_ended_waits_too(cluster: Cluster) -> None:
    upgrade(cluster)
    alone = end_all(cluster, migrate(WEB))
    add(cluster, alone, "web1")
    cluster.after(100)
    assert cluster.records()["web1"].reason == WITHHELD
    assert cluster.holds()[HoldKind.GROUPS].subjects == ("/db", "/web")


def test_an_app_whose_last_task_ends_before_the_first_list_after_the_upgrade_waits(
    cluster: Cluster,
) -> None:
    cluster.marathon.release = NEW
    cluster.reconciler.note_connected(cluster.marathon.leader)
    alone = end_all(cluster, migrate(WEB))
    add(cluster, alone, "web1")
    assert cluster.records()["web1"].reason == WITHHELD
    cluster.connect()
    assert cluster.records()["web1"].reason == WITHHELD
    assert "/web" in cluster.holds()[HoldKind.GROUPS].subjects


def test_an_app_that_names_its_groups_goes_on_at_once(cluster: Cluster) -> None:
    upgrade(cluster)
    add(cluster, WEB, "web1", groups=("g",), version=V3)
    assert cluster.records()["web1"].groups == ("g",)
    assert "web1" in cluster.specs()
    cluster.after(100)
    assert cluster.holds()[HoldKind.GROUPS].subjects == ("/db",)
    cluster.marathon.put(migrate(DB, groups=("g", "h"), version=V3))
    cluster.after(100)
    assert cluster.holds() == {}
    assert pinned(cluster) == NEW


def test_a_later_version_without_groups_is_of_the_same_loss(cluster: Cluster) -> None:
    upgrade(cluster)
    add(cluster, WEB, "web1", version=V3)
    cluster.after(100)
    assert "web1" not in cluster.specs()
    assert "/web" in cluster.holds()[HoldKind.GROUPS].subjects


@pytest.mark.parametrize("restarted", [(WEB,), (WEB, DB)], ids=["one of two", "all"])
def test_an_app_that_is_restarted_within_the_upgrade_has_lost_its_groups(
    cluster: Cluster, restarted: tuple[App, ...]
) -> None:
    # given an upgrade, after which somebody restarts apps before the first look
    cluster.marathon.release = NEW
    for each in APPS:
        cluster.marathon.put(migrate(each))
    for each in restarted:
        cluster.marathon.put(migrate(each, f"new-{each.id[1:]}", version=V3))
    cluster.connect()
    # then that is told, and new tasks wait
    assert cluster.holds()[HoldKind.GROUPS].subjects == ("/db", "/web")
    assert cluster.records()["new-web"].reason == WITHHELD
    assert pinned(cluster) == OLD
    # and an owner's own will by an approval
    cluster.approve(HoldKind.GROUPS)
    cluster.after(100)
    assert cluster.records()["new-web"].reason == "no address reported by Mesos"
    assert HoldKind.GROUPS not in cluster.holds()


def test_an_approval_lets_their_new_tasks_in_without_groups_and_for_good(
    cluster: Cluster,
) -> None:
    upgrade(cluster)
    add(cluster, WEB, "web1")
    cluster.approve(HoldKind.GROUPS)
    cluster.connect()
    assert cluster.records()["web1"].groups == ()
    assert "web1" in cluster.specs()
    assert cluster.records()["web0"].groups == ("g",)
    assert cluster.holds() == {}
    assert pinned(cluster) == NEW
    cluster.start()
    cluster.connect()
    add(cluster, DB, "db1")
    assert "db1" in cluster.specs()
    assert cluster.holds() == {}


def hide(cluster: Cluster, made: App, shown: str) -> None:
    """Marathon shows an app as nonsense, or not at all."""
    del cluster.marathon.current[made.id]
    if shown == "nonsense":
        cluster.marathon.problems = (*cluster.marathon.problems, Problem(made.id, "?"))


SHOWN = pytest.mark.parametrize("shown", ["nothing", "nonsense"])


@SHOWN
def test_an_approval_ends_the_wait_while_another_app_is_not_shown(
    cluster: Cluster, shown: str
) -> None:
    upgrade(cluster)
    hide(cluster, DB, shown)
    cluster.connect()
    held = cluster.holds()[HoldKind.GROUPS]
    assert held.subjects == ("/db", "/web")
    cluster.approve(HoldKind.GROUPS)
    cluster.connect()
    add(cluster, WEB, "web1")
    assert "web1" in cluster.specs()
    assert HoldKind.GROUPS not in cluster.holds()
    assert pinned(cluster) == NEW


@SHOWN
def test_an_app_that_is_not_shown_waits_alone_once_the_others_are_mended(
    cluster: Cluster, shown: str
) -> None:
    # given two apps that lost their groups
    upgrade(cluster)
    both = cluster.holds()[HoldKind.GROUPS]
    assert both.subjects == ("/db", "/web")
    # when one is mended and Marathon shows the other no more
    cluster.marathon.put(migrate(WEB, groups=("g",), version=V3))
    hide(cluster, DB, shown)
    cluster.after(100)
    # then the hold names that alone, with a plan of its own
    alone = cluster.holds()[HoldKind.GROUPS]
    assert alone.subjects == ("/db",)
    assert alone.plan != both.plan
    assert alone.reason == (
        "Marathon's upgrade may have dropped the groups of 1 app that it does not show"
    )
    assert pinned(cluster) == OLD
    # and an approval ends it
    cluster.approve(HoldKind.GROUPS)
    cluster.after(100)
    assert HoldKind.GROUPS not in cluster.holds()
    assert pinned(cluster) == NEW


@SHOWN
def test_an_app_that_waits_without_any_task_stays_held_by_a_list_that_lacks_it(
    cluster: Cluster, shown: str
) -> None:
    upgrade(cluster)
    alone = end_all(cluster, migrate(WEB))
    hide(cluster, WEB, shown)
    cluster.after(100)
    add(cluster, alone, "web1")
    cluster.after(1)
    assert cluster.records()["web1"].reason == WITHHELD


def test_the_next_controller_knows_of_the_upgrade(cluster: Cluster) -> None:
    upgrade(cluster)
    cluster.start()
    add(cluster, WEB, "web1")
    cluster.connect()
    cluster.after(100)
    assert "web1" not in cluster.specs()
    assert "/web" in cluster.holds()[HoldKind.GROUPS].subjects


def test_a_marathon_that_does_not_say_its_version_ends_no_wait(cluster: Cluster) -> None:
    upgrade(cluster)
    cluster.marathon.unnamed = UNAVAILABLE
    cluster.start()
    add(cluster, WEB, "web1")
    cluster.connect()
    cluster.after(100)
    assert "web1" not in cluster.specs()
    assert HoldKind.GROUPS in cluster.holds()


@SHOWN
def test_an_app_that_a_list_does_not_show_may_have_lost_its_groups(
    cluster: Cluster, shown: str
) -> None:
    # given an upgrade after which the first lists lack what lost its groups
    cluster.marathon.release = NEW
    for each in (WEB, DB):
        hide(cluster, each, shown)
    cluster.marathon.put(migrate(PLAIN))
    cluster.connect()
    cluster.after(20)
    assert cluster.holds()[HoldKind.GROUPS].subjects == ("/db", "/web")
    assert pinned(cluster) == OLD
    # when they are shown
    cluster.marathon.problems = ()
    upgrade(cluster)
    # then nothing was settled before
    assert cluster.holds()[HoldKind.GROUPS].subjects == ("/db", "/web")


def test_an_upgrade_that_drops_nothing_is_accepted_at_once(cluster: Cluster) -> None:
    cluster.marathon.release = NEW
    cluster.marathon.put(migrate(WEB, groups=("g",)))
    cluster.marathon.put(migrate(DB, groups=("g", "h")))
    cluster.marathon.put(migrate(PLAIN))
    cluster.connect()
    assert cluster.holds() == {}
    assert pinned(cluster) == NEW


def test_groups_that_are_taken_away_later_are_taken_away(cluster: Cluster) -> None:
    cluster.marathon.release = NEW
    for each, groups in ((WEB, ("g",)), (DB, ("g", "h")), (PLAIN, ())):
        cluster.marathon.put(migrate(each, groups=groups))
    cluster.connect()
    add(cluster, WEB, "web1", version=V3)
    assert cluster.records()["web1"].groups == ()
    assert "web1" in cluster.specs()
    cluster.after(100)
    assert cluster.holds() == {}
