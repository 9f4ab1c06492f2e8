"""Small wrong lists: what is asked before a task loses its network without evidence."""

from dataclasses import replace

import pytest

from calico.cluster import HoldKind
from calico.codec import decode_host, encode_applied, encode_host, encode_status
from calico.keys import applied_key, endpoint_key, felix_status_key, host_key, status_key
from calico.model import (
    AppliedRecord,
    BootId,
    EndpointState,
    EndpointStatus,
    HostName,
    TaskId,
)
from calico.names import endpoint_of_task
from marathon_client.models import App, AppId, AppList, TaskState
from reconciler.controller.removal.confirmation import MOST_APPS
from reconciler.core.removal.withdrawal import CONFIRM_AFTER
from tests.unit.controller.cluster import UNAVAILABLE, Cluster, MemoryMarathon
from tests.unit.reconciler.apps import app, task

LONG = 5 * CONFIRM_AFTER
WHOLE = app(*(task(f"t{number}") for number in range(5)))
LESS = replace(WHOLE, tasks=WHOLE.tasks[1:])


class TwoFacedMarathon(MemoryMarathon):
    """Its list may lack what its apps name, and take its time."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: dict[AppId, App] | None = None
        self.alone_fails = False
        self.takes = lambda: None
        self.asked_alone: list[AppId] = []

    def app(self, app_id: AppId) -> App | None:
        self.asked_alone.append(app_id)
        if self.alone_fails:
            raise UNAVAILABLE
        return super().app(app_id)

    def apps(self) -> AppList:
        answer = super().apps()
        if self.listed is not None:
            answer = replace(answer, apps=tuple(self.listed.values()))
        self.takes()
        return answer


@pytest.fixture
def marathon() -> TwoFacedMarathon:
    return TwoFacedMarathon()


@pytest.fixture
def cluster(marathon: TwoFacedMarathon) -> Cluster:
    """Five tasks that run."""
    cluster = Cluster(marathon=marathon)
    cluster.connect()
    cluster.run(WHOLE)
    assert len(cluster.specs()) == 5
    return cluster


def report(cluster: Cluster, state: EndpointState, *, boot: str = "boot", doubt: str = "") -> None:
    """The agent of t0's host says so, and that it is alive."""
    host = cluster.records()["t0"].host
    endpoint = endpoint_of_task(host, TaskId("t0"))
    cluster.store.put(status_key(endpoint), encode_status(EndpointStatus(state, 1)))
    cluster.store.put(felix_status_key(host), "{}")
    applied = AppliedRecord(host, BootId(boot), 1, doubt=doubt)
    cluster.store.put(applied_key(host), encode_applied(applied))
    cluster.tell_hosts()


def test_what_its_host_reports_up_is_held_though_it_is_one_of_five(cluster: Cluster) -> None:
    report(cluster, EndpointState.UP)
    cluster.marathon.put(LESS)
    cluster.connect()
    cluster.after(LONG)
    assert "t0" in cluster.specs()
    held = cluster.holds()[HoldKind.TASKS]
    assert held.subjects == ("t0",)
    assert held.reason == "hosts report 1 absent task up"


def test_who_doubts_the_datastore_contradicts_too(cluster: Cluster) -> None:
    report(cluster, EndpointState.UP, doubt="etcd was set back")
    cluster.marathon.put(LESS)
    cluster.connect()
    cluster.after(LONG)
    assert "t0" in cluster.specs()
    assert HoldKind.TASKS in cluster.holds()


def test_an_agent_contradicts_as_soon_as_it_speaks_whatever_the_leader_has_heard(
    cluster: Cluster,
) -> None:
    # given a leader whose watches tell of the host's former boot only
    cluster.mute = True
    report(cluster, EndpointState.UP, boot="another")
    # when the agent of this one says it, and no watch tells of it
    host = cluster.records()["t0"].host
    cluster.say(AppliedRecord(host, BootId("boot"), 1))
    cluster.marathon.put(LESS)
    cluster.connect()
    cluster.after(LONG)
    # then that counts
    assert "t0" in cluster.specs()
    assert HoldKind.TASKS in cluster.holds()


def test_a_host_that_rebooted_contradicts_whatever_the_leader_has_heard(
    cluster: Cluster,
) -> None:
    # given a host that is registered anew after a reboot, of which no watch tells
    host = cluster.records()["t0"].host
    registered = decode_host(host, cluster.store.get(host_key(host)).value)
    report(cluster, EndpointState.UP)
    cluster.mute = True
    cluster.store.put(host_key(host), encode_host(replace(registered, boot_id=BootId("next"))))
    cluster.say(AppliedRecord(host, BootId("next"), 1))
    cluster.marathon.put(LESS)
    cluster.connect()
    cluster.after(LONG)
    assert "t0" in cluster.specs()
    assert HoldKind.TASKS in cluster.holds()


def test_a_contradiction_lasts_however_many_lists_come_meanwhile(cluster: Cluster) -> None:
    report(cluster, EndpointState.UP)
    cluster.marathon.put(LESS)
    for _ in range(5):
        cluster.connect()
        cluster.after(10)
    assert HoldKind.TASKS in cluster.holds()


def test_a_task_that_ends_a_while_after_its_app_was_deleted_is_not_held(cluster: Cluster) -> None:
    report(cluster, EndpointState.UP)
    cluster.marathon.put(LESS)
    cluster.connect()
    cluster.after(CONFIRM_AFTER - 5)
    cluster.connect()
    assert cluster.holds() == {}
    assert "t0" in cluster.specs()
    cluster.event(WHOLE.tasks[0], TaskState.KILLED)
    assert "t0" not in cluster.specs()


@pytest.mark.parametrize("how", ["comes back", "is approved", "is proven gone", "goes down"])
def test_a_contradiction_ends(cluster: Cluster, how: str) -> None:
    report(cluster, EndpointState.UP)
    cluster.marathon.put(LESS)
    cluster.connect()
    cluster.after(LONG)
    assert HoldKind.TASKS in cluster.holds()
    if how == "comes back":
        cluster.marathon.put(WHOLE)
    elif how == "is approved":
        cluster.approve(HoldKind.TASKS)
    elif how == "is proven gone":
        cluster.applied(gone=("t0",))
    else:
        report(cluster, EndpointState.DOWN)
    cluster.after(LONG)
    assert cluster.holds() == {}
    assert ("t0" in cluster.specs()) is (how == "comes back")


@pytest.mark.parametrize(
    ("state", "boot"),
    [
        pytest.param(EndpointState.DOWN, "boot", id="down"),
        pytest.param(EndpointState.UP, "another", id="up, before the host's reboot"),
    ],
)
def test_only_a_credible_word_contradicts(
    cluster: Cluster, state: EndpointState, boot: str
) -> None:
    report(cluster, state, boot=boot)
    cluster.marathon.put(LESS)
    cluster.connect()
    cluster.after(LONG)
    assert "t0" not in cluster.specs()


def test_a_silent_host_contradicts_nothing(cluster: Cluster) -> None:
    report(cluster, EndpointState.UP)
    cluster.store.delete(felix_status_key(cluster.records()["t0"].host))
    cluster.marathon.put(LESS)
    cluster.connect()
    cluster.after(LONG)
    assert "t0" not in cluster.specs()


def test_who_was_contradicted_needs_two_lists_once_its_host_falls_silent(
    cluster: Cluster,
) -> None:
    report(cluster, EndpointState.UP)
    cluster.marathon.put(LESS)
    cluster.connect()
    cluster.after(LONG)
    cluster.store.delete(felix_status_key(cluster.records()["t0"].host))
    cluster.connect()
    assert "t0" in cluster.specs()


def test_what_its_app_still_names_is_kept_however_many_lists_lack_it(
    cluster: Cluster, marathon: TwoFacedMarathon
) -> None:
    marathon.listed = {WHOLE.id: LESS}
    cluster.connect()
    cluster.after(10 * CONFIRM_AFTER)
    assert "t0" in cluster.specs()
    assert cluster.holds() == {}


def test_what_its_app_named_at_last_needs_two_lists_from_then_on(
    cluster: Cluster, marathon: TwoFacedMarathon
) -> None:
    marathon.listed = {WHOLE.id: LESS}
    cluster.connect()
    cluster.after(LONG)
    marathon.put(LESS)
    cluster.connect()
    assert "t0" in cluster.specs()
    cluster.after(LONG)
    assert "t0" not in cluster.specs()


def test_an_app_that_does_not_answer_ends_nothing(
    cluster: Cluster, marathon: TwoFacedMarathon
) -> None:
    marathon.put(LESS)
    marathon.alone_fails = True
    cluster.connect()
    cluster.after(10 * CONFIRM_AFTER)
    assert "t0" in cluster.specs()
    marathon.alone_fails = False
    cluster.after(3 * CONFIRM_AFTER)
    assert "t0" not in cluster.specs()


def test_an_app_that_is_gone_as_a_whole_ends_its_tasks(
    cluster: Cluster, marathon: TwoFacedMarathon
) -> None:
    other = app(task("x", app="/b"), name="/b")
    cluster.run(other)
    del marathon.current[AppId("/b")]
    cluster.connect()
    assert "x" in cluster.specs()
    cluster.after(2 * CONFIRM_AFTER)
    assert "x" not in cluster.specs()
    assert AppId("/b") in marathon.asked_alone


def test_a_marathon_that_does_not_answer_is_asked_for_one_app_only(
    cluster: Cluster, marathon: TwoFacedMarathon
) -> None:
    # given two apps that are gone unseen
    for name in ("x", "y"):
        cluster.run(app(task(name, app=f"/{name}"), name=f"/{name}"))
    del marathon.current[AppId("/x")], marathon.current[AppId("/y")]
    cluster.connect()
    # when the reads hang that should confirm it
    marathon.alone_fails = True
    cluster.clock.advance(CONFIRM_AFTER)
    marathon.asked_alone.clear()
    cluster.connect()
    # then not all of them do
    assert marathon.asked_alone == [AppId("/x")]
    assert {"x", "y"} <= set(cluster.specs())


def test_no_list_asks_for_more_than_so_many_apps(
    cluster: Cluster, marathon: TwoFacedMarathon
) -> None:
    # given many apps of one task each, and a tenth of them gone unseen
    many = [app(task(f"m{n}", app=f"/m{n}"), name=f"/m{n}") for n in range(12 * MOST_APPS)]
    for each in many:
        marathon.put(each)
    cluster.connect()
    assert len(cluster.specs()) == 5 + 12 * MOST_APPS
    gone = many[: MOST_APPS + 5]
    for each in gone:
        del marathon.current[each.id]
    cluster.connect()
    # when the list comes that confirms it
    cluster.clock.advance(CONFIRM_AFTER)
    marathon.asked_alone.clear()
    cluster.connect()
    # then the rest waits for another one
    assert len(marathon.asked_alone) <= MOST_APPS
    assert len(cluster.specs()) == 5 + 12 * MOST_APPS - MOST_APPS
    cluster.after(2 * CONFIRM_AFTER)
    assert len(cluster.specs()) == 5 + 12 * MOST_APPS - len(gone)


def test_a_list_shows_what_was_when_it_was_asked_for(
    cluster: Cluster, marathon: TwoFacedMarathon
) -> None:
    # given a list that lacks a task
    marathon.put(LESS)
    cluster.connect()
    # when the next one is asked for at once, and takes longer than two should be apart
    marathon.takes = lambda: cluster.clock.advance(CONFIRM_AFTER + 5)
    cluster.connect()
    # then both may be of the same moment
    assert "t0" in cluster.specs()


def test_records_without_an_endpoint_hold_nobody_back(cluster: Cluster) -> None:
    # given many tasks on a host without an agent, that have a record and no network
    waiting = [task(f"w{number}", app="/b", host="nowhere") for number in range(20)]
    cluster.run(app(*waiting, name="/b"))
    assert len(cluster.records()) == 25
    assert len(cluster.specs()) == 5
    # when they vanish unseen, and one that runs does
    cluster.marathon.put(replace(app(name="/b"), tasks=()))
    cluster.marathon.put(LESS)
    cluster.connect()
    cluster.after(2 * CONFIRM_AFTER)
    # then nothing is held
    assert cluster.holds() == {}
    assert set(cluster.records()) == {"t1", "t2", "t3", "t4"}


def test_an_endpoint_without_a_record_needs_two_lists(cluster: Cluster) -> None:
    spec = cluster.specs()["t0"]
    stray = endpoint_of_task(HostName("h1"), TaskId("stray"))
    stored = cluster.store.get(endpoint_key(spec.id))
    assert stored is not None
    cluster.store.put(endpoint_key(stray), stored.value)
    cluster.connect()
    assert "stray" in cluster.specs()
    cluster.after(2 * CONFIRM_AFTER)
    assert "stray" not in cluster.specs()
