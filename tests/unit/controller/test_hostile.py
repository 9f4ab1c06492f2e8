"""The controller against what Marathon, agents, operators and crashes really do."""

import json
import threading
from dataclasses import replace

import pytest
from netaddr import IPNetwork

from calico.codec import encode_host
from calico.datastore.api import Key, Revision, Watch
from calico.datastore.memory import MemoryDatastore
from calico.errors import DatastoreUnavailable
from calico.keys import (
    HANDLES,
    HOSTS,
    endpoint_key,
    host_key,
    pool_key,
    profile_key,
    task_key,
)
from calico.model import (
    AppliedRecord,
    BootId,
    HostName,
    Pool,
    ProfileId,
    TaskId,
    TaskVerdict,
)
from marathon_client.errors import InvalidApp
from marathon_client.models import App, AppId, AppList, TaskState
from reconciler.core.removal.quarantine import REST
from reconciler.runtime.clock import ManualClock
from reconciler.runtime.lease import TTL, Lease
from reconciler.runtime.watchfeed import FeedMessage, Loaded, WatchFeed
from tests.unit.controller.cluster import Cluster, MemoryMarathon
from tests.unit.reconciler.apps import HOST, V1, V2, V3, app, network, task

LEADER = Key("/marathon-calico/v1/leader")


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.connect()
    return made


def many(count: int) -> App:
    return app(*(task(f"t{number}") for number in range(count)))


def test_a_record_that_cannot_be_read_is_written_anew(cluster: Cluster) -> None:
    cluster.run(app(task("t")))
    cluster.store.put(task_key(TaskId("t")), '{"verdict": "of a later version"}')
    cluster.after(100)
    assert cluster.records()["t"].verdict is TaskVerdict.ACCEPTED


def test_an_endpoint_that_cannot_be_read_is_written_anew(cluster: Cluster) -> None:
    cluster.run(app(task("t")))
    before = cluster.specs()
    cluster.store.put(endpoint_key(before["t"].id), "junk")
    cluster.after(100)
    assert cluster.specs() == before


def test_a_list_that_was_held_is_not_the_first_of_two(cluster: Cluster) -> None:
    whole = many(100)
    cluster.run(whole)
    cluster.marathon.current.clear()
    cluster.after(100)
    cluster.marathon.put(replace(whole, tasks=whole.tasks[:95]))
    cluster.connect()
    assert len(cluster.specs()) == 100


def test_an_end_that_was_not_is_no_evidence_later(cluster: Cluster) -> None:
    made = app(task("t"))
    cluster.run(made)
    cluster.event(made.tasks[0], TaskState.KILLED)
    cluster.event(made.tasks[0], TaskState.RUNNING)
    cluster.after(600)
    cluster.marathon.current.clear()
    cluster.connect()
    assert set(cluster.specs()) == {"t"}
    assert cluster.holds()


def test_an_event_ahead_of_the_list_does_not_press_marathon(cluster: Cluster) -> None:
    made = app(task("t"))
    cluster.run(made)
    before = cluster.marathon.reads
    cluster.event(made.tasks[0], TaskState.KILLED)
    for _ in range(600):
        cluster.clock.advance(0.1)
        cluster.settle()
    assert cluster.marathon.reads - before < 30


def test_an_accepted_task_that_is_listed_without_host_keeps_everything(cluster: Cluster) -> None:
    made = app(task("t"))
    cluster.run(made)
    before = cluster.records(), cluster.specs()
    lost = replace(made.tasks[0], state=TaskState.UNREACHABLE, host=None)
    cluster.marathon.put(replace(made, tasks=(lost,)))
    cluster.connect()
    assert (cluster.records(), cluster.specs()) == before
    cluster.kill(made, made.tasks[0])
    assert cluster.specs() == {}


@pytest.mark.parametrize(
    ("host", "boot"),
    [
        pytest.param("h2", "boot", id="another host's"),
        pytest.param("h1", "earlier", id="its own, of an earlier boot"),
    ],
)
def test_only_the_agent_of_its_own_host_proves_a_task_gone(
    cluster: Cluster, host: str, boot: str
) -> None:
    made = many(20)
    cluster.run(made)
    cluster.marathon.current.clear()
    word = AppliedRecord(
        HostName(host),
        BootId(boot),
        cluster.store.list(HOSTS).revision,
        tuple(TaskId(each.id) for each in made.tasks),
    )
    cluster.tell(word)
    cluster.applied(hosts=())
    assert len(cluster.specs()) == 20


class WithoutOldVersions(MemoryMarathon):
    """A Marathon that fails to tell what an older version of an app was."""

    lists = 0

    def apps(self) -> AppList:
        self.lists += 1
        return super().apps()

    def app_version(self, app_id: AppId, version: str) -> App | None:
        raise InvalidApp(f"{app_id}: version {version} is malformed")


def test_a_version_that_cannot_be_read_stops_only_its_own_tasks() -> None:
    cluster = Cluster(marathon=WithoutOldVersions())
    cluster.connect()
    cluster.run(app(task("old")))
    newer = app(
        task("old"),
        task("between", version=V2),
        task("new", version=V3),
        version=V3,
        config_version=V3,
    )
    cluster.run(newer)
    assert "new" in cluster.specs()
    cluster.kill(newer, newer.tasks[0])
    assert "old" not in cluster.specs()


@pytest.mark.parametrize(
    "name", [pytest.param("t", id="no app"), pytest.param("old", id="one app")]
)
def test_an_app_that_cannot_be_brought_asks_for_no_complete_list(name: str) -> None:
    # given a list that is due twice in two minutes, and one app of which a version is not read
    marathon = WithoutOldVersions()
    cluster = Cluster(marathon=marathon)
    version = V2 if name == "old" else V1
    marathon.put(app(task(name), version=version, config_version=version))
    marathon.put(app(task("b.1", app="/b"), name="/b"))
    cluster.connect()
    assert "b.1" in cluster.specs()

    before = marathon.lists
    cluster.after(125)

    assert marathon.lists - before == 2


def test_a_pool_that_gives_no_addresses_is_asked_for_none() -> None:
    cluster = Cluster(
        pools=(Pool(IPNetwork("10.9.0.0/24")), Pool(IPNetwork("fd00::/64"), ipam=False))
    )
    cluster.connect()
    cluster.run(app(task("t")))
    assert set(cluster.specs()) == {"t"}


def test_a_pool_of_ipv6_that_comes_later_opens_echo_of_ipv6(cluster: Cluster) -> None:
    pool = {"cidr": "fd00::/64", "ipam": True, "masquerade": False, "disabled": False}
    cluster.store.put(pool_key(IPNetwork("fd00::/64")), json.dumps(pool))
    cluster.connect()
    cluster.run(app(task("t")))
    rules = cluster.store.get(profile_key(cluster.specs()["t"].profiles[-1], "rules"))
    assert rules is not None
    assert "icmpv6" in rules.value


def test_a_host_with_a_new_address_is_let_in_at_once(cluster: Cluster) -> None:
    cluster.run(app(task("t")))
    moved = replace(HOST, address=IPNetwork("172.31.0.77").ip)
    cluster.store.put(host_key(HOST.name), encode_host(moved))
    cluster.applied()
    rules = cluster.store.get(profile_key(ProfileId("default_h1"), "rules"))
    assert rules is not None
    assert "172.31.0.77" in rules.value


def test_a_task_that_waits_for_an_address_gets_it_when_it_is_free(cluster: Cluster) -> None:
    fixed = network("g", labels=(("ipv4_addrs", "['192.168.7.5']"),))
    old = app(task("t"), net=fixed)
    cluster.run(old)
    both = replace(old, tasks=(task("t"), task("u")))
    cluster.run(both)
    cluster.kill(both, both.tasks[0])
    cluster.applied()
    cluster.after(10)
    assert set(cluster.specs()) == {"u"}


def test_a_second_instance_at_a_fixed_address_is_told_that_there_can_be_one(
    cluster: Cluster,
) -> None:
    fixed = network("g", labels=(("ipv4_addrs", "['192.168.7.5']"),))
    cluster.run(app(task("t"), task("u"), net=fixed))
    waiting = [each for each in cluster.records().values() if each.reason]
    assert len(waiting) == 1
    assert waiting[0].verdict is TaskVerdict.PENDING
    assert "waits for its end: an app with a fixed address has one instance" in waiting[0].reason


def test_a_fixed_address_rests_before_another_app_gets_it(cluster: Cluster) -> None:
    fixed = network("g", labels=(("ipv4_addrs", "['192.168.7.5']"),))
    made = app(task("t"), net=fixed)
    cluster.run(made)
    cluster.kill(made, made.tasks[0])
    cluster.applied()
    cluster.after(10)
    cluster.run(app(task("x", app="/b"), name="/b", net=fixed))
    assert cluster.specs() == {}
    record = cluster.records()["x"]
    assert record.verdict is TaskVerdict.PENDING
    assert "192.168.7.5 is taken by t; waits for its release" in record.reason
    for _ in range(2):
        cluster.applied()
        cluster.after(REST)
    assert set(cluster.specs()) == {"x"}


def test_tasks_that_wait_for_marathon_are_not_read_anew_for_every_host() -> None:
    cluster = Cluster(*(f"h{number}" for number in range(10)))
    cluster.connect()
    for number in range(30):
        name = f"/a{number}"
        cluster.run(app(task(f"t{number}", app=name), name=name, net=network(name="calico")))
    before = cluster.marathon.reads
    for number in range(10):
        cluster.applied(hosts=(f"h{number}",))
    assert cluster.marathon.reads - before <= 30


def test_a_host_whose_record_cannot_be_read_has_not_let_go(cluster: Cluster) -> None:
    made = many(2)
    cluster.run(made)
    cluster.kill(made, made.tasks[0])
    cluster.store.put(host_key(HostName("h2")), "{}")
    cluster.applied(hosts=("h1",))
    cluster.after(REST + 60)
    handles = {stored.key.rpartition("/")[2] for stored in cluster.store.list(HANDLES).entries}
    assert handles == {"t0", "t1"}


def test_an_endpoint_of_ours_that_lost_its_record_is_withdrawn(cluster: Cluster) -> None:
    made = many(2)
    cluster.run(made)
    cluster.store.delete(task_key(TaskId("t0")))
    cluster.marathon.put(replace(made, tasks=made.tasks[1:]))
    cluster.start()
    cluster.connect()
    cluster.after(200)
    assert set(cluster.specs()) == {"t1"}


class LosesReplies(MemoryDatastore):
    """The next write is done and not answered."""

    lose = False

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        revision = super().put(key, value, expect=expect, ttl=ttl)
        if self.lose:
            self.lose = False
            raise DatastoreUnavailable("the answer was lost")
        return revision


def test_a_lease_that_was_won_without_an_answer_is_recognised() -> None:
    clock = ManualClock()
    store = LosesReplies(clock.monotonic)
    lease = Lease(store, LEADER, "one", clock)
    store.lose = True
    with pytest.raises(DatastoreUnavailable):
        lease.keep()
    clock.advance(2)
    assert lease.keep()


def test_a_renewal_that_was_refused_prolongs_nothing() -> None:
    clock = ManualClock()
    store = LosesReplies(clock.monotonic)
    one, two = Lease(store, LEADER, "one", clock), Lease(store, LEADER, "two", clock)
    one.keep()
    clock.advance(2)
    store.lose = True
    with pytest.raises(DatastoreUnavailable):
        one.keep()
    # The answer is waited for, then asked again; then nothing reaches the store.
    clock.advance(7)
    one.keep()
    clock.advance(TTL - 6)
    assert not (two.keep() and one.held)


class Unwatchable(MemoryDatastore):
    """Lists, and refuses every watch."""

    def watch(self, prefix: Key, after: Revision, timeout: float) -> Watch:
        raise DatastoreUnavailable(f"{prefix} after {after}: a proxy cuts what takes {timeout} s")


def test_a_store_that_lists_but_cannot_be_watched_is_not_pressed() -> None:
    heard: list[FeedMessage] = []
    enough, stop = threading.Event(), threading.Event()

    def post(message: FeedMessage) -> None:
        heard.append(message)
        if len(heard) > 100:
            enough.set()
            stop.set()

    store = Unwatchable()
    thread = WatchFeed(Key("/calico"), lambda: store, post, stop).start()
    pressed = enough.wait(1.0)
    stop.set()
    thread.join(10)
    assert not pressed
    assert any(isinstance(message, Loaded) for message in heard)
