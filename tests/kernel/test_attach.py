"""Containers that are attached before their first instruction, by the real agent."""

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from netaddr import IPAddress

from calico.codec import (
    encode_endpoint,
    encode_pool,
    encode_rules,
    encode_tags,
)
from calico.datastore.etcd import EtcdDatastore
from calico.keys import (
    CLUSTER_GUID,
    READY,
    applied_key,
    endpoint_key,
    host_key,
    pool_key,
    profile_key,
)
from calico.model import ContainerId, HostName, Profile
from calico.names import interface_of_container
from tests.dataplane_worlds import POOL, group, openings
from tests.kernel.attaching import Runtime, addresses, claim, opened
from tests.kernel.namespaces import Namespace
from tests.minimal.machine import HOST, Machine, running_machine

ANY = IPAddress("0.0.0.0")
PORT = 9000
HERE = HostName(HOST)


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose sockets have short names."""
    directory = Path(tempfile.mkdtemp(prefix="mc-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def machine(host_network: None, tmp_path: Path, short: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as made:
        made.agent_flags = ("--socket", str(short / "agent.sock"))
        yield made


@pytest.fixture
def store(machine: Machine) -> EtcdDatastore:
    store = EtcdDatastore([machine.etcd])
    store.put(CLUSTER_GUID, "one")
    store.put(pool_key(POOL), encode_pool(POOL))
    for name in ("red", "blue"):
        put_profile(store, group(name))
        put_profile(store, openings(f"app-{name}", name, PORT))
    store.put(READY, "true")
    return store


def put_profile(store: EtcdDatastore, profile: Profile) -> None:
    store.put(profile_key(profile.id, "tags"), encode_tags(profile))
    store.put(profile_key(profile.id, "rules"), encode_rules(profile))


@pytest.fixture
def runtime(machine: Machine, store: EtcdDatastore, short: Path) -> Runtime:
    """The agent's socket, once it has read the datastore."""
    machine.start("agent")
    machine.wait_for("a registration", lambda: store.get(host_key(HERE)) is not None)
    return Runtime(short / "agent.sock")


def test_smoke(
    machine: Machine,
    store: EtcdDatastore,
    runtime: Runtime,
    namespace: Callable[[], Namespace],
) -> None:
    one = namespace()
    with opened(one) as descriptor:
        answer = runtime.add("c1", descriptor)
    print(answer)
    assert answer["error"] is None
    given = addresses(answer)
    name = interface_of_container(ContainerId("c1"))
    index = socket.if_nametoindex(name)
    spec = claim(HERE, "task.1", "c1", given, "red", "app-red")
    store.put(endpoint_key(spec.id), encode_endpoint(spec))
    machine.wait_up("task.1")
    assert socket.if_nametoindex(name) == index
    print(runtime.delete("c1"))
    assert name not in {n for _, n in socket.if_nameindex()}
    print(store.get(applied_key(HERE)))
    print((machine.directory / "agent.log").read_text())
