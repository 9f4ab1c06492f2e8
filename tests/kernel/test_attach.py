"""Containers that are attached before their first instruction, by the real agent."""

import os
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.addressing.audit import drifts
from calico.addressing.blocks import Allocation
from calico.addressing.books import Books, decode_books
from calico.addressing.claims import Claim, Claims
from calico.codec import (
    decode_applied,
    decode_host,
    decode_status,
    encode_endpoint,
)
from calico.datastore.etcd import EtcdDatastore
from calico.keys import (
    IPAM,
    applied_key,
    endpoint_key,
    host_key,
    pool_key,
    status_key,
)
from calico.model import (
    AppliedRecord,
    BootId,
    ContainerId,
    EndpointSpec,
    EndpointState,
    HandleId,
    HostName,
    InterfaceName,
)
from calico.names import handle_of_container, interface_of_container
from reconciler.attach.api import ANSWER_WITHIN
from tests.dataplane_worlds import POOL
from tests.kernel.attaching import Runtime, addresses, claim, nameless, opened
from tests.kernel.namespaces import Namespace, bind_file
from tests.kernel.probes import connects, listening
from tests.kernel.stores import first_store
from tests.minimal.machine import ADDRESS, COMMAND, HOST, Machine, running_machine
from tests.minimal.past import give_past

ANY, HOST_ADDRESS = IPAddress("0.0.0.0"), IPAddress(ADDRESS)
PORT, MESOS_PORT, CLOSED_PORT = 9000, 5051, 9999
HERE = HostName(HOST)
ONE, OTHER = ContainerId("c-one"), ContainerId("c-other")
Make = Callable[[], Namespace]


@pytest.fixture
def machine(host_network: None, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as made:
        give_past(made.state, HOST)
        yield made


@pytest.fixture
def store(machine: Machine) -> EtcdDatastore:
    return first_store(machine.etcd, PORT, "red", "blue")


@pytest.fixture
def runtime(machine: Machine, store: EtcdDatastore) -> Runtime:
    """The agent's socket, once it serves."""
    start(machine)
    return Runtime(machine.socket)


def start(machine: Machine) -> None:
    """Start the agent, anew if it ran, and wait until it serves."""
    log = machine.directory / "agent.log"
    before = log.read_text().count("agent started") if log.exists() else 0
    machine.start("agent")
    machine.wait_for(
        "a start", lambda: log.exists() and log.read_text().count("agent started") > before
    )


def kill_and_start(machine: Machine) -> None:
    machine.kill("agent")
    start(machine)


def put(store: EtcdDatastore, spec: EndpointSpec) -> None:
    store.put(endpoint_key(spec.id), encode_endpoint(spec))


def link_of(container: ContainerId) -> InterfaceName:
    return interface_of_container(container)


def index_of(container: ContainerId) -> int:
    """The link's number; 0 if there is none."""
    return {name: index for index, name in socket.if_nameindex()}.get(link_of(container), 0)


def links() -> set[str]:
    return {name for _, name in socket.if_nameindex() if name.startswith("cali")}


def books(store: EtcdDatastore) -> Books:
    return decode_books(store.list(IPAM).entries)


def held(store: EtcdDatastore) -> list[Allocation]:
    blocks = books(store).blocks.values()
    return [each for block in blocks for each in block.allocations if each is not None]


def applied(store: EtcdDatastore) -> AppliedRecord:
    stored = store.get(applied_key(HERE))
    if stored is None:
        return AppliedRecord(HERE, BootId(""), 0)
    return decode_applied(HERE, stored.value)


def is_up(store: EtcdDatastore, spec: EndpointSpec) -> bool:
    stored = store.get(status_key(spec.id))
    return stored is not None and decode_status(stored.value).state is EndpointState.UP


@contextmanager
def own_listener(port: int) -> Iterator[socket.socket]:
    """The host listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen()
        yield listener


def from_here(address: IPAddress, port: int) -> bool:
    """Whether the host itself can connect."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(1)
        return sock.connect_ex((str(address), port)) == 0


def expect_clean(machine: Machine, store: EtcdDatastore) -> None:
    """Nothing of any container is left: no link, no address, no file, nothing in the books."""
    machine.wait_for("no address", lambda: held(store) == [])
    machine.wait_for("books that agree", lambda: drifts(books(store)) == ())
    assert links() == set()
    # A tombstone is looked at again two seconds after the agent began.
    files = machine.directory / "state" / "attachments"
    machine.wait_for("no file", lambda: list(files.glob("*")) == [])
    checked = subprocess.run(
        [COMMAND, "ipam", "check", "--etcd", machine.etcd],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_container_reaches_its_own_host_alone_until_a_task_claims_it(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    one, other = namespace(), namespace()
    given = {}
    for container, made in ((ONE, one), (OTHER, other)):
        with opened(made) as descriptor:
            given[container] = addresses(runtime.add(container, descriptor))

    with ExitStack() as stack:
        for made in (one, other):
            stack.enter_context(listening(made, ANY, PORT))
        for port in (MESOS_PORT, CLOSED_PORT):
            stack.enter_context(own_listener(port))
        assert connects(one, HOST_ADDRESS, MESOS_PORT), "it can register with its Mesos agent"
        assert not connects(one, HOST_ADDRESS, CLOSED_PORT)
        assert not connects(one, given[OTHER][0], PORT)
        assert from_here(given[ONE][0], PORT), "its host reaches it"

        for container in (ONE, OTHER):
            spec = claim(HERE, f"task.{container}", container, given[container], "red", "app-red")
            put(store, spec)
        machine.wait_up(*(f"task.{each}" for each in (ONE, OTHER)))
        assert connects(one, given[OTHER][0], PORT)
        assert connects(other, given[ONE][0], PORT)
        assert not connects(one, given[OTHER][0], CLOSED_PORT)


def test_a_claim_leaves_the_link_and_what_goes_over_it_alone(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    one = namespace()
    with opened(one) as descriptor:
        given = addresses(runtime.add(ONE, descriptor))
    index = index_of(ONE)
    spec = claim(HERE, "task.1", ONE, given, "red", "app-red")
    with own_listener(MESOS_PORT) as listener:
        client = one.socket(socket.AF_INET, socket.SOCK_STREAM)
        client.settimeout(5)
        client.connect((ADDRESS, MESOS_PORT))
        server, _ = listener.accept()
        with server:
            server.settimeout(5)
            client.sendall(b"before")
            assert server.recv(100) == b"before"

            put(store, spec)
            machine.wait_up("task.1")
            kill_and_start(machine)
            machine.wait_up("task.1")

            client.sendall(b"after")
            assert server.recv(100) == b"after"
            server.sendall(b"answer")
            assert client.recv(100) == b"answer"
    assert index_of(ONE) == index


def test_an_unclaimed_container_is_told_of_and_has_no_status(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    with opened(namespace()) as descriptor:
        given = addresses(runtime.add(ONE, descriptor))

    machine.wait_for(
        "the record",
        lambda: (
            [(each.container, each.addresses) for each in applied(store).attachments]
            == [(ONE, given)]
        ),
    )
    assert machine.addresses() == {}
    put(store, claim(HERE, "task.1", ONE, given))
    machine.wait_for("the claim", lambda: applied(store).attachments == ())


def test_the_task_of_a_container_is_found_out(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    machine.mesos.tasks[ONE] = "late.1"
    with opened(namespace()) as descriptor:
        addresses(runtime.add(ONE, descriptor))

    machine.wait_for(
        "the task", lambda: [each.task for each in applied(store).attachments] == ["late.1"]
    )


def test_a_namespace_that_no_process_is_in_is_attached_by_its_descriptor(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, tmp_path: Path
) -> None:
    path = tmp_path / "cni-0815"
    path.touch()
    with nameless() as made:
        bind_file(Path(f"/proc/self/fd/{made.descriptor}"), path)
        try:
            addresses(runtime.add(ONE, made.descriptor, str(path), device="eth7"))
            with made.entered():
                assert {name for _, name in socket.if_nameindex()} == {"lo", "eth7"}
            made.end()
            kill_and_start(machine)
            assert addresses(runtime.ask("check", container=ONE))

            # What another program takes away is put back, in the same place.
            subprocess.run(["ip", "link", "delete", link_of(ONE)], check=True)
            machine.wait_for("a new link", lambda: index_of(ONE) > 0)
            assert addresses(runtime.ask("check", container=ONE))
        finally:
            subprocess.run(["umount", path], check=True)
    # The runtime took the namespace away and says nothing of it.
    machine.wait_for("the end", lambda: runtime.ask("check", container=ONE)["error"] is not None)
    expect_clean(machine, store)


def test_what_was_attached_is_detached_and_nothing_is_left(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    with opened(namespace()) as descriptor:
        addresses(runtime.add(ONE, descriptor))
    assert {each.handle for each in held(store)} == {handle_of_container(ONE)}

    assert runtime.delete(ONE) == {"error": None, "found": True}

    assert index_of(ONE) == 0, "the link is gone with the answer"
    assert held(store) == [], "and so are the addresses"
    assert runtime.delete(ONE) == {"error": None, "found": False}
    expect_clean(machine, store)


def test_a_claimed_container_that_is_detached_is_proven_gone_and_stays_so(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    made = namespace()
    with opened(made) as descriptor:
        given = addresses(runtime.add(ONE, descriptor))
    spec = claim(HERE, "task.1", ONE, given, "red", "app-red")
    take_over(store, given, "task.1")
    put(store, spec)
    machine.wait_up("task.1")

    assert runtime.delete(ONE)["found"] is True

    assert index_of(ONE) == 0
    machine.wait_for("the proof", lambda: applied(store).gone == ("task.1",))
    assert {each.handle for each in held(store)} == {"task.1"}, "its addresses are the controller's"
    machine.kill("agent")
    # What it told before counts for nothing: it has to read the store again.
    store.delete(applied_key(HERE))
    start(machine)
    machine.wait_for("the proof again", lambda: applied(store).gone == ("task.1",))
    assert index_of(ONE) == 0
    with opened(made) as descriptor:
        assert runtime.add(ONE, descriptor)["error"]["kind"] == "unavailable"

    store.delete(endpoint_key(spec.id))
    machine.wait_for(
        "it is forgotten",
        lambda: list((machine.directory / "state" / "attachments").glob("*")) == [],
    )
    machine.wait_for("no proof", lambda: applied(store).gone == ())


def test_a_withdrawn_endpoint_takes_the_link_although_the_container_lives(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    made = namespace()
    with opened(made) as descriptor:
        given = addresses(runtime.add(ONE, descriptor))
    spec = claim(HERE, "task.1", ONE, given, "red", "app-red")
    put(store, spec)
    machine.wait_up("task.1")

    store.delete(endpoint_key(spec.id))
    machine.wait_for("its link to go", lambda: index_of(ONE) == 0)
    # Its addresses may be another task's soon.
    kill_and_start(machine)
    machine.wait_for("a record", lambda: applied(store).attachments == ())
    assert index_of(ONE) == 0

    put(store, spec)
    machine.wait_for("its link again", lambda: index_of(ONE) > 0)
    machine.wait_up("task.1")


def test_a_kill_between_any_two_requests_changes_nothing(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    made = namespace()
    with opened(made) as descriptor:
        given = addresses(runtime.ask("allocate", container=ONE))
        kill_and_start(machine)
        assert addresses(runtime.ask("allocate", container=ONE)) == given

        attached = runtime.ask("attach", descriptor, container=ONE)
        assert addresses(attached) == given
        index = index_of(ONE)
        kill_and_start(machine)
        assert runtime.ask("attach", descriptor, container=ONE) == attached
        assert runtime.ask("check", container=ONE) == attached
        assert index_of(ONE) == index

        kill_and_start(machine)
        assert runtime.delete(ONE)["found"] is True
        kill_and_start(machine)
        assert runtime.delete(ONE)["found"] is False
        expect_clean(machine, store)

        assert addresses(runtime.add(ONE, descriptor))
        assert runtime.delete(ONE)["found"] is True
    expect_clean(machine, store)


def test_without_etcd_known_containers_go_on_and_new_ones_are_refused(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    one, other = namespace(), namespace()
    with opened(one) as descriptor:
        attached = runtime.add(ONE, descriptor)
    given = addresses(attached)
    put(store, claim(HERE, "task.1", ONE, given, "red", "app-red"))
    machine.wait_up("task.1")
    saved = machine.directory / "state" / "state"
    machine.wait_for("a state file", lambda: saved.exists() and b"task.1" in saved.read_bytes())
    index = index_of(ONE)
    machine.kill("agent")
    etcd, machine.etcd = machine.etcd, "http://127.0.0.1:9"
    start(machine)

    with opened(one) as descriptor:
        machine.wait_for(
            "the state file", lambda: runtime.ask("check", container=ONE)["error"] is None
        )
        assert runtime.ask("attach", descriptor, container=ONE) == attached
    assert index_of(ONE) == index
    with opened(other) as descriptor:
        answer = runtime.add(OTHER, descriptor)
    assert answer["error"]["kind"] == "unavailable"
    assert "127.0.0.1:9" in answer["error"]["message"]

    assert runtime.delete(ONE)["found"] is True
    assert index_of(ONE) == 0
    machine.etcd = etcd


def test_an_etcd_that_hangs_holds_nobody_for_longer_than_two_seconds(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    with opened(namespace()) as descriptor:
        attached = runtime.add(ONE, descriptor)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        machine.kill("agent")
        etcd, machine.etcd = machine.etcd, f"http://127.0.0.1:{hanging.getsockname()[1]}"
        start(machine)

        began = time.monotonic()
        answer = runtime.ask("allocate", container=OTHER)
        assert time.monotonic() - began < ANSWER_WITHIN + 0.2
        assert answer["error"]["kind"] == "unavailable"

        began = time.monotonic()
        assert runtime.delete(ONE)["found"] is True
        assert time.monotonic() - began < ANSWER_WITHIN + 0.2
        assert index_of(ONE) == 0
        assert attached["error"] is None
    machine.etcd = etcd
    kill_and_start(machine)
    expect_clean(machine, store)


def test_a_host_tells_its_locators(machine: Machine, store: EtcdDatastore) -> None:
    machine.agent_flags = ("--locator", "none")
    start(machine)
    machine.wait_for("a registration", lambda: store.get(host_key(HERE)) is not None)

    stored = store.get(host_key(HERE))

    assert stored is not None
    assert decode_host(HERE, stored.value).locators == ()


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        pytest.param("host", "that of the host", id="the host's namespace"),
        pytest.param("taken", "already has an interface eth0", id="a device that is taken"),
        pytest.param("file", "no network namespace", id="no namespace at all"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(
    machine: Machine,
    store: EtcdDatastore,
    runtime: Runtime,
    namespace: Make,
    prepare: str,
    says: str,
) -> None:
    made = namespace()
    with made.entered():
        subprocess.run(["ip", "link", "add", "eth0", "type", "bridge"], check=True)
    path = {
        "host": "/proc/thread-self/ns/net",
        "taken": f"/proc/{made.pid}/ns/net",
        "file": "/dev/null",
    }[prepare]
    descriptor = os.open(path, os.O_RDONLY)
    try:
        answer = runtime.add(ONE, descriptor)
    finally:
        os.close(descriptor)

    assert answer["error"]["kind"] == "refused"
    assert says in answer["error"]["message"]
    assert links() == set()
    runtime.delete(ONE)
    expect_clean(machine, store)


def test_a_full_pool_is_one_clear_sentence(
    machine: Machine, store: EtcdDatastore, runtime: Runtime
) -> None:
    store.delete(pool_key(POOL))

    answer = runtime.ask("allocate", container=ONE)

    assert answer["error"] == {
        "kind": "refused",
        "message": "there is no pool to take an address from",
    }
    expect_clean(machine, store)


def test_an_endpoint_that_is_not_like_its_container_opens_nothing(
    machine: Machine, store: EtcdDatastore, runtime: Runtime, namespace: Make
) -> None:
    made = namespace()
    with opened(made) as descriptor:
        given = addresses(runtime.add(ONE, descriptor))
    index = index_of(ONE)
    wrong = claim(HERE, "task.1", ONE, (given[0] + 1,), "red", "app-red")

    put(store, wrong)
    machine.wait_for("a status", lambda: store.get(status_key(wrong.id)) is not None)

    stored = store.get(status_key(wrong.id))
    assert stored is not None
    status = decode_status(stored.value)
    assert status.state is EndpointState.ERROR
    assert str(given[0]) in status.reason
    assert index_of(ONE) == index


def test_the_socket_is_roots_alone_and_a_second_agent_is_told(
    machine: Machine, runtime: Runtime, namespace: Make
) -> None:
    assert stat.S_IMODE(runtime.socket.stat().st_mode) == 0o600
    kill_and_start(machine)
    assert runtime.ask("check", container=ONE)["error"]["kind"] == "unknown"

    with namespace().entered():
        second = subprocess.run(
            [COMMAND, "agent", "--etcd", machine.etcd, "--host", "other",
             "--listen", "127.0.0.1:0", "--state-dir", str(machine.directory / "other"),
             "--address", "127.0.0.1", "--socket", str(runtime.socket)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )  # fmt: skip
    assert second.returncode == 2
    assert "another agent listens on it" in second.stderr.splitlines()[-1]
    assert runtime.ask("check", container=ONE)["error"]["kind"] == "unknown"


def take_over(store: EtcdDatastore, given: tuple[IPAddress, ...], task: str) -> None:
    """What a controller does to the books before it writes the endpoint."""
    claimed = Claims(store).claim(Claim(ONE, HERE, HandleId(task)))
    assert claimed == given
