"""A host that tells of tasks is not waited for in silence because of an app that fails."""

import pytest

from calico.cluster import HoldKind, ObjectionRecord
from calico.codec import decode_chain
from calico.keys import CHAIN
from calico.model import TaskVerdict
from marathon_client.errors import MarathonError, MarathonRejected, MarathonUnavailable
from marathon_client.models import AppId, Problem
from reconciler.controller.adoption.adoption import BROUGHT_WITHIN
from reconciler.controller.adoption.hearing import WAIT
from tests.unit.controller.objecting import (
    addresses,
    object_to,
    replace_store,
    running,
    told_by,
    wiped,
)
from tests.unit.reconciler.apps import V1, V2, app, task

WEB = app(task("web.1", app="/web"), name="/web")
#: As it is after a change of its configuration; its task runs the earlier one.
CHANGED = app(task("web.1", app="/web", version=V1), name="/web", version=V2, config_version=V2)
DB = app(task("db.1", app="/db", host="h2"), name="/db")
OTHER = app(task("o.1", app="/o", host="h2"), name="/o")
FAILURES = [
    pytest.param(MarathonUnavailable("http://marathon: 502"), id="502"),
    pytest.param(MarathonRejected("http://marathon: not JSON"), id="not JSON"),
]


class Late:
    """A store that others have begun to use, and hosts that tell of an earlier one."""

    def __init__(self, failure: MarathonError) -> None:
        self.cluster = cluster = running(WEB, DB)
        self.before = addresses(cluster)
        self.told = {each: told_by(cluster, each) for each in ("h1", "h2")}
        cluster.marathon.put(CHANGED)
        cluster.marathon.unread[AppId("/web")] = failure
        cluster.mute = True
        replace_store(cluster, wiped(cluster))
        cluster.after(WAIT + 1)
        assert cluster.loop.standing.opened

    def object(self, *hosts: str) -> None:
        """Have agents say that they do not believe it."""
        told: list[ObjectionRecord] = [self.told[each] for each in hosts]
        object_to(self.cluster, *told)

    def taken_over(self) -> tuple[str, ...]:
        chain = self.cluster.store.get(CHAIN)
        assert chain is not None
        return tuple(host for each in decode_chain(chain.value) for host in each.hosts)


@pytest.mark.parametrize("failure", FAILURES)
def test_an_app_that_fails_has_the_tasks_held_that_may_be_its_own(failure: MarathonError) -> None:
    late = Late(failure)
    cluster = late.cluster
    late.object("h1")
    cluster.after(BROUGHT_WITHIN)
    assert cluster.holds() == {}, "what fails may do so for a moment only"
    cluster.after(WAIT + 5)

    # then an operator is told what is missing, and of whom
    hold = cluster.holds()[HoldKind.STORE]
    assert hold.subjects == ("task web.1",)
    assert "tasks to which the controller gave no network: web.1; apps that fail" in hold.reason
    assert "/web; nothing changes on h1" in hold.reason

    # and its host goes on as it was, while others are served
    assert "h1" not in late.taken_over()
    cluster.run(OTHER)
    assert addresses(cluster).keys() == {"db.1", "o.1"}
    assert cluster.records()["web.1"].verdict is TaskVerdict.PENDING

    # until the app can be read
    cluster.marathon.unread.clear()
    cluster.after(80)
    assert cluster.holds() == {}
    assert addresses(cluster)["web.1"] == late.before["web.1"]
    assert late.taken_over() == ("h1",)


def test_a_host_that_would_cut_them_off_is_not_taken_over_before_them() -> None:
    late = Late(MarathonUnavailable("http://marathon: 502"))
    cluster = late.cluster
    late.object("h1", "h2")
    cluster.after(BROUGHT_WITHIN + WAIT + 5)

    # then the host of the other app's task goes on letting web.1 in
    assert late.taken_over() == ()
    assert "nothing changes on h1, h2" in cluster.holds()[HoldKind.STORE].reason

    # until the app can be read
    cluster.marathon.unread.clear()
    cluster.after(80)
    assert sorted(late.taken_over()) == ["h1", "h2"]
    assert cluster.holds() == {}


def test_an_app_that_the_list_does_not_explain_counts_as_one_that_fails() -> None:
    late = Late(MarathonUnavailable("http://marathon: 502"))
    cluster = late.cluster
    del cluster.marathon.current[AppId("/web")]
    cluster.marathon.problems = (Problem(AppId("/web"), "its ports are no list"),)
    late.object("h1", "h2")
    cluster.after(BROUGHT_WITHIN + WAIT + 5)

    assert late.taken_over() == ()
    hold = cluster.holds()[HoldKind.STORE]
    assert hold.subjects == ("task web.1",)
    assert "maybe theirs: /web; nothing changes on h1, h2" in hold.reason


def test_no_task_is_held_before_a_list_was_brought_in() -> None:
    late = Late(MarathonUnavailable("http://marathon: 502"))
    late.cluster.fail(MarathonUnavailable("http://marathon: 502"))
    late.object("h1")
    late.cluster.after(3 * BROUGHT_WITHIN)

    # Marathon may name every task: that it does not answer is what is told.
    assert late.cluster.holds() == {}
    assert "changes in Marathon are not followed" in late.cluster.loop.standing.waits
