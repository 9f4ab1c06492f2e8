"""One hostile app among a thousand: how much more is done before another is served."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from calico.datastore.api import Key, Listing, Revision, Stored
from calico.datastore.memory import MemoryDatastore
from calico.keys import endpoint_key
from calico.model import HostName
from calico.names import endpoint_of_task
from marathon_client.errors import InvalidApp, MarathonUnavailable
from marathon_client.events import TaskStatus
from marathon_client.models import App, AppId, TaskState
from marathon_client.stream import Connected
from reconciler.controller.scheduling.agenda import READ_EVERY
from tests.unit.controller.cluster import Cluster, MemoryMarathon
from tests.unit.reconciler.apps import V2, app, network, task

APPS = 1000
#: Others that change at the same time, and how often the one speaks meanwhile.
CHANGED = 40
SHOUTS = 25
MOST = 1.2
EVIL = AppId("/app500")


class Counted(MemoryDatastore):
    """A store that counts what it is asked."""

    operations = 0

    def get(self, key: Key) -> Stored | None:
        self.operations += 1
        return super().get(key)

    def list(self, prefix: Key) -> Listing:
        self.operations += 1
        return super().list(prefix)

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        self.operations += 1
        return super().put(key, value, expect=expect, ttl=ttl)

    def delete(self, key: Key, *, expect: Revision | None = None) -> None:
        self.operations += 1
        super().delete(key, expect=expect)


class Marathon(MemoryMarathon):
    """Answers for one app in its own way."""

    def __init__(self, refusal: Exception | None) -> None:
        super().__init__()
        self._refusal = refusal

    def app(self, app_id: AppId) -> App | None:
        found = super().app(app_id)
        if app_id == EVIL and self._refusal is not None:
            raise self._refusal
        return found


def plain(number: int) -> App:
    name = f"/app{number}"
    return app(task(f"t{number}", app=name), name=name, net=network("g"))


def named(*tasks: str) -> App:
    return app(*(task(each, app=EVIL) for each in tasks), name=EVIL, net=network("g"))


def nobody() -> App:
    return plain(500)


def bad_ids() -> App:
    return named("../../owned", "_hidden", "a b", "x" * 500, *(f"bad/{n}" for n in range(20)))


def many_groups() -> App:
    groups = tuple(f"group-{number}" for number in range(10_000))
    return replace(named("t500"), networks=(replace(network("g"), groups=groups),))


def unknown_versions() -> App:
    made = named(*(f"t500-{number}" for number in range(20)))
    old = tuple(replace(each, version=V2) for each in made.tasks)
    return replace(made, tasks=old)


def settle(cluster: Cluster) -> None:
    """Work until nothing is due; a thousand apps take more steps than a few."""
    for _ in range(20 * APPS):
        if not cluster.loop.step():
            return
    raise AssertionError("the loop does not come to rest")


def delays(
    evil: App, refusal: Exception | None, measure: Callable[[], float] | None = None
) -> Iterator[float]:
    """What is done from the word on each changed app until its task has a network.

    Or how much of something else goes by, such as seconds.
    """
    store = Counted()
    cluster = Cluster(store=store, marathon=Marathon(refusal))
    for number in range(APPS):
        cluster.marathon.current[AppId(f"/app{number}")] = plain(number)
    cluster.marathon.current[EVIL] = evil
    cluster.loop.handle(Connected("http://marathon", cluster.marathon.leader))
    settle(cluster)
    for number in range(CHANGED):
        name = AppId(f"/app{number}")
        new = task(f"new{number}", app=name)
        before = cluster.marathon.current[name]
        cluster.marathon.put(replace(before, tasks=(*before.tasks, new)))
        cluster.clock.advance(READ_EVERY)
        done = measure or (lambda: store.operations + cluster.marathon.reads)
        began = done()
        for shout in range(SHOUTS):
            each = evil.tasks[shout % len(evil.tasks)]
            cluster.loop.handle(TaskStatus(EVIL, each.id, TaskState.RUNNING, each.host))
        cluster.loop.handle(TaskStatus(name, new.id, TaskState.RUNNING, new.host))
        wanted = endpoint_key(endpoint_of_task(HostName("h1"), new.id))
        while MemoryDatastore.get(store, wanted) is None:
            assert cluster.loop.step(), "it is not served"
        yield done() - began
        settle(cluster)


def usual(evil: App) -> App:
    """An app of as many tasks with nothing to object to."""
    return named(*(f"t500-{number}" for number in range(len(evil.tasks))))


Hostile = tuple[Callable[[], App], Exception | None]
#: What an app may do to others, by name.
HOSTILE: dict[str, Hostile] = {
    "an app that cannot be read": (nobody, InvalidApp("it has no id")),
    "an app that Marathon fails for": (nobody, MarathonUnavailable("500")),
    "tasks whose ids are paths": (bad_ids, None),
    "ten thousand groups": (many_groups, None),
    "tasks of versions that nobody knows": (unknown_versions, None),
}


@pytest.mark.parametrize(
    ("make", "refusal"), [pytest.param(*each, id=name) for name, each in HOSTILE.items()]
)
def test_one_hostile_app_in_a_thousand_holds_up_no_other(
    make: Callable[[], App], refusal: Exception | None
) -> None:
    found = sum(delays(make(), refusal)) / CHANGED
    beside = sum(delays(usual(make()), None)) / CHANGED
    assert found <= MOST * beside, f"{found:.1f} operations, {beside:.1f} beside a usual app"
