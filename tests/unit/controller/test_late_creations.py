"""Endpoints whose first write lands long after their task has ended."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from netaddr import IPNetwork

from calico.codec import encode_endpoint
from calico.datastore.api import Key, Revision
from calico.datastore.memory import MemoryDatastore
from calico.errors import Conflict, DatastoreUnavailable
from calico.keys import ENDPOINTS, endpoint_key, parse_endpoint_key
from calico.model import EndpointId, HostName, Pool, TaskId
from calico.names import endpoint_of_task, reservation_of
from marathon_client.models import App, TaskState
from reconciler.controller.adoption.importing import Importer
from reconciler.controller.stored import StoredState
from reconciler.core.adoption import Holdings
from reconciler.runtime.lease import LeaseLost
from tests.unit.controller.cluster import Cluster
from tests.unit.reconciler.apps import app, network, task

POOL = Pool(IPNetwork("10.9.0.0/26"))
H1 = HostName("h1")
X1 = endpoint_of_task(H1, TaskId("x.1"))
KEY = endpoint_key(X1)
#: Any task of it has the one address.
NAMED = network("g", labels=(("ipv4_addrs", "['10.9.0.7']"),))
#: Seconds in which a leader finds what Marathon does not name: two lists and a half.
FOUND_WITHIN = 180


def of_x(name: str) -> App:
    return app(task(name, app="/x"), name="/x", net=NAMED)


class LateStore(MemoryDatastore):
    """A store that answers no write of one key from the n-th on, and does those when told to."""

    def __init__(self, key: Key) -> None:
        super().__init__()
        self._key = key
        self.answers: int | None = None
        self._late: list[Callable[[], object]] = []

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        put = super().put
        if key == self._key and self.answers is not None:
            if self.answers == 0:
                self._late.append(lambda: put(key, value, expect=expect, ttl=ttl))
                raise DatastoreUnavailable("no answer")
            self.answers -= 1
        return put(key, value, expect=expect, ttl=ttl)

    def catch_up(self) -> int:
        """Do what is on its way, as far as it still may be done; tells how much was."""
        late, self._late, self.answers = self._late, [], None
        for write in late:
            with suppress(Conflict):
                write()
        return len(late)


def keys(store: MemoryDatastore) -> set[Key]:
    listed = store.list(ENDPOINTS).entries
    return {each.key for each in listed if parse_endpoint_key(each.key) is not None}


def users(cluster: Cluster) -> set[str]:
    """The tasks whose endpoint has the address."""
    return {name for name, spec in cluster.specs().items() if spec.addresses}


def replace_task(cluster: Cluster) -> None:
    """Let the task end, and the next one have its address."""
    ended, begun = of_x("x.1").tasks[0], of_x("x.2").tasks[0]
    cluster.marathon.put(of_x("x.2"))
    cluster.event(ended, TaskState.KILLED)
    cluster.event(begun, TaskState.RUNNING)
    for _ in range(5):
        cluster.after(2)
        cluster.applied()
    assert users(cluster) == {"x.2"}


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param(0, id="nothing of it was answered"),
        pytest.param(1, id="its key was reserved"),
    ],
)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_creation_that_lands_late_gives_nobody_an_address_that_is_anothers(
    answers: int, restarted: bool
) -> None:
    # given a task that ended before its endpoint's write was answered, or read by anybody
    store = LateStore(KEY)
    cluster = Cluster(store=store, pools=(POOL,))
    cluster.connect()
    store.answers = answers
    cluster.run(of_x("x.1"))
    assert users(cluster) == set()
    if restarted:
        cluster.start()
        cluster.connect()

    # when the next one has its address, and the write lands then
    replace_task(cluster)
    assert store.catch_up()

    # then it is nobody's endpoint, and soon not there
    assert users(cluster) == {"x.2"}
    cluster.after(FOUND_WITHIN)
    assert keys(store) == {endpoint_key(endpoint_of_task(H1, TaskId("x.2")))}
    store.put(Key(KEY.partition("/endpoint/")[0]), "no directory is left")


class StoppedStore(MemoryDatastore):
    """A store whose writer is stopped before one key is written, and may write nothing more."""

    def __init__(self, key: Key, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._key, self._meanwhile = key, meanwhile
        self.state = "lent"

    def put(
        self, key: Key, value: str, *, expect: Revision | None = None, ttl: int | None = None
    ) -> Revision:
        if self.state == "lost":
            raise LeaseLost(key)
        if key == self._key and self.state == "lent":
            self.state = "stopped"
            self._meanwhile()
            self.state = "lost"
        return super().put(key, value, expect=expect, ttl=ttl)


def test_what_a_leader_creates_that_was_stopped_for_long_has_no_address() -> None:
    # given a leader that is stopped just before it creates an endpoint
    def succeed() -> None:
        other = Cluster(store=store, pools=(POOL,), marathon=cluster.marathon)
        other.connect()
        replace_task(other)

    store = StoppedStore(KEY, succeed)
    cluster = Cluster(store=store, pools=(POOL,))
    cluster.connect()

    # when it goes on, and ends before it can do anything else
    with pytest.raises(LeaseLost):
        cluster.run(of_x("x.1"))

    assert KEY in keys(store)
    assert users(cluster) == {"x.2"}


def test_a_live_task_whose_leader_died_halfway_gets_its_endpoint() -> None:
    store = LateStore(KEY)
    cluster = Cluster(store=store, pools=(POOL,))
    cluster.connect()
    store.answers = 1
    cluster.run(of_x("x.1"))
    assert keys(store) == {KEY}

    store.answers = None
    cluster.start()
    cluster.connect()

    assert users(cluster) == {"x.1"}


def test_a_reserved_key_of_another_orchestrator_stays() -> None:
    cluster = Cluster(pools=(POOL,))
    theirs = EndpointId(H1, "k8s", "pod", "eth0")
    cluster.store.put(endpoint_key(theirs), encode_endpoint(reservation_of(theirs)))
    cluster.connect()

    cluster.after(FOUND_WITHIN)

    assert cluster.store.get(endpoint_key(theirs)) is not None


def test_what_is_imported_late_has_no_address() -> None:
    # given what a host told that it holds, and no answer when that is written
    other = Cluster(pools=(POOL,))
    other.connect()
    other.run(of_x("x.1"))
    spec = other.specs()["x.1"]
    told = Holdings(H1, (), ((spec, encode_endpoint(spec)),), (), ())
    store = LateStore(KEY)
    store.answers = 0
    with pytest.raises(DatastoreUnavailable):
        Importer(store, StoredState(), [told]).take_over(told, lambda: None)

    # when it is imported again, its task ends, and the first write lands
    store.answers = None
    Importer(store, StoredState(), [told]).take_over(told, lambda: None)
    assert store.get(KEY) is not None
    store.delete(KEY)
    store.answers = 9
    assert store.catch_up()

    found = store.get(KEY)
    assert found is not None
    assert found.value == encode_endpoint(reservation_of(X1))
