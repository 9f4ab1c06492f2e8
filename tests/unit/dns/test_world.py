"""A zone has the names of exactly the tasks that are up, whatever happened before."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress

from calico.datastore.api import Key
from calico.datastore.memory import MemoryDatastore
from calico.keys import endpoint_key, host_key, status_key, task_key
from calico.model import EndpointState, HostName, PortOpening, TaskId, TaskVerdict
from calico.names import endpoint_of_task
from reconciler.dns.names import Address, Entry, NamedTask, names_of, suffixes_of, wire_name
from reconciler.dns.world import PREFIXES, World
from reconciler.dns.zone import A, Zone, type_of
from tests.dns_worlds import HOST, POOL, POOL6, Cluster, Wanted

SUFFIXES = suffixes_of("mesos", "marathon")
OTHER_HOST = HostName("host-2")
ADDRESSES = {HOST: "10.0.0.1", OTHER_HOST: "10.0.0.2"}

wanted = st.builds(
    Wanted,
    st.sampled_from(["a.1", "a.2", "b.1", "b.2"]),
    st.sampled_from(["/a", "/a/b", "/b", "/a-b"]),
    st.sampled_from([("192.168.0.1",), ("192.168.0.2", "fd80::2"), ("192.168.0.3",)]),
    st.sampled_from([(), (PortOpening("tcp", 80, "web"), PortOpening("udp", 80))]),
    st.sampled_from([HOST, OTHER_HOST]),
    # What gives no names is rarer than what does, or hardly any would have some.
    st.sampled_from([TaskVerdict.ACCEPTED] * 3 + [TaskVerdict.PENDING]),
    st.sampled_from([EndpointState.UP] * 4 + [EndpointState.DOWN, None]),
    st.sampled_from([True] * 4 + [False]),
    st.sampled_from([None, None, (), ("192.168.9.9",)]),
)
#: A task as it should be from now on, or the removal of one by its id.
steps = st.lists(st.one_of(wanted, st.sampled_from(["a.1", "a.2", "b.1", "b.2"])), max_size=12)


class Followed:
    """A datastore, and a world that follows it."""

    def __init__(self) -> None:
        self.cluster = Cluster(MemoryDatastore())
        self.cluster.start()
        self.cluster.register(OTHER_HOST, ADDRESSES[OTHER_HOST])
        self.zone = Zone("mesos", "marathon")
        self.world = World(self.zone)
        self._seen = {prefix: self.load(prefix) for prefix in PREFIXES}

    def load(self, prefix: Key) -> int:
        """Read all below a prefix anew."""
        listing = self.cluster.store.list(prefix)
        for _ in self.world.load(prefix, listing):
            pass
        return listing.revision

    def follow(self) -> None:
        """Take in the events since the last time."""
        for prefix, seen in self._seen.items():
            for event in self.cluster.store.watch(prefix, seen, 0.0):
                self.world.apply(prefix, event)
            self._seen[prefix] = self.cluster.store.list(prefix).revision

    def load_all(self) -> None:
        """As after an outage."""
        for prefix in PREFIXES:
            self._seen[prefix] = self.load(prefix)


def expected(tasks: dict[str, Wanted]) -> set[Entry]:
    """The names of the tasks that are up."""
    return {
        entry
        for task in tasks.values()
        if task.is_named
        for entry in names_of(
            NamedTask(
                TaskId(task.task),
                task.app,
                task.ips,
                task.ports,
                (IPAddress(ADDRESSES[task.host]),),
            ),
            SUFFIXES,
        )
    }


def assert_serves(zone: Zone, entries: set[Entry]) -> None:
    """The zone has these entries, and no name beside them."""
    own = Zone("mesos", "marathon")
    assert zone.names == own.names + len({name for name, _ in entries})
    for name in {name for name, _ in entries}:
        listed = {record for each, record in entries if each == name}
        assert set(zone.kinds(name)) == set(map(type_of, listed))
        for kind in zone.kinds(name):
            assert set(zone.records(name, kind)) == {r for r in listed if type_of(r) == kind}


def play(followed: Followed, step: Wanted | str, tasks: dict[str, Wanted]) -> None:
    """Do one step to the datastore and to what is expected of it."""
    if isinstance(step, str):
        gone = tasks.pop(step, None)
        if gone is not None:
            followed.cluster.remove(step, gone.host)
        return
    before = tasks.get(step.task)
    if before is not None and before.host != step.host:
        followed.cluster.remove(step.task, before.host)
    tasks[step.task] = step
    followed.cluster.put(step)


@settings(max_examples=60, deadline=None)
@given(steps, st.sets(st.integers(0, 11)))
def test_every_task_that_is_up_has_its_names_and_nothing_else_has(
    steps: list[Wanted | str], outages: set[int]
) -> None:
    followed, tasks = Followed(), dict[str, Wanted]()
    for number, step in enumerate(steps):
        play(followed, step, tasks)
        if number in outages:
            followed.load_all()
        else:
            followed.follow()
        assert_serves(followed.zone, expected(tasks))


UP = Wanted("a.1")
NAME = wire_name(("probe-a", "star", "marathon", "mesos"))
assert NAME is not None


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(replace(UP, verdict=TaskVerdict.PENDING), id="it waits"),
        pytest.param(replace(UP, verdict=TaskVerdict.REFUSED), id="it is refused"),
        pytest.param(replace(UP, state=EndpointState.DOWN), id="its agent says down"),
        pytest.param(replace(UP, state=EndpointState.ERROR), id="its agent says error"),
        pytest.param(replace(UP, state=None), id="its agent says nothing"),
        pytest.param(replace(UP, active=False), id="it is made inactive"),
        pytest.param(replace(UP, told=("192.168.9.9",)), id="its agent says another address"),
    ],
)
def test_a_task_that_is_not_up_has_no_names(task: Wanted) -> None:
    followed = Followed()
    for state, named in ((UP, True), (task, False), (UP, True)):
        followed.cluster.put(state)
        followed.follow()
        assert (NAME in followed.zone) is named


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(endpoint_key(endpoint_of_task(HOST, TaskId("a.1"))), id="its endpoint"),
        pytest.param(status_key(endpoint_of_task(HOST, TaskId("a.1"))), id="its status"),
        pytest.param(task_key(TaskId("a.1")), id="its record"),
    ],
)
def test_a_task_whose_value_cannot_be_read_loses_its_names(key: Key) -> None:
    followed = Followed()
    followed.cluster.put(UP)
    followed.follow()
    assert NAME in followed.zone
    followed.cluster.store.put(key, "{")
    followed.follow()
    assert NAME not in followed.zone
    followed.cluster.put(UP)
    followed.follow()
    assert NAME in followed.zone


@pytest.mark.parametrize(
    "directory",
    [
        "/calico/v1/host/host-1/workload/mesos/a.1/endpoint",
        "/calico/v1/host/host-1/workload/mesos/a.1",
        "/calico/v1/host/host-1",
        "/calico/felix/v1/host/host-1/workload/mesos",
        "/marathon-calico/v1/task",
    ],
)
def test_a_directory_that_is_removed_takes_the_names_below_it_along(directory: str) -> None:
    followed = Followed()
    assert isinstance(followed.cluster.store, MemoryDatastore)
    followed.cluster.put(UP)
    followed.cluster.put(Wanted("b.1", "/other", host=OTHER_HOST))
    followed.follow()
    followed.cluster.store.remove_tree(Key(directory))
    followed.follow()
    assert NAME not in followed.zone
    assert followed.zone.tasks == (0 if directory.endswith("/task") else 1)


def test_a_host_that_moves_takes_the_names_of_hosts_along() -> None:
    followed = Followed()
    name = wire_name(("probe-a", "star", "marathon", "slave", "mesos"))
    assert name is not None
    followed.cluster.put(UP)
    followed.follow()
    followed.cluster.register(HOST, "10.0.0.99")
    followed.follow()
    assert set(followed.zone.records(name, A)) == {Address(IPAddress("10.0.0.99"))}
    followed.cluster.store.delete(host_key(HOST))
    followed.follow()
    assert name not in followed.zone
    assert NAME in followed.zone


def test_pools_and_hosts_are_known() -> None:
    followed = Followed()
    assert set(followed.world.pools) == {POOL, POOL6}
    assert set(followed.world.host_addresses) == set(map(IPAddress, ADDRESSES.values()))
    assert followed.world.complete
    assert followed.world.take_moved()
    assert not followed.world.take_moved()


def test_names_are_complete_only_once_everything_was_read() -> None:
    cluster = Cluster()
    cluster.start()
    world = World(Zone("mesos", "marathon"))
    for prefix in PREFIXES:
        assert not world.complete
        for _ in world.load(prefix, cluster.store.list(prefix)):
            pass
    assert world.complete


def test_an_endpoint_of_another_orchestrator_has_no_name() -> None:
    followed = Followed()
    names = followed.zone.names
    endpoint = endpoint_of_task(HOST, TaskId("a.1"))
    followed.cluster.put(UP)
    for key in (endpoint_key(endpoint), status_key(endpoint)):
        stored = followed.cluster.store.get(key)
        assert stored is not None
        followed.cluster.store.put(Key(key.replace("/mesos/", "/docker/")), stored.value)
        followed.cluster.store.delete(key)
    followed.follow()
    assert followed.zone.names == names


def test_what_is_above_a_name_exists_as_long_as_the_name() -> None:
    followed = Followed()
    above = wire_name(("star", "marathon", "mesos"))
    assert above is not None
    assert not followed.zone.exists(above)
    followed.cluster.put(UP)
    followed.follow()
    assert followed.zone.exists(above)
    assert above not in followed.zone
    followed.cluster.remove("a.1")
    followed.follow()
    assert not followed.zone.exists(above)
